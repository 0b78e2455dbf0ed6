package e2e

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// unaware: what peers and orderers of a network over two sites are given (images, environment, arguments, volumes, and what
// is in these) is what those of a network of the same shape within one site are given, but for names and keys.
func (o *overSites) unaware(ctx context.Context, t *testing.T) {
	alone := raft3("solitary")
	removeAfter(t, o.a.Cluster, alone.Name)
	apply(ctx, t, o.a.Cluster, alone.yaml(t))
	ready(ctx, t, o.a.Cluster, network(alone.Name))
	for node, s := range map[string]*linkedSite{
		"orderer0-ord": o.a, "orderer1-ord": o.a, "orderer2-ord": o.a, "peer0-banka": o.a, "peer0-bankb": o.b,
	} {
		want, have := o.a.givenTo(ctx, t, alone.Name, node), s.givenTo(ctx, t, tradeNetwork, node)
		if len(want.Mounted) < 2 || len(want.Template.Spec.Containers[0].Env) < 20 {
			t.Errorf("%s has %d files and %d settings: too few to show anything", node, len(want.Mounted), len(want.Template.Spec.Containers[0].Env))
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s is given something else in a network over two sites (-one site +two sites):\n%s", node, diff)
		}
	}
}

// given is all that a node gets to see of its configuration, with NETWORK and NETWORK-ID in place of the network's names.
type given struct {
	Template corev1.PodTemplateSpec
	// Mounted is what is in each ConfigMap and Secret that it mounts, by name and key: PEM blocks by their kind.
	Mounted map[string]string
}

func (s *linkedSite) givenTo(ctx context.Context, t *testing.T, network, node string) given {
	t.Helper()
	var d appsv1.Deployment
	if err := s.Get(ctx, client.ObjectKey{Namespace: network, Name: node}, &d); err != nil {
		t.Fatal(err)
	}
	out := given{Mounted: map[string]string{}}
	for _, v := range d.Spec.Template.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			s.mounted(ctx, t, network, source, out.Mounted)
		}
	}
	d.Spec.Template.Annotations["heddle.dev/config-hash"] = "" // made of keys
	names := strings.NewReplacer(d.Labels[v1alpha1.LabelNetworkID], "NETWORK-ID", network, "NETWORK")
	raw, err := json.Marshal(d.Spec.Template)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(names.Replace(string(raw))), &out.Template); err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *linkedSite) mounted(ctx context.Context, t *testing.T, network string, source corev1.VolumeProjection, into map[string]string) {
	t.Helper()
	switch {
	case source.ConfigMap != nil:
		var cm corev1.ConfigMap
		if err := s.Get(ctx, client.ObjectKey{Namespace: network, Name: source.ConfigMap.Name}, &cm); err != nil {
			t.Fatal(err)
		}
		for key, value := range cm.Data {
			into[cm.Name+":"+key] = kindsOf(value)
		}
	case source.Secret != nil:
		var secret corev1.Secret
		if err := s.Get(ctx, client.ObjectKey{Namespace: network, Name: source.Secret.Name}, &secret); err != nil {
			t.Fatal(err)
		}
		for key, value := range secret.Data {
			into[secret.Name+":"+key] = kindsOf(string(value))
		}
	}
}

// kindsOf are the kinds of a PEM text's blocks; any other text is itself.
func kindsOf(text string) string {
	var kinds []string
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		kinds = append(kinds, block.Type)
	}
	if len(kinds) == 0 {
		return text
	}
	return strings.Join(kinds, " ")
}
