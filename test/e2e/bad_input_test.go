package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
)

// badWish is something that only the operator can refuse: it passes admission.
type badWish struct {
	// before is applied first, with NETWORK standing for the network's name.
	before string
	// manifests are what is wrong.
	manifests string
	// stalled is the object that must say so.
	stalled func(network string) harness.Object
	// reason and words that its message must have.
	reason string
	words  []string
	// unmade must not exist afterwards.
	unmade []client.Object
}

// smallNetwork is one orderer and one peer, the smallest there is.
const smallNetwork = `
apiVersion: heddle.dev/v1alpha1
kind: Network
metadata: {name: NETWORK}
spec:
  deletionPolicy: Delete
  organizations:
  - {name: ord, mspID: OrdMSP, ca: {mode: None}, orderers: {count: 1}}
  - {name: banka, mspID: BankAMSP, ca: {mode: None}, peers: {count: 1}}
`

func theNetwork(name string) harness.Object { return network(name) }

func theChannel(name string) func(string) harness.Object {
	return func(ns string) harness.Object {
		return &v1alpha1.Channel{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	}
}

func theOrganization(name string) func(string) harness.Object {
	return func(ns string) harness.Object {
		return &v1alpha1.Organization{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	}
}

func thePeer(name string) func(string) harness.Object {
	return func(ns string) harness.Object {
		return &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	}
}

func theOrderer(name string) func(string) harness.Object {
	return func(ns string) harness.Object {
		return &v1alpha1.Orderer{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	}
}

func theChaincode(name string) func(string) harness.Object {
	return func(ns string) harness.Object {
		return &v1alpha1.Chaincode{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	}
}

func theIdentity(name string) func(string) harness.Object {
	return func(ns string) harness.Object {
		return &v1alpha1.Identity{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	}
}

var badWishes = map[string]badWish{
	"namespace exists and is not ours": {
		before:    "{apiVersion: v1, kind: Namespace, metadata: {name: NETWORK}}",
		manifests: smallNetwork, stalled: theNetwork, reason: v1alpha1.ReasonNamespaceTaken, words: []string{"NETWORK", "delete"},
		unmade: []client.Object{&v1alpha1.Organization{ObjectMeta: metav1.ObjectMeta{Name: "banka"}}},
	},
	"namespace retained by another network": {
		before: `{apiVersion: v1, kind: Namespace, metadata: {name: NETWORK, labels: {heddle.dev/network: NETWORK,
  heddle.dev/network-id: some-other-network, heddle.dev/retained: "true"}}}`,
		manifests: smallNetwork, stalled: theNetwork, reason: v1alpha1.ReasonNamespaceRetained, words: []string{"some-other-network", "networkID"},
		unmade: []client.Object{&v1alpha1.Organization{ObjectMeta: metav1.ObjectMeta{Name: "banka"}}},
	},
	"issuer's Secret is not there": {
		before: smallNetwork,
		manifests: `
apiVersion: heddle.dev/v1alpha1
kind: Organization
metadata: {name: bankb, namespace: NETWORK}
spec: {mspID: BankBMSP, ca: {mode: None, issuerRef: {name: nowhere}}}
`,
		stalled: theOrganization("bankb"), words: []string{"nowhere"},
		unmade: []client.Object{&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bankb-ops"}}, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bankb-admin"}}},
	},
	"issuer's Secret is somebody else's": {
		before: smallNetwork + `
---
{apiVersion: v1, kind: Secret, metadata: {name: foreign, namespace: NETWORK}, stringData: {sign-ca.crt: x, sign-ca.key: x, tls-ca.crt: x, tls-ca.key: x}}
`,
		manifests: `
apiVersion: heddle.dev/v1alpha1
kind: Organization
metadata: {name: bankb, namespace: NETWORK}
spec: {mspID: BankBMSP, ca: {mode: None, issuerRef: {name: foreign}}}
`,
		stalled: theOrganization("bankb"), words: []string{"foreign", v1alpha1.LabelIssuerFor},
		unmade: []client.Object{&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bankb-ops"}}},
	},
	"issuer's Secret is no issuer": {
		before: smallNetwork + `
---
{apiVersion: v1, kind: Secret, metadata: {name: foreign, namespace: NETWORK, labels: {heddle.dev/issuer-for: bankb}},
  stringData: {sign-ca.crt: x, sign-ca.key: x, tls-ca.crt: x, tls-ca.key: x}}
`,
		manifests: `
apiVersion: heddle.dev/v1alpha1
kind: Organization
metadata: {name: bankb, namespace: NETWORK}
spec: {mspID: BankBMSP, ca: {mode: None, issuerRef: {name: foreign}}}
`,
		stalled: theOrganization("bankb"), reason: v1alpha1.ReasonInvalidSpec, words: []string{"foreign", "sign-ca.crt"},
		unmade: []client.Object{&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bankb-ops"}}},
	},
	"key Secret of that name is somebody else's": {
		before: smallNetwork + `
---
{apiVersion: v1, kind: Secret, metadata: {name: bankb-ops, namespace: NETWORK}, stringData: {mine: "yes"}}
`,
		manifests: `
apiVersion: heddle.dev/v1alpha1
kind: Organization
metadata: {name: bankb, namespace: NETWORK}
spec: {mspID: BankBMSP, ca: {mode: None}}
`,
		stalled: theOrganization("bankb"), reason: v1alpha1.ReasonInvalidOwnership, words: []string{"bankb-ops", "delete"},
	},
	"two Organizations with one MSP ID": {
		before: smallNetwork,
		manifests: `
apiVersion: heddle.dev/v1alpha1
kind: Organization
metadata: {name: bankb, namespace: NETWORK}
spec: {mspID: BankAMSP, ca: {mode: None}}
`,
		stalled: theOrganization("bankb"), reason: v1alpha1.ReasonInvalidSpec, words: []string{"mspID", "BankAMSP", "banka"},
		unmade: []client.Object{&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bankb-ops"}}},
	},
	"own Peer beside an inline one of its name": {
		before: strings.Replace(smallNetwork, "peers: {count: 1}", "peers: {count: 0}", 1) + `
---
apiVersion: heddle.dev/v1alpha1
kind: Peer
metadata: {name: peer0-banka, namespace: NETWORK}
spec: {organization: banka}
`,
		manifests: smallNetwork,
		stalled:   theNetwork, reason: v1alpha1.ReasonInvalidOwnership, words: []string{"peer0-banka", "delete or rename"},
	},
	"peer of an organization that is not there": {
		before: smallNetwork,
		manifests: `
apiVersion: heddle.dev/v1alpha1
kind: Peer
metadata: {name: peer0-bankx, namespace: NETWORK}
spec: {organization: bankx}
`,
		stalled: thePeer("peer0-bankx"), words: []string{"bankx"},
		unmade: []client.Object{
			&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "peer0-bankx"}}, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "peer0-bankx"}},
			&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "peer0-bankx"}}, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "peer0-bankx"}},
		},
	},
	"orderer of an organization that is not there": {
		before: smallNetwork,
		manifests: `
apiVersion: heddle.dev/v1alpha1
kind: Orderer
metadata: {name: orderer0-bankx, namespace: NETWORK}
spec: {organization: bankx}
`,
		stalled: theOrderer("orderer0-bankx"), words: []string{"organization", "bankx"},
		unmade: []client.Object{
			&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "orderer0-bankx"}}, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "orderer0-bankx"}},
			&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "orderer0-bankx"}},
		},
	},
	"Peer and Orderer of one name": {
		before: smallNetwork,
		manifests: `
apiVersion: heddle.dev/v1alpha1
kind: Peer
metadata: {name: orderer0-ord, namespace: NETWORK}
spec: {organization: ord}
`,
		stalled: thePeer("orderer0-ord"), reason: v1alpha1.ReasonInvalidOwnership, words: []string{"orderer0-ord"},
	},
	"channel of an organization that is not there": {
		before: smallNetwork,
		manifests: `
apiVersion: heddle.dev/v1alpha1
kind: Channel
metadata: {name: extra, namespace: NETWORK}
spec: {organizations: [banka, bankx]}
`,
		stalled: theChannel("extra"), words: []string{"organizations", "bankx"},
		unmade: []client.Object{&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "extra-genesis"}}},
	},
	"channel with a consenter that is not there": {
		before: smallNetwork,
		manifests: `
apiVersion: heddle.dev/v1alpha1
kind: Channel
metadata: {name: extra, namespace: NETWORK}
spec: {consenters: [orderer9-ord]}
`,
		stalled: theChannel("extra"), words: []string{"consenters", "orderer9-ord"},
		unmade: []client.Object{&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "extra-genesis"}}},
	},
	"BFT channel with one orderer": {
		before: smallNetwork,
		manifests: `
apiVersion: heddle.dev/v1alpha1
kind: Channel
metadata: {name: extra, namespace: NETWORK}
spec: {consensus: BFT}
`,
		stalled: theChannel("extra"), reason: v1alpha1.ReasonInvalidSpec, words: []string{"BFT", "4"},
		unmade: []client.Object{&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "extra-genesis"}}},
	},
	"policy that is no policy": {
		before: smallNetwork,
		manifests: `
apiVersion: heddle.dev/v1alpha1
kind: Channel
metadata: {name: extra, namespace: NETWORK}
spec: {policies: [{group: Application, name: Endorsement, rule: "SOMETIMES Endorsement"}]}
`,
		stalled: theChannel("extra"), reason: v1alpha1.ReasonInvalidSpec, words: []string{"policies", "Endorsement"},
		unmade: []client.Object{&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "extra-genesis"}}},
	},
	"contract on a channel that is not there": {
		before: smallNetwork,
		manifests: `
apiVersion: heddle.dev/v1alpha1
kind: Chaincode
metadata: {name: asset, namespace: NETWORK}
spec: {channel: nowhere, chaincodeName: asset, image: "` + assetImage + `"}
`,
		stalled: theChaincode("asset"), words: []string{"channel", "nowhere"},
		unmade: []client.Object{&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "cc-asset"}}},
	},
	"endorsement policy that is no policy": {
		before: smallNetwork + "  channels: [{name: demo}]\n",
		manifests: `
apiVersion: heddle.dev/v1alpha1
kind: Chaincode
metadata: {name: asset, namespace: NETWORK}
spec: {channel: demo, chaincodeName: asset, image: "` + assetImage + `", endorsementPolicy: "AND('BankAMSP.peer'"}
`,
		stalled: theChaincode("asset"), reason: v1alpha1.ReasonInvalidSpec, words: []string{"endorsementPolicy"},
	},
	"identity of an organization that is not there": {
		before: smallNetwork,
		manifests: `
apiVersion: heddle.dev/v1alpha1
kind: Identity
metadata: {name: alice, namespace: NETWORK}
spec: {organization: bankx}
`,
		stalled: theIdentity("alice"), words: []string{"bankx"},
		unmade: []client.Object{&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "alice"}}},
	},
	"identity that would write over a key": {
		before: smallNetwork,
		manifests: `
apiVersion: heddle.dev/v1alpha1
kind: Identity
metadata: {name: alice, namespace: NETWORK}
spec: {organization: banka, type: Admin, secretName: banka-ops}
`,
		stalled: theIdentity("alice"), reason: v1alpha1.ReasonInvalidOwnership, words: []string{"banka-ops"},
	},
}

// TestBadInput: what admission cannot know is refused by the operator: Stalled, or waiting, with a sentence that names
// the field and the remedy, and nothing half-made.
func TestBadInput(t *testing.T) {
	_, c := start(t, 20*time.Minute)
	for i, name := range slices.Sorted(maps.Keys(badWishes)) {
		ns, w := fmt.Sprintf("bad-%02d", i+1), badWishes[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each has a network of its own
			ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Minute, fmt.Errorf("two minutes are over"))
			defer cancel()
			removeAfter(t, c, ns)
			w.check(ctx, t, c, ns)
		})
	}
}

func (w badWish) check(ctx context.Context, t *testing.T, c *harness.Cluster, ns string) {
	t.Helper()
	in := func(s string) string { return strings.ReplaceAll(s, "NETWORK", ns) }
	if w.before != "" {
		apply(ctx, t, c, in(w.before))
		if strings.Contains(w.before, "kind: Network") {
			ready(ctx, t, c, network(ns))
		}
	}
	apply(ctx, t, c, in(w.manifests))
	reason, message, err := c.WaitRefused(ctx, w.stalled(ns))
	if err != nil {
		t.Fatal(err)
	}
	progress("%s: %s: %s", t.Name(), reason, message)
	if w.reason != "" && reason != w.reason {
		t.Errorf("reason: got %q, want %q (%s)", reason, w.reason, message)
	}
	for _, word := range w.words {
		if !strings.Contains(message, in(word)) {
			t.Errorf("message does not say %q: %s", in(word), message)
		}
	}
	for _, obj := range w.unmade {
		obj := obj.DeepCopyObject().(client.Object) //nolint:forcetypeassert // it is one
		if err := c.Get(ctx, client.ObjectKey{Namespace: ns, Name: obj.GetName()}, obj); err == nil {
			t.Errorf("%T %q was made all the same", obj, obj.GetName())
		}
	}
}
