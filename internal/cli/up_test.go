package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"heddle.dev/heddle/internal/image"
)

func TestUpLoadsNoOptionalImages(t *testing.T) {
	index := &image.Index{Images: []image.Entry{
		{Name: "fabric-peer", Archive: "fabric-peer.tar"}, {Name: "couchdb", Archive: "couchdb.tar", OnDemand: true},
	}}
	got := needed([]string{"/images/couchdb.tar", "/images/fabric-peer.tar", "/images/own.tar"}, index)
	if diff := cmp.Diff([]string{"/images/fabric-peer.tar", "/images/own.tar"}, got); diff != "" {
		t.Error(diff)
	}
}
