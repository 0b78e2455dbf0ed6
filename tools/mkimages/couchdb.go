package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"

	"heddle.dev/heddle/internal/image"
)

const couchDB = "couchdb"

// couchDB pulls CouchDB's image, or packs the stand-in. An image that is there already is good: a pulled one until
// somebody deletes it, a stand-in as long as it would come out the same. Without a version everything stays as it is.
func (o *options) couchDB(ctx context.Context, index, before *image.Index) error {
	have := o.before(before)
	if o.couchDBVersion == "" {
		if have != nil {
			index.Images = append(index.Images, *have)
		}
		return nil
	}
	ref := image.CouchDBRepository + ":" + o.couchDBVersion
	standIn, why := o.couchDBStandIn()
	if have != nil && have.Ref == ref && (have.MadeFrom == "" || have.MadeFrom == standIn.madeFrom) {
		index.Images = append(index.Images, *have)
		return nil
	}
	entry, err := o.pull(ctx, couchDB, ref)
	if err != nil {
		why = fmt.Sprintf("it cannot be pulled (%v), and there is no stand-in: %s", err, why)
		entry, err = o.packStandIn(standIn)
	}
	if err != nil {
		return err
	}
	if entry == nil {
		index.Missing = append(index.Missing, image.Missing{Name: couchDB, Reason: why, OnDemand: true})
		return nil
	}
	entry.OnDemand = true
	index.Images = append(index.Images, *entry)
	return nil
}

// before is CouchDB's image of the last run, if its archive is still there.
func (o *options) before(index *image.Index) *image.Entry {
	if index == nil {
		return nil
	}
	i := slices.IndexFunc(index.Images, func(e image.Entry) bool { return e.Name == couchDB })
	if i < 0 {
		return nil
	}
	e := index.Images[i]
	found, err := image.InspectFile(filepath.Join(o.out, e.Archive))
	if err != nil || len(found) != 1 || found[0].Ref != e.Ref || found[0].Digest != e.Digest {
		return nil
	}
	return &e
}

// standIn is what a stand-in would be made from; without the second there is none.
type standIn struct {
	image.CouchDBStandIn
	madeFrom string
}

// couchDBStandIn finds what a stand-in is made from, or says what is not there.
func (o *options) couchDBStandIn() (s standIn, why string) {
	s.CouchDBStandIn = image.CouchDBStandIn{
		Program: filepath.Join(o.couchsim, "couchsim"), Server: filepath.Join(o.couchsim, "server"), Version: o.couchDBVersion,
	}
	for _, p := range []struct {
		name string
		file *string
	}{{"node", &s.Node}, {"bash", &s.Shell}} {
		file, err := exec.LookPath(p.name)
		if err == nil {
			*p.file, err = filepath.EvalSymlinks(file)
		}
		if err != nil {
			return s, fmt.Sprintf("it needs %s on this machine, which is not there", p.name)
		}
	}
	if _, err := filepath.EvalSymlinks(filepath.Join(s.Server, "node_modules")); err != nil {
		return s, "its packages could not be fetched with npm: \"make _couchdb\" tries again and says why"
	}
	var err error
	if s.madeFrom, err = s.MadeFrom(); err != nil {
		return s, err.Error()
	}
	return s, ""
}

// packStandIn makes the stand-in; nil if there is nothing to make it from.
func (o *options) packStandIn(s standIn) (*image.Entry, error) {
	if s.madeFrom == "" {
		return nil, nil //nolint:nilnil // no stand-in is an answer here, not an error
	}
	entry, err := o.make(product{couchDB, image.CouchDBRepository, o.couchDBVersion, "STAND-IN: PouchDB's server behind couchsim", s.Spec})
	if err != nil {
		return nil, err
	}
	entry.MadeFrom = s.madeFrom
	return entry, nil
}
