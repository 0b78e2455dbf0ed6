package v1alpha1_test

import (
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Manifests that are accepted; the cases below change one thing in them.
const (
	network = `
apiVersion: heddle.dev/v1alpha1
kind: Network
metadata: {name: trade}
spec:
  organizations:
  - {name: ord, mspID: OrdMSP, orderers: {count: 3}, ca: {mode: None}}
  - {name: banka, mspID: BankAMSP, peers: {count: 1}}
  - {name: bankb, mspID: BankBMSP, peers: {count: 1}}
  channels:
  - name: demo
`
	organization = `
apiVersion: heddle.dev/v1alpha1
kind: Organization
metadata: {name: banka}
spec: {mspID: BankAMSP}
`
	peer = `
apiVersion: heddle.dev/v1alpha1
kind: Peer
metadata: {name: peer0-banka}
spec: {organization: banka}
`
	orderer = `
apiVersion: heddle.dev/v1alpha1
kind: Orderer
metadata: {name: orderer0-ord}
spec: {organization: ord}
`
	channel = `
apiVersion: heddle.dev/v1alpha1
kind: Channel
metadata: {name: demo}
spec: {organizations: [banka, bankb]}
`
	chaincode = `
apiVersion: heddle.dev/v1alpha1
kind: Chaincode
metadata: {name: demo-asset}
spec: {channel: demo, chaincodeName: asset, image: "heddle.dev/asset-go:dev"}
`
	site = `
apiVersion: heddle.dev/v1alpha1
kind: Site
metadata: {name: local}
spec: {endpoints: ["gateway.bank-a.example:443"]}
`
	siteInvite = `
apiVersion: heddle.dev/v1alpha1
kind: SiteInvite
metadata: {name: bank-b}
spec: {codeHash: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef, expiresAt: "2026-11-27T12:00:00Z"}
`
	siteLink = `
apiVersion: heddle.dev/v1alpha1
kind: SiteLink
metadata: {name: bank-b}
spec: {siteID: bankb1, endpoints: ["gateway.bank-b.example:443"]}
`
	identity = `
apiVersion: heddle.dev/v1alpha1
kind: Identity
metadata: {name: alice}
spec: {organization: banka}
`
)

// withOrderers is a patch that leaves an organization of n orderers and one of one peer; rest goes before them.
func withOrderers(n, rest string) string {
	return "spec: {" + rest + "organizations: [{name: ord, mspID: OrdMSP, orderers: {count: " + n +
		"}}, {name: banka, mspID: BankAMSP, peers: {count: 1}}]}"
}

func withOrganization(org string) string {
	return "spec: {organizations: [{name: ord, mspID: OrdMSP, orderers: {count: 3}}, " + org + "]}"
}

func withChannel(ch string) string {
	return "spec: {channels: [" + ch + "]}"
}

// badInput lists what must be refused when an object is made. Each case stands beside the same manifest with the
// remedy that the message names, which must be accepted: so a rule that refuses everything fails as well.
var badInput = map[string]struct {
	base string
	// bad is merged into base and must be refused with a message that has all of want.
	bad  string
	want []string
	// good is merged into base instead and must be accepted.
	good string
}{
	"a second site": {
		base: site, bad: "metadata: {name: other}", want: []string{"metadata.name must be local"}, good: "spec: {displayName: Bank A}",
	},
	"a siteID with a dot": {
		base: site, bad: "spec: {siteID: bank.a}", want: []string{"siteID must be 4 to 16 lower-case letters and digits"}, good: "spec: {siteID: banka1}",
	},
	"an endpoint without a port": {
		base: site, bad: "spec: {endpoints: [gateway.bank-a.example]}", want: []string{"endpoints must be host:port"},
		good: `spec: {endpoints: ["[2001:db8::1]:443"]}`,
	},
	"a node port of a load balancer": {
		base: site, bad: "spec: {gateway: {service: LoadBalancer, nodePort: 30443}}", want: []string{"nodePort is for service NodePort only"},
		good: "spec: {gateway: {service: NodePort, nodePort: 30443}}",
	},
	"a code instead of its hash": {
		base: siteInvite, bad: "spec: {codeHash: " + strings.Repeat("Z", 64) + "}", want: []string{"codeHash must be 64 hexadecimal digits"},
		good: "spec: {codeHash: " + strings.Repeat("a", 64) + "}",
	},
	"a partner whose name is no label": {
		base: siteLink, bad: "metadata: {name: bank.b}", want: []string{"metadata.name must be a DNS label"}, good: "metadata: {name: bank-c}",
	},
	"digits of another form": {
		base: siteLink, bad: "spec: {check: 731x204}", want: []string{"check must be six digits, such as 731-204"}, good: "spec: {check: 731-204}",
	},
	"network name too long": {
		base: network, bad: "metadata: {name: a23456789012345678901234567890123}",
		want: []string{"metadata.name", "at most 32 characters"},
		good: "metadata: {name: a2345678901234567890123456789012}",
	},
	"network name with a dot": {
		base: network, bad: "metadata: {name: trade.example}",
		want: []string{"metadata.name", "without dots"},
		good: "metadata: {name: trade-example}",
	},
	"network name starts with a digit": {
		base: network, bad: "metadata: {name: 4trade}",
		want: []string{"metadata.name", "starts with a letter"},
		good: "metadata: {name: trade4}",
	},
	"network name of a system namespace": {
		base: network, bad: "metadata: {name: kube-system}",
		want: []string{"metadata.name", "choose another"},
		good: "metadata: {name: kube}",
	},
	"network without organizations": {
		base: network, bad: "spec: {organizations: []}",
		want: []string{"spec.organizations", "at least 1"},
		good: "spec: {channels: null}",
	},
	"network without orderers": {
		base: network, bad: withOrderers("0", ""),
		want: []string{"at least one organization must run an orderer", "organizations[].orderers.count"},
		good: withOrderers("1", ""),
	},
	"BFT below four orderers": {
		base: network, bad: withOrderers("3", "ordering: {consensus: BFT}, "),
		want: []string{"BFT needs at least 4 orderers", "orderers.count"},
		good: withOrderers("4", "ordering: {consensus: BFT}, "),
	},
	"BFT channel below four consenters": {
		base: network,
		bad:  `spec: {ordering: {consensus: BFT}, organizations: [{name: ord, mspID: OrdMSP, orderers: {count: 4}}, {name: banka, mspID: BankAMSP, peers: {count: 1}}], channels: [{name: demo, consenters: [orderer0-ord]}]}`,
		want: []string{"channels[].consenters", "at least 4 consenters"},
		good: `spec: {ordering: {consensus: BFT}, organizations: [{name: ord, mspID: OrdMSP, orderers: {count: 4}}, {name: banka, mspID: BankAMSP, peers: {count: 1}}], channels: [{name: demo}]}`,
	},
	"BFT on Fabric 2.5": {
		base: network, bad: withOrderers("4", `fabric: {version: "2.5.16"}, ordering: {consensus: BFT}, `),
		want: []string{"fabric.version", "3.1.x"},
		good: withOrderers("4", `fabric: {version: "3.1.5"}, ordering: {consensus: BFT}, `),
	},
	"capability that Fabric 2.5 does not know": {
		base: network, bad: `spec: {fabric: {version: "2.5.16"}, channels: [{name: demo, capabilities: {channel: V3_0}}]}`,
		want: []string{"channels[].capabilities.channel", "3.1.x"},
		good: `spec: {fabric: {version: "2.5.16"}, channels: [{name: demo, capabilities: {channel: V2_0}}]}`,
	},
	"unknown consensus": {
		base: network, bad: "spec: {ordering: {consensus: Kafka}}",
		want: []string{"spec.ordering.consensus", `"Raft", "BFT"`},
		good: "spec: {ordering: {consensus: Raft}}",
	},
	"unknown timing profile": {
		base: network, bad: "spec: {ordering: {timing: moon}}",
		want: []string{"spec.ordering.timing", `"lan", "wan"`},
		good: "spec: {ordering: {timing: wan}}",
	},
	"unknown Fabric version": {
		base: network, bad: `spec: {fabric: {version: "1.4.12"}}`,
		want: []string{"spec.fabric.version", "2.5.x or 3.1.x"},
		good: `spec: {fabric: {version: "2.5.16"}}`,
	},
	"Fabric version latest": {
		base: network, bad: `spec: {fabric: {version: latest}}`,
		want: []string{"spec.fabric.version", "such as 3.1.5"},
		good: `spec: {fabric: {version: "3.1.5"}}`,
	},
	"unknown fabric-ca version": {
		base: network, bad: `spec: {fabric: {caVersion: "1.4.9"}}`,
		want: []string{"spec.fabric.caVersion", "such as 1.5.15"},
		good: `spec: {fabric: {caVersion: "1.5.15"}}`,
	},
	"unknown pull policy": {
		base: network, bad: `spec: {fabric: {imagePullPolicy: Sometimes}}`,
		want: []string{"spec.fabric.imagePullPolicy", `"IfNotPresent"`},
		good: `spec: {fabric: {imagePullPolicy: Never}}`,
	},
	"two organizations with one MSP ID": {
		base: network, bad: withOrganization("{name: banka, mspID: OrdMSP, peers: {count: 1}}"),
		want: []string{"organizations[].mspID must be unique"},
		good: withOrganization("{name: banka, mspID: BankAMSP, peers: {count: 1}}"),
	},
	"two organizations of one name": {
		base: network, bad: withOrganization("{name: ord, mspID: BankAMSP, peers: {count: 1}}"),
		want: []string{"spec.organizations[1]", "Duplicate value"},
		good: withOrganization("{name: orda, mspID: BankAMSP, peers: {count: 1}}"),
	},
	"organization name with a dot": {
		base: network, bad: withOrganization("{name: bank.a, mspID: BankAMSP}"),
		want: []string{"spec.organizations[1].name", "DNS label"},
		good: withOrganization("{name: bank-a, mspID: BankAMSP}"),
	},
	"organization name too long": {
		base: network, bad: withOrganization("{name: a234567890123456789012345, mspID: BankAMSP}"),
		want: []string{"spec.organizations[1].name", "24"},
		good: withOrganization("{name: a23456789012345678901234, mspID: BankAMSP}"),
	},
	"organization name that clashes with a Secret": {
		base: network, bad: withOrganization("{name: bank-ca, mspID: BankAMSP}"),
		want: []string{"spec.organizations[1].name", "must not be or end in"},
		good: withOrganization("{name: bank-caa, mspID: BankAMSP}"),
	},
	"organization without MSP ID": {
		base: network, bad: withOrganization("{name: banka}"),
		want: []string{"spec.organizations[1].mspID", "Required"},
		good: withOrganization("{name: banka, mspID: BankAMSP}"),
	},
	"MSP ID with a slash": {
		base: network, bad: withOrganization("{name: banka, mspID: Bank/AMSP}"),
		want: []string{"spec.organizations[1].mspID", "letters, digits, '.' and '-'"},
		good: withOrganization("{name: banka, mspID: Bank.AMSP}"),
	},
	"MSP ID too long": {
		base: network, bad: withOrganization("{name: banka, mspID: " + strings.Repeat("M", 65) + "}"),
		want: []string{"spec.organizations[1].mspID", "64"},
		good: withOrganization("{name: banka, mspID: " + strings.Repeat("M", 64) + "}"),
	},
	"negative number of peers": {
		base: network, bad: withOrganization("{name: banka, mspID: BankAMSP, peers: {count: -1}}"),
		want: []string{"spec.organizations[1].peers.count", "greater than or equal to 0"},
		good: withOrganization("{name: banka, mspID: BankAMSP, peers: {count: 0}}"),
	},
	"too many peers": {
		base: network, bad: withOrganization("{name: banka, mspID: BankAMSP, peers: {count: 65}}"),
		want: []string{"spec.organizations[1].peers.count", "less than or equal to 64"},
		good: withOrganization("{name: banka, mspID: BankAMSP, peers: {count: 64}}"),
	},
	"negative number of orderers": {
		base: network, bad: withOrderers("-3", ""),
		want: []string{"spec.organizations[0].orderers.count", "greater than or equal to 0"},
		good: withOrderers("3", ""),
	},
	"volume without size": {
		base: network, bad: withOrganization(`{name: banka, mspID: BankAMSP, peers: {count: 1, template: {storage: {size: 0Gi}}}}`),
		want: []string{"spec.organizations[1].peers.template.storage", "size must be more than 0"},
		good: withOrganization(`{name: banka, mspID: BankAMSP, peers: {count: 1, template: {storage: {size: 1Gi}}}}`),
	},
	"volume of no quantity": {
		base: network, bad: withOrganization(`{name: banka, mspID: BankAMSP, peers: {count: 1, template: {storage: {size: huge}}}}`),
		want: []string{"spec.organizations[1].peers.template.storage.size"},
		good: withOrganization(`{name: banka, mspID: BankAMSP, peers: {count: 1, template: {storage: {size: 500Mi}}}}`),
	},
	"extra SAN with a space": {
		base: network, bad: withOrganization(`{name: banka, mspID: BankAMSP, peers: {count: 1, template: {extraSANs: ["peer bank"]}}}`),
		want: []string{"extraSANs[0]", "DNS names or IP addresses"},
		good: withOrganization(`{name: banka, mspID: BankAMSP, peers: {count: 1, template: {extraSANs: [peer.bank.example, "*.bank.example", 10.0.0.1, "fd00::1"]}}}`),
	},
	"channel of an unknown organization": {
		base: network, bad: withChannel("{name: demo, organizations: [bankc]}"),
		want: []string{"channels[].organizations", "not in organizations[]"},
		good: withChannel("{name: demo, organizations: [bankb]}"),
	},
	"two channels of one name": {
		base: network, bad: withChannel("{name: demo}, {name: demo}"),
		want: []string{"spec.channels[1]", "Duplicate value"},
		good: withChannel("{name: demo}, {name: demo2}"),
	},
	"two channels of one name on the ledger": {
		base: network, bad: withChannel("{name: demo}, {name: demo2, channelID: demo}"),
		want: []string{"channels[].channelID must be unique"},
		good: withChannel("{name: demo}, {name: demo2, channelID: demo.2}"),
	},
	"channel name with capitals": {
		base: network, bad: withChannel("{name: Demo}"),
		want: []string{"spec.channels[0].name", "set channelID for other letters"},
		good: withChannel("{name: demo, channelID: demo.1}"),
	},
	"channel ID with an underscore": {
		base: network, bad: withChannel("{name: demo, channelID: demo_1}"),
		want: []string{"spec.channels[0].channelID", "lower-case letters"},
		good: withChannel("{name: demo, channelID: demo.1}"),
	},
	"negative batch size": {
		base: network, bad: withChannel("{name: demo, batch: {maxMessageCount: -5}}"),
		want: []string{"spec.channels[0].batch.maxMessageCount", "greater than or equal to 1"},
		good: withChannel("{name: demo, batch: {maxMessageCount: 5}}"),
	},
	"negative batch time-out": {
		base: network, bad: withChannel("{name: demo, batch: {timeoutMilliseconds: -1}}"),
		want: []string{"spec.channels[0].batch.timeoutMilliseconds", "greater than or equal to 10"},
		good: withChannel("{name: demo, batch: {timeoutMilliseconds: 10}}"),
	},
	"preferred block above the absolute one": {
		base: network, bad: withChannel("{name: demo, batch: {preferredMaxKiB: 2000, absoluteMaxKiB: 1000}}"),
		want: []string{"spec.channels[0].batch", "preferredMaxKiB must not be larger than batch.absoluteMaxKiB"},
		good: withChannel("{name: demo, batch: {preferredMaxKiB: 1000, absoluteMaxKiB: 1000}}"),
	},
	"block above gRPC's bound": {
		base: network, bad: withChannel("{name: demo, batch: {absoluteMaxKiB: 200000}}"),
		want: []string{"spec.channels[0].batch.absoluteMaxKiB", "less than or equal to 101376"},
		good: withChannel("{name: demo, batch: {absoluteMaxKiB: 101376}}"),
	},
	"policy of an unknown group": {
		base: network, bad: withChannel(`{name: demo, policies: [{group: Consortium, name: Admins, rule: ANY Admins}]}`),
		want: []string{"spec.channels[0].policies[0].group", `"Application"`},
		good: withChannel(`{name: demo, policies: [{group: Application, name: Admins, rule: ANY Admins}]}`),
	},
	"policy given twice": {
		base: network, bad: withChannel(`{name: demo, policies: [{group: Application, name: Admins, rule: ANY Admins}, {group: Application, name: Admins, rule: MAJORITY Admins}]}`),
		want: []string{"spec.channels[0].policies[1]", "Duplicate value"},
		good: withChannel(`{name: demo, policies: [{group: Application, name: Admins, rule: ANY Admins}, {group: Channel, name: Admins, rule: MAJORITY Admins}]}`),
	},
	"unknown capability": {
		base: network, bad: withChannel("{name: demo, capabilities: {application: V9_9}}"),
		want: []string{"spec.channels[0].capabilities.application", `"V2_5"`},
		good: withChannel("{name: demo, capabilities: {application: V2_5}}"),
	},
	"client namespaces name the network itself": {
		base: network, bad: "spec: {clientNamespaces: [apps, trade]}",
		want: []string{"spec.clientNamespaces", "own namespace"},
		good: "spec: {clientNamespaces: [apps]}",
	},
	"client namespace given twice": {
		base: network, bad: "spec: {clientNamespaces: [apps, apps]}",
		want: []string{"spec.clientNamespaces[1]", "Duplicate value"},
		good: "spec: {clientNamespaces: [apps, apps2]}",
	},
	"client namespace of no namespace's syntax": {
		base: network, bad: `spec: {clientNamespaces: ["*"]}`,
		want: []string{"spec.clientNamespaces[0]", "names of namespaces"},
		good: `spec: {clientNamespaces: [apps]}`,
	},
	"network ID too short": {
		base: network, bad: "spec: {networkID: abc}",
		want: []string{"spec.networkID", "at least 8"},
		good: "spec: {networkID: abcdefgh}",
	},
	"network ID with capitals": {
		base: network, bad: "spec: {networkID: ABCDEFGH}",
		want: []string{"spec.networkID", "lower-case letters"},
		good: "spec: {networkID: abcdefgh}",
	},
	"unknown deletion policy": {
		base: network, bad: "spec: {deletionPolicy: Maybe}",
		want: []string{"spec.deletionPolicy", `"Retain", "Delete"`},
		good: "spec: {deletionPolicy: Delete}",
	},
	"organization object with a long name": {
		base: organization, bad: "metadata: {name: a234567890123456789012345}",
		want: []string{"metadata.name", "at most 24 characters"},
		good: "metadata: {name: a23456789012345678901234}",
	},
	"organization object that clashes with a Secret": {
		base: organization, bad: "metadata: {name: banka-admin}",
		want: []string{"metadata.name", "must not be or end in"},
		good: "metadata: {name: admin-banka}",
	},
	"organization with an unknown CA mode": {
		base: organization, bad: "spec: {ca: {mode: Vault}}",
		want: []string{"spec.ca.mode", `"Managed", "None"`},
		good: "spec: {ca: {mode: None}}",
	},
	"issuer reference without a name": {
		base: organization, bad: "spec: {ca: {issuerRef: {}}}",
		want: []string{"spec.ca.issuerRef.name", "Required"},
		good: "spec: {ca: {issuerRef: {name: banka-external}}}",
	},
	"peer not named after its organization": {
		base: peer, bad: "spec: {organization: bankb}",
		want: []string{"metadata.name must end in '-' and spec.organization"},
		good: "{metadata: {name: peer0-bankb}, spec: {organization: bankb}}",
	},
	"peer name with a dot": {
		base: peer, bad: "metadata: {name: peer0.x-banka}",
		want: []string{"metadata.name", "without dots"},
		good: "metadata: {name: peer0-x-banka}",
	},
	"peer named like a CA": {
		base: peer, bad: "metadata: {name: ca-banka}",
		want: []string{"metadata.name must not start with ca-"},
		good: "metadata: {name: cab-banka}",
	},
	"peer name too long": {
		base: peer, bad: "metadata: {name: peer01234567890123456789012345678901-banka}",
		want: []string{"metadata.name", "at most 40 characters"},
		good: "metadata: {name: peer012345678901234567890123456789-banka}",
	},
	"peer of an unknown version": {
		base: peer, bad: `spec: {version: "4.0.0"}`,
		want: []string{"spec.version", "2.5.x or 3.1.x"},
		good: `spec: {version: "3.1.4"}`,
	},
	"peer with an unknown state database": {
		base: peer, bad: `spec: {stateDatabase: Postgres}`,
		want: []string{"spec.stateDatabase", `"LevelDB", "CouchDB"`},
		good: `spec: {stateDatabase: CouchDB}`,
	},
	"settings of CouchDB for a peer without it": {
		base: peer, bad: `spec: {couchDB: {image: "example.org/couchdb:3.4"}}`,
		want: []string{"couchDB is for stateDatabase CouchDB only"},
		good: `spec: {stateDatabase: CouchDB, couchDB: {image: "example.org/couchdb:3.4"}}`,
	},
	"CouchDB's volume without size": {
		base: peer, bad: `spec: {stateDatabase: CouchDB, couchDB: {storage: {size: 0Gi}}}`,
		want: []string{"spec.couchDB.storage", "size must be more than 0"},
		good: `spec: {stateDatabase: CouchDB, couchDB: {storage: {size: 1Gi}}}`,
	},
	"settings of CouchDB for inline peers without it": {
		base: network, bad: withOrganization(`{name: banka, mspID: BankAMSP, peers: {count: 1, template: {couchDB: {imagePullPolicy: Never}}}}`),
		want: []string{"spec.organizations[1].peers.template", "couchDB is for stateDatabase CouchDB only"},
		good: withOrganization(`{name: banka, mspID: BankAMSP, peers: {count: 1, template: {stateDatabase: CouchDB, couchDB: {imagePullPolicy: Never}}}}`),
	},
	"state database of orderers": {
		base: network, bad: `spec: {organizations: [{name: ord, mspID: OrdMSP, orderers: {count: 3, template: {stateDatabase: CouchDB}}}, {name: banka, mspID: BankAMSP, peers: {count: 1}}]}`,
		want: []string{`unknown field "spec.organizations[0].orderers.template.stateDatabase"`},
		good: withOrganization(`{name: banka, mspID: BankAMSP, peers: {count: 1, template: {stateDatabase: CouchDB}}}`),
	},
	"orderer not named after its organization": {
		base: orderer, bad: "metadata: {name: orderer0}",
		want: []string{"metadata.name must end in '-' and spec.organization"},
		good: "metadata: {name: orderer1-ord}",
	},
	"orderer named like a contract": {
		base: orderer, bad: "metadata: {name: cc-ord}",
		want: []string{"metadata.name must not start with ca- or cc-"},
		good: "metadata: {name: ccx-ord}",
	},
	"channel with three BFT consenters": {
		base: channel, bad: "spec: {consensus: BFT, consenters: [a-o, b-o, c-o]}",
		want: []string{"BFT needs at least 4 consenters"},
		good: "spec: {consensus: BFT, consenters: [a-o, b-o, c-o, d-o]}",
	},
	"BFT channel with an old capability": {
		base: channel, bad: "spec: {consensus: BFT, capabilities: {channel: V2_0}}",
		want: []string{"capabilities.channel must be V3_0"},
		good: "spec: {consensus: BFT, capabilities: {channel: V3_0}}",
	},
	"channel object with a dot in its name": {
		base: channel, bad: "metadata: {name: demo.1}",
		want: []string{"metadata.name", "set spec.channelID for other letters"},
		good: "{metadata: {name: demo-1}, spec: {channelID: demo.1}}",
	},
	"contract without an image": {
		base: chaincode, bad: "spec: {image: null}",
		want: []string{"give either image or build"},
		good: "spec: {image: example.org/asset@sha256:0000000000000000000000000000000000000000000000000000000000000000}",
	},
	"contract with an image and a build": {
		base: chaincode, bad: "spec: {build: asset-1}",
		want: []string{"give either image or build"},
		good: "spec: {image: null, build: asset-1}",
	},
	"contract that peers launch, by tag": {
		base: chaincode, bad: "spec: {runtime: Peer}",
		want: []string{"image must be given by digest"},
		good: "spec: {runtime: Peer, image: example.org/asset@sha256:0000000000000000000000000000000000000000000000000000000000000000}",
	},
	"contract that goes while it may be called": {
		base: chaincode, bad: "spec: {idleSeconds: 29}",
		want: []string{"idleSeconds must be 0 or at least 30"},
		good: "spec: {idleSeconds: 30}",
	},
	"contract that peers launch, in plain text": {
		base: chaincode, bad: "spec: {tls: Disabled, image: example.org/asset@sha256:0000000000000000000000000000000000000000000000000000000000000000}",
		want: []string{"tls may be Disabled with runtime Service only"},
		good: "spec: {tls: Disabled}",
	},
	"contract from source in plain text": {
		base: chaincode, bad: "spec: {tls: Disabled, image: null, build: asset-1}",
		want: []string{"tls may be Disabled with runtime Service only"},
		good: "spec: {tls: Disabled, image: null, build: asset-1, runtime: Service}",
	},
	"contract name that Fabric refuses": {
		base: chaincode, bad: "spec: {chaincodeName: asset.v1}",
		want: []string{"spec.chaincodeName", "single '-' or '_' between them"},
		good: "spec: {chaincodeName: asset_v1}",
	},
	"contract version that Fabric refuses": {
		base: chaincode, bad: `spec: {version: "1.0 beta"}`,
		want: []string{"spec.version", "letters, digits"},
		good: `spec: {version: "1.0-beta"}`,
	},
	"contract with no replica": {
		base: chaincode, bad: "spec: {replicas: 0}",
		want: []string{"spec.replicas", "greater than or equal to 1"},
		good: "spec: {replicas: 2}",
	},
	"contract in an unknown runtime": {
		base: chaincode, bad: "spec: {runtime: Docker}",
		want: []string{"spec.runtime", `"Service"`},
		good: "spec: {runtime: Service}",
	},
	"attribute of the CA's own": {
		base: identity, bad: `spec: {attributes: [{name: hf.Registrar.Roles, value: "*"}]}`,
		want: []string{"spec.attributes[0].name", "'hf.'"},
		good: `spec: {attributes: [{name: role, value: teller}]}`,
	},
	"administrator with attributes": {
		base: identity, bad: `spec: {type: Admin, attributes: [{name: role, value: teller}]}`,
		want: []string{"attributes are for type Client only"},
		good: `spec: {type: Client, attributes: [{name: role, value: teller}]}`,
	},
	"identity of an unknown type": {
		base: identity, bad: `spec: {type: Peer}`,
		want: []string{"spec.type", `"Client", "Admin"`},
		good: `spec: {type: Admin}`,
	},
	"identity without organization": {
		base: identity, bad: "spec: {organization: null}",
		want: []string{"spec.organization", "Required"},
		good: "spec: {organization: bankb}",
	},
	"enrolment ID with a slash": {
		base: identity, bad: `spec: {enrollmentID: apps/alice}`,
		want: []string{"spec.enrollmentID", "letters, digits"},
		good: `spec: {enrollmentID: apps.alice}`,
	},
	"Secret name with capitals": {
		base: identity, bad: `spec: {secretName: Alice}`,
		want: []string{"spec.secretName", "lower-case letters"},
		good: `spec: {secretName: alice-keys}`,
	},
	"field that does not exist": {
		base: network, bad: `spec: {orderng: {consensus: BFT}}`,
		want: []string{`unknown field "spec.orderng"`},
		good: `spec: {ordering: {consensus: Raft}}`,
	},
}

func TestBadInputIsRefused(t *testing.T) {
	c := server(t)
	ns := namespace(t, c)
	for name, tc := range badInput {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, base := range []string{"", tc.good} {
				if err := tryCreate(t, c, ns, patched(t, tc.base, base)); err != nil {
					t.Errorf("good input was refused: %v", err)
				}
			}
			wantRefusal(t, tryCreate(t, c, ns, patched(t, tc.base, tc.bad)), tc.want)
		})
	}
}

// tryCreate asks the API server whether it would take an object.
// clusterWide tells whether objects of a kind stand in no namespace.
func clusterWide(u *unstructured.Unstructured) bool {
	return slices.Contains([]string{"Network", "Site", "SiteInvite", "SiteLink"}, u.GetKind())
}

func tryCreate(t *testing.T, c client.Client, ns string, u *unstructured.Unstructured) error {
	t.Helper()
	if !clusterWide(u) {
		u.SetNamespace(ns)
	}
	return c.Create(t.Context(), u, client.DryRunAll, client.FieldValidation("Strict"))
}

// wantRefusal demands a refusal for bad content whose message has all of the words.
func wantRefusal(t *testing.T, err error, words []string) {
	t.Helper()
	if err == nil {
		t.Fatal("bad input was accepted")
	}
	if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
		t.Errorf("refused for another reason than its content: %v", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("refusal does not say %q: %v", w, err)
		}
	}
}
