package channelconfig

import (
	"fmt"
	"slices"
)

// AddConsenter adds one orderer to the consensus. Under BFT it gets a number
// of its own, if it has none.
func (c Channel) AddConsenter(consenter Consenter) (Channel, error) {
	if findConsenter(c.Consenters, consenter.Address()) >= 0 {
		return c, fmt.Errorf("add consenter %s: it is one already", consenter.Address())
	}
	c = c.Clone()
	c.Consenters = append(c.Consenters, consenter)
	if c.Consensus == BFT {
		numberConsenters(c.Consenters)
	}
	return c, nil
}

// RemoveConsenter takes one orderer out of the consensus.
func (c Channel) RemoveConsenter(at Address) (Channel, error) {
	i := findConsenter(c.Consenters, at)
	if i < 0 {
		return c, fmt.Errorf("remove consenter %s: it is none", at)
	}
	c = c.Clone()
	c.Consenters = slices.Delete(c.Consenters, i, i+1)
	return c, nil
}

// ReplaceConsenter puts new certificates in place of those of the consenter at
// the same address. It keeps its number.
func (c Channel) ReplaceConsenter(consenter Consenter) (Channel, error) {
	i := findConsenter(c.Consenters, consenter.Address())
	if i < 0 {
		return c, fmt.Errorf("replace certificates of consenter %s: it is none", consenter.Address())
	}
	c = c.Clone()
	if consenter.ID == 0 {
		consenter.ID = c.Consenters[i].ID
	}
	c.Consenters[i] = consenter
	return c, nil
}

// StepConsenters leads the consenters one step towards the wished ones, since
// an update may change only one: first it replaces certificates, then adds,
// then removes. It also says what the step is, empty if there is none to do.
func (c Channel) StepConsenters(wish []Consenter) (next Channel, step string, err error) {
	for _, w := range wish {
		i := findConsenter(c.Consenters, w.Address())
		if i < 0 {
			continue
		}
		if w.ID == 0 {
			w.ID = c.Consenters[i].ID
		}
		if !w.Equal(c.Consenters[i], c.Consensus) {
			next, err = c.ReplaceConsenter(w)
			return next, fmt.Sprintf("Replace the certificates of the consenter %s", w.Address()), err
		}
	}
	for _, w := range wish {
		if findConsenter(c.Consenters, w.Address()) < 0 {
			next, err = c.AddConsenter(w)
			return next, fmt.Sprintf("Add the consenter %s", w.Address()), err
		}
	}
	for _, have := range c.Consenters {
		if findConsenter(wish, have.Address()) < 0 {
			next, err = c.RemoveConsenter(have.Address())
			return next, fmt.Sprintf("Remove the consenter %s", have.Address()), err
		}
	}
	return c, "", nil
}

// AddApplicationOrg adds an organisation that runs peers.
func (c Channel) AddApplicationOrg(org Organization) (Channel, error) {
	c = c.Clone()
	var err error
	c.ApplicationOrgs, err = addOrg(c.ApplicationOrgs, org)
	return c, err
}

// RemoveApplicationOrg removes an organisation that runs peers.
func (c Channel) RemoveApplicationOrg(key string) (Channel, error) {
	c = c.Clone()
	var err error
	c.ApplicationOrgs, err = removeOrg(c.ApplicationOrgs, key)
	return c, err
}

// AddOrdererOrg adds an organisation that runs orderers.
func (c Channel) AddOrdererOrg(org Organization) (Channel, error) {
	c = c.Clone()
	var err error
	c.OrdererOrgs, err = addOrg(c.OrdererOrgs, org)
	return c, err
}

// RemoveOrdererOrg removes an organisation that runs orderers.
func (c Channel) RemoveOrdererOrg(key string) (Channel, error) {
	c = c.Clone()
	var err error
	c.OrdererOrgs, err = removeOrg(c.OrdererOrgs, key)
	return c, err
}

// SetAnchors replaces the anchor peers of an organisation.
func (c Channel) SetAnchors(key string, anchors []Address) (Channel, error) {
	c = c.Clone()
	i, err := find(c.ApplicationOrgs, key)
	if err != nil {
		return c, err
	}
	c.ApplicationOrgs[i].Anchors = slices.Clone(anchors)
	return c, nil
}

// SetEndpoints replaces the orderer addresses of an organisation.
func (c Channel) SetEndpoints(key string, endpoints []string) (Channel, error) {
	c = c.Clone()
	i, err := find(c.OrdererOrgs, key)
	if err != nil {
		return c, err
	}
	c.OrdererOrgs[i].Endpoints = slices.Clone(endpoints)
	return c, nil
}

func addOrg(orgs []Organization, org Organization) ([]Organization, error) {
	if _, err := find(orgs, org.Key()); err == nil {
		return orgs, fmt.Errorf("add organisation %q: it is in the channel already", org.Key())
	}
	org.Name = org.Key()
	org.Policies = overlay(OrganizationPolicies(org.MSPID), org.Policies)
	return append(orgs, org), nil
}

func removeOrg(orgs []Organization, key string) ([]Organization, error) {
	i, err := find(orgs, key)
	if err != nil {
		return orgs, err
	}
	return slices.Delete(orgs, i, i+1), nil
}
