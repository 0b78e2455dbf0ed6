package v1alpha1_test

import (
	"context"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"heddle.dev/heddle/api/v1alpha1"
)

// transitions lists edits of an object that must be refused; each stands beside one that must be accepted.
var transitions = map[string]struct {
	base string
	// from is merged into base: what stands before the edit.
	from string
	// bad is merged into what stands and must be refused with a message that has all of want.
	bad  string
	want []string
	// good is merged into what stands instead and must be accepted.
	good string
}{
	"a partner's siteID changed": {
		base: siteLink, bad: "spec: {siteID: bankc1}", want: []string{"siteID is immutable"}, good: "spec: {displayName: Bank B}",
	},
	"a revoked partner taken back": {
		base: siteLink, from: "spec: {partnership: Revoked}", bad: "spec: {partnership: Active}",
		want: []string{"a revoked partnership stays so"}, good: "spec: {displayName: Bank B}",
	},
	"a revoked partner taken back by leaving it out": {
		base: siteLink, from: "spec: {partnership: Revoked}", bad: "spec: {partnership: null}",
		want: []string{"a revoked partnership stays so"}, good: "spec: {displayName: Bank B}",
	},
	"an invitation prolonged": {
		base: siteInvite, bad: `spec: {expiresAt: "2036-11-27T12:00:00Z"}`,
		want: []string{"an invitation is immutable"}, good: "metadata: {annotations: {heddle.dev/void: why}}",
	},
	"network ID changed": {
		base: network, from: "spec: {networkID: first-id}", bad: "spec: {networkID: other-id}",
		want: []string{"networkID is immutable"}, good: "spec: {deletionPolicy: Delete}",
	},
	"network ID removed": {
		base: network, from: "spec: {networkID: first-id}", bad: "spec: {networkID: null}",
		want: []string{"networkID is immutable"}, good: "spec: {clientNamespaces: [apps]}",
	},
	"tenant changed": {
		base: network, from: "spec: {tenant: red}", bad: "spec: {tenant: blue}",
		want: []string{"tenant is immutable"}, good: "spec: {clientNamespaces: [apps]}",
	},
	"tenant set later": {
		base: network, bad: "spec: {tenant: blue}",
		want: []string{"tenant is immutable"}, good: "spec: {networkID: given-later}",
	},
	"consensus changed": {
		base: network, from: withOrderers("4", ""), bad: "spec: {ordering: {consensus: BFT}}",
		want: []string{"ordering.consensus is immutable"}, good: withOrderers("5", ""),
	},
	"BFT shrinks below four orderers": {
		base: network, from: withOrderers("4", "ordering: {consensus: BFT}, "), bad: withOrderers("3", ""),
		want: []string{"BFT needs at least 4 orderers"}, good: withOrderers("7", ""),
	},
	"MSP ID changed": {
		base: network, from: withOrganization("{name: banka, mspID: BankAMSP}"),
		bad:  withOrganization("{name: banka, mspID: BankXMSP}"),
		want: []string{"mspID is immutable"},
		good: withOrganization("{name: banka, mspID: BankAMSP}, {name: bankx, mspID: BankXMSP}"),
	},
	"Fabric line lowered": {
		base: network, bad: `spec: {fabric: {version: "2.5.16"}}`,
		want: []string{"version cannot go from 3.1 back to 2.5"}, good: `spec: {fabric: {version: "3.1.4"}}`,
	},
	"channel ID changed": {
		base: network, from: withChannel("{name: demo, channelID: demo.1}"), bad: withChannel("{name: demo, channelID: demo.2}"),
		want: []string{"channelID is immutable"}, good: withChannel("{name: demo, channelID: demo.1}, {name: more}"),
	},
	"channel ID set later": {
		base: network, bad: withChannel("{name: demo, channelID: demo.2}"),
		want: []string{"channelID is immutable"}, good: withChannel("{name: demo, batch: {maxMessageCount: 5}}"),
	},
	"inline storage class changed": {
		base: network, from: withOrganization("{name: banka, mspID: BankAMSP, peers: {count: 1, template: {storage: {storageClassName: fast}}}}"),
		bad:  withOrganization("{name: banka, mspID: BankAMSP, peers: {count: 1, template: {storage: {storageClassName: slow}}}}"),
		want: []string{"storageClassName is immutable"},
		good: withOrganization("{name: banka, mspID: BankAMSP, peers: {count: 2, template: {storage: {storageClassName: fast}}}}"),
	},
	"inline storage class set later": {
		base: network, from: withOrganization("{name: banka, mspID: BankAMSP, peers: {count: 1}}"),
		bad:  withOrganization("{name: banka, mspID: BankAMSP, peers: {count: 1, template: {storage: {storageClassName: slow}}}}"),
		want: []string{"storageClassName is immutable"},
		good: withOrganization("{name: banka, mspID: BankAMSP, peers: {count: 1, template: {logging: debug}}}"),
	},
	"organization's MSP ID changed": {
		base: organization, bad: "spec: {mspID: OtherMSP}",
		want: []string{"mspID is immutable"}, good: "spec: {ca: {mode: None}}",
	},
	"issuer set later": {
		base: organization, bad: "spec: {ca: {issuerRef: {name: external}}}",
		want: []string{"issuerRef is immutable"}, good: "spec: {ca: {image: example.org/ca}}",
	},
	"issuer removed": {
		base: organization, from: "spec: {ca: {issuerRef: {name: external}}}", bad: "spec: {ca: {issuerRef: null}}",
		want: []string{"issuerRef is immutable"}, good: "spec: {ca: {image: example.org/ca}}",
	},
	"issuer changed": {
		base: organization, from: "spec: {ca: {issuerRef: {name: external}}}", bad: "spec: {ca: {issuerRef: {name: other}}}",
		want: []string{"issuerRef is immutable"}, good: "spec: {ca: {image: example.org/ca}}",
	},
	"peer's storage class changed": {
		base: peer, from: "spec: {storage: {storageClassName: fast}}", bad: "spec: {storage: {storageClassName: slow}}",
		want: []string{"storageClassName is immutable"}, good: "spec: {logging: debug}",
	},
	"peer's storage class set later": {
		base: peer, bad: "spec: {storage: {storageClassName: slow}}",
		want: []string{"storageClassName is immutable"}, good: "spec: {storage: {size: 9Gi}}",
	},
	"peer's storage removed": {
		base: peer, from: "spec: {storage: {storageClassName: fast}}", bad: "spec: {storage: null}",
		want: []string{"storageClassName is immutable"}, good: "spec: {logging: debug}",
	},
	"peer's volume shrinks": {
		base: peer, from: "spec: {storage: {size: 2Gi}}", bad: "spec: {storage: {size: 2000Mi}}",
		want: []string{"spec.storage", "size can grow only"}, good: "spec: {storage: {size: 2049Mi}}",
	},
	"peer's version lowered": {
		base: peer, bad: `spec: {version: "2.5.16"}`,
		want: []string{"version cannot go from 3.1 back to 2.5"}, good: `spec: {version: "3.1.9"}`,
	},
	"peer's state database set later": {
		base: peer, bad: `spec: {stateDatabase: CouchDB}`,
		want: []string{"stateDatabase is immutable", "make a new peer"}, good: `spec: {stateDatabase: LevelDB}`,
	},
	"peer's state database removed": {
		base: peer, from: `spec: {stateDatabase: CouchDB}`, bad: `spec: {stateDatabase: null}`,
		want: []string{"stateDatabase is immutable"}, good: `spec: {couchDB: {image: "example.org/couchdb:3.4"}}`,
	},
	"peer's CouchDB removed": {
		base: peer, from: `spec: {stateDatabase: CouchDB, couchDB: {image: "example.org/couchdb:3.4"}}`, bad: `spec: {couchDB: null}`,
		want: []string{"couchDB cannot be removed"}, good: `spec: {couchDB: {image: null, storage: {size: 9Gi}}}`,
	},
	"storage class of peer's CouchDB changed": {
		base: peer, from: `spec: {stateDatabase: CouchDB, couchDB: {storage: {storageClassName: fast}}}`, bad: `spec: {couchDB: {storage: {storageClassName: slow}}}`,
		want: []string{"spec.couchDB.storage", "storageClassName is immutable"}, good: `spec: {couchDB: {storage: {size: 9Gi}}}`,
	},
	"inline state database changed": {
		base: network, from: withOrganization("{name: banka, mspID: BankAMSP, peers: {count: 1, template: {stateDatabase: CouchDB}}}"),
		bad:  withOrganization("{name: banka, mspID: BankAMSP, peers: {count: 1, template: {stateDatabase: LevelDB}}}"),
		want: []string{"spec.organizations[1].peers.template.stateDatabase", "stateDatabase is immutable"},
		good: withOrganization("{name: banka, mspID: BankAMSP, peers: {count: 2, template: {stateDatabase: CouchDB, couchDB: {resources: {limits: {memory: 4Gi}}}}}}"),
	},
	"inline state database set later": {
		base: network, bad: withOrganization("{name: banka, mspID: BankAMSP, peers: {count: 1, template: {stateDatabase: CouchDB}}}, {name: bankb, mspID: BankBMSP, peers: {count: 1}}"),
		want: []string{"stateDatabase is immutable"},
		good: withOrganization("{name: banka, mspID: BankAMSP, peers: {count: 1}}, {name: bankb, mspID: BankBMSP, peers: {count: 1}}, {name: bankc, mspID: BankCMSP, peers: {count: 1, template: {stateDatabase: CouchDB}}}"),
	},
	"orderer's storage class removed": {
		base: orderer, from: "spec: {storage: {storageClassName: fast}}", bad: "spec: {storage: {storageClassName: null}}",
		want: []string{"storageClassName is immutable"}, good: "spec: {storage: {size: 9Gi}}",
	},
	"channel's consensus changed": {
		base: channel, bad: "spec: {consensus: BFT}",
		want: []string{"consensus is immutable"}, good: "spec: {organizations: [banka]}",
	},
	"channel's timing changed": {
		base: channel, bad: "spec: {timing: wan}",
		want: []string{"timing is immutable"}, good: "spec: {batch: {maxMessageCount: 5}}",
	},
	"channel's ID set later": {
		base: channel, bad: "spec: {channelID: demo}",
		want: []string{"channelID is immutable"}, good: "spec: {consenters: [orderer0-ord]}",
	},
	"channel's capability lowered": {
		base: channel, from: "spec: {capabilities: {channel: V3_0, application: V2_5}}", bad: "spec: {capabilities: {channel: V2_0}}",
		want: []string{"capabilities.channel cannot be lowered"}, good: "spec: {capabilities: {orderer: V2_0}}",
	},
	"channel's capability removed": {
		base: channel, from: "spec: {capabilities: {channel: V3_0}}", bad: "spec: {capabilities: null}",
		want: []string{"capabilities cannot be removed"}, good: "spec: {capabilities: {application: V2_5}}",
	},
	"contract's channel changed": {
		base: chaincode, bad: "spec: {channel: other}",
		want: []string{"channel is immutable"}, good: "spec: {replicas: 2}",
	},
	"contract's name changed": {
		base: chaincode, bad: "spec: {chaincodeName: other}",
		want: []string{"chaincodeName is immutable"}, good: `spec: {version: "1.1", image: "example.org/asset:1.1"}`,
	},
	"identity's organization changed": {
		base: identity, bad: "spec: {organization: bankb}",
		want: []string{"organization is immutable"}, good: "spec: {attributes: [{name: role}]}",
	},
	"identity's type changed": {
		base: identity, bad: "spec: {type: Admin}",
		want: []string{"type is immutable"}, good: "spec: {attributes: [{name: role}]}",
	},
	"identity's network set later": {
		base: identity, bad: "spec: {networkRef: trade}",
		want: []string{"networkRef is immutable"}, good: "spec: {attributes: [{name: role}]}",
	},
	"identity's Secret set later": {
		base: identity, bad: "spec: {secretName: other}",
		want: []string{"secretName is immutable"}, good: "spec: {attributes: [{name: role}]}",
	},
	"identity's enrolment ID removed": {
		base: identity, from: "spec: {enrollmentID: alice}", bad: "spec: {enrollmentID: null}",
		want: []string{"enrollmentID is immutable"}, good: "spec: {attributes: [{name: role}]}",
	},
}

func TestForbiddenEditsAreRefused(t *testing.T) {
	c := server(t)
	for name, tc := range transitions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stands := patched(t, tc.base, tc.from)
			if clusterWide(stands) {
				stands.SetName("t-" + random(t))
			} else {
				stands.SetNamespace(namespace(t, c))
			}
			// An operator that happens to watch this API server must leave the object alone.
			stands.SetAnnotations(map[string]string{v1alpha1.AnnotationPaused: "test"})
			if err := c.Create(t.Context(), stands); err != nil {
				t.Fatalf("create: %v", err)
			}
			t.Cleanup(func() { _ = c.Delete(context.WithoutCancel(t.Context()), stands) })
			if err := tryPatch(t, c, stands, tc.good); err != nil {
				t.Errorf("good edit was refused: %v", err)
			}
			wantRefusal(t, tryPatch(t, c, stands, tc.bad), tc.want)
		})
	}
}

// tryPatch asks the API server whether it would take a merge patch.
func tryPatch(t *testing.T, c client.Client, stands *unstructured.Unstructured, patch string) error {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(patch))
	if err != nil {
		t.Fatal(err)
	}
	return c.Patch(t.Context(), stands.DeepCopy(), client.RawPatch("application/merge-patch+json", raw), client.DryRunAll)
}
