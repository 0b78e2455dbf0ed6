package peer

import (
	"github.com/hyperledger/fabric-lib-go/common/metrics"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"

	"heddle.dev/heddle/fabsim/internal/peer/tx"
)

// peerMetrics are those of a peer's ledger under Fabric's names; the height is the
// block store's.
type peerMetrics struct {
	transactions metrics.Counter
}

func newPeerMetrics(provider metrics.Provider) *peerMetrics {
	return &peerMetrics{
		transactions: provider.NewCounter(metrics.CounterOpts{
			Namespace: "ledger", Name: "transaction_count", Help: "Number of transactions processed.",
			LabelNames: []string{"channel", "transaction_type", "chaincode", "validation_code"},
		}),
	}
}

func (m *peerMetrics) committed(id string, block *cb.Block) {
	for i, raw := range block.GetData().GetData() {
		kind, contract := "unknown", "unknown"
		if t, err := tx.Parse(raw); err == nil {
			kind = t.Type.String()
			if action, err := t.Action(); err == nil && t.Type == cb.HeaderType_ENDORSER_TRANSACTION {
				contract = action.GetChaincodeId().GetName() + ":" + action.GetChaincodeId().GetVersion()
			}
		}
		m.transactions.With("channel", id, "transaction_type", kind, "chaincode", contract, "validation_code", tx.Code(block, i).String()).Add(1)
	}
}
