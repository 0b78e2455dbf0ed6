package cli

import (
	"strings"
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

func TestUpLoadsImagesOfBuilds(t *testing.T) {
	index := &image.Index{
		Images: []image.Entry{
			{Name: "heddle-registry", Archive: "heddle-registry.tar", OnDemand: true},
			{Name: "couchdb", Archive: "couchdb.tar", OnDemand: true},
			{Name: "heddle-build-go", Archive: "heddle-build-go.tar", OnDemand: true},
		},
		Missing: []image.Missing{{Name: "heddle-build-node", Reason: "install Node.js", OnDemand: true}},
	}
	if _, err := buildArchives("/images", index, buildSettings{}); err == nil || !strings.Contains(err.Error(), "install Node.js") || !strings.Contains(err.Error(), "make build-images") {
		t.Errorf("got %v, want the reason and the way out", err)
	}
	got, err := buildArchives("/images", index, buildSettings{buildNodeImage: "reg.example/node:1"})
	if diff := cmp.Diff([]string{"/images/heddle-build-go.tar", "/images/heddle-registry.tar"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
