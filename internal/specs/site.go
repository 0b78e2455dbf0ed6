package specs

// Names and keys of what a site keeps in the operator's namespace.
const (
	// GatewayNextCASecret is the Secret with the CA that takes over from that in GatewayCASecret when all partners trust it.
	GatewayNextCASecret = GatewayCASecret + "-next"
	// KeyFormerCA is the key, in the Secret of the CA, of the former one's certificate while partners may still use it.
	KeyFormerCA = "former.crt"
	// KeyJoinCode is the key of the one-time code in the Secret that a SiteLink names.
	KeyJoinCode = "code"
)

// JoinSecret names the Secret with the code with which a SiteLink joins.
func JoinSecret(link string) string { return "join-" + link }

// SequencesConfigMap names the ConfigMap that says how far a partner's documents have come.
func SequencesConfigMap(link string) string { return "link-" + link + "-sequences" }
