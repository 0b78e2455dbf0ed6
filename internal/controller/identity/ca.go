package identity

import (
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/caclient"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// attributeOwner marks users at the CA that belong to an Identity object: only those may be changed by it.
const attributeOwner = "heddle.owner"

// caTimeout bounds all that is asked of the CA in one round.
const caTimeout = 10 * time.Second

// enrol registers the user with the organisation's CA, or takes the registration of an earlier round up again, and
// gets a certificate. The enrolment secret is drawn for this one use and stored nowhere.
func (r *Reconciler) enrol(ctx context.Context, s *scope, key crypto.Signer) error {
	client, err := caclient.New(caclient.Options{
		Address: specs.Address(specs.CAName(s.org.Name), s.network, v1alpha1.PortCA), Roots: s.org.TLSRoots,
		CAName: specs.CAName(s.org.Name), DialContext: r.opts.Nodes.Dial,
	})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, caTimeout)
	defer cancel()
	registrar, err := r.registrar(ctx, s, client)
	if err != nil {
		return soon(s.org.Name, err)
	}
	secret := rand.Text()
	if err := s.register(ctx, client, registrar, secret); err != nil {
		return soon(s.org.Name, err)
	}
	enrolled, err := client.Enrol(ctx, s.enrollmentID(), secret, caclient.Enrolment{Key: key})
	if err != nil {
		return soon(s.org.Name, err)
	}
	s.cert, err = pki.ParseCert(enrolled.Cert)
	return err
}

// registrar enrols the CA's registrar, who may register users.
func (r *Reconciler) registrar(ctx context.Context, s *scope, client *caclient.Client) (*identity.Identity, error) {
	data, err := r.opts.Nodes.Secret(ctx, s.network, specs.CAAdminSecret(s.org.Name))
	if err != nil {
		return nil, err
	}
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	enrolled, err := client.Enrol(ctx, string(data[specs.KeyUsername]), string(data[specs.KeyPassword]), caclient.Enrolment{Key: key})
	if err != nil {
		return nil, err
	}
	return identity.New(s.org.MSPID, enrolled.Cert, key)
}

func (s *scope) register(ctx context.Context, client *caclient.Client, registrar *identity.Identity, secret string) error {
	owner := s.id.Namespace + "/" + s.id.Name
	attributes := []caclient.Attribute{{Name: attributeOwner, Value: owner}}
	for _, a := range s.id.Spec.Attributes {
		if v := s.attributes()[a.Name]; v != "" {
			attributes = append(attributes, caclient.Attribute{Name: a.Name, Value: v, InCert: true})
		}
	}
	registration := caclient.Registration{
		Name: s.enrollmentID(), Type: "client", Secret: secret, MaxEnrollments: -1, Attributes: attributes,
	}
	known, err := client.Identity(ctx, registrar, s.enrollmentID())
	if err != nil {
		return err
	}
	if known == nil {
		_, err := client.Register(ctx, registrar, registration)
		return err
	}
	mine := false
	for _, a := range known.Attributes {
		mine = mine || a.Name == attributeOwner && a.Value == owner
		if _, wanted := s.attributes()[a.Name]; a.InCert && !wanted && a.Name != attributeOwner && !isOwn(a.Name) {
			registration.Attributes = append(registration.Attributes, caclient.Attribute{Name: a.Name})
		}
	}
	if !mine {
		return s.taken()
	}
	if err := client.Modify(ctx, registrar, registration); err != nil {
		return fmt.Errorf("renew registration: %w", err)
	}
	return nil
}

// isOwn tells the CA's own attributes.
func isOwn(name string) bool { return strings.HasPrefix(name, "hf.") }
