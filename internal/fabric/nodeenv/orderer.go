package nodeenv

// OrdererConfig is what distinguishes one orderer from another.
type OrdererConfig struct {
	// MSPID of its organisation.
	MSPID string
	// ListenHost and ListenPort are what it binds for clients and its peers
	// in consensus.
	ListenHost, ListenPort string
	// AdminListen is bound for participation, OperationsListen for health and
	// metrics; both host:port.
	AdminListen, OperationsListen string
	// ConfigPath is the folder of the release's orderer.yaml.
	ConfigPath string
	// MSPPath is the folder of its local MSP.
	MSPPath string
	// DataPath is the folder of ledgers, write-ahead logs and snapshots.
	DataPath string
	// TLS files. Roots authenticate administrators of the participation API.
	TLS TLS
	// Log settings.
	Log Log
}

// Orderer renders an orderer's environment, in a fixed order.
func Orderer(c OrdererConfig) []Var {
	vars := []Var{{"FABRIC_CFG_PATH", c.ConfigPath}}
	vars = append(vars, c.Log.vars()...)
	return append(vars,
		Var{"ORDERER_GENERAL_LISTENADDRESS", c.ListenHost},
		Var{"ORDERER_GENERAL_LISTENPORT", c.ListenPort},
		Var{"ORDERER_GENERAL_LOCALMSPID", c.MSPID},
		Var{"ORDERER_GENERAL_LOCALMSPDIR", c.MSPPath},
		Var{"ORDERER_GENERAL_BOOTSTRAPMETHOD", "none"},
		Var{"ORDERER_GENERAL_TLS_ENABLED", "true"},
		Var{"ORDERER_GENERAL_TLS_CERTIFICATE", c.TLS.Cert},
		Var{"ORDERER_GENERAL_TLS_PRIVATEKEY", c.TLS.Key},
		Var{"ORDERER_GENERAL_TLS_ROOTCAS", list(c.TLS.Roots)},
		Var{"ORDERER_GENERAL_CLUSTER_CLIENTCERTIFICATE", c.TLS.Cert},
		Var{"ORDERER_GENERAL_CLUSTER_CLIENTPRIVATEKEY", c.TLS.Key},
		Var{"ORDERER_GENERAL_CLUSTER_ROOTCAS", list(c.TLS.Roots)},
		// How long a Raft follower tries to hand a transaction to a leader that
		// is gone; 7 s unless told, and the client waits all the while.
		Var{"ORDERER_GENERAL_CLUSTER_RPCTIMEOUT", forwardTimeout},
		// How long an orderer tries to reach another one before it copies blocks:
		// one that restarts dials itself too, before it serves, and waits all the
		// while; 5 s unless told.
		Var{"ORDERER_GENERAL_CLUSTER_DIALTIMEOUT", dialTimeout},
		Var{"ORDERER_GENERAL_KEEPALIVE_SERVERMININTERVAL", keepaliveMin},
		Var{"ORDERER_CHANNELPARTICIPATION_ENABLED", "true"},
		// Genesis blocks of large networks outgrow the default of 1 MB.
		Var{"ORDERER_CHANNELPARTICIPATION_MAXREQUESTBODYSIZE", "10 MB"},
		Var{"ORDERER_ADMIN_LISTENADDRESS", c.AdminListen},
		Var{"ORDERER_ADMIN_TLS_ENABLED", "true"},
		Var{"ORDERER_ADMIN_TLS_CERTIFICATE", c.TLS.Cert},
		Var{"ORDERER_ADMIN_TLS_PRIVATEKEY", c.TLS.Key},
		Var{"ORDERER_ADMIN_TLS_CLIENTAUTHREQUIRED", "true"},
		Var{"ORDERER_ADMIN_TLS_CLIENTROOTCAS", list(c.TLS.Roots)},
		Var{"ORDERER_OPERATIONS_LISTENADDRESS", c.OperationsListen},
		Var{"ORDERER_METRICS_PROVIDER", "prometheus"},
		Var{"ORDERER_FILELEDGER_LOCATION", c.DataPath + "/ledger"},
		Var{"ORDERER_CONSENSUS_WALDIR", c.DataPath + "/wal"},
		Var{"ORDERER_CONSENSUS_SNAPDIR", c.DataPath + "/snap"},
	)
}
