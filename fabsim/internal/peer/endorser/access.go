package endorser

import (
	"errors"
	"fmt"
	"strings"

	mb "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-x-common/common/policies"
	"github.com/hyperledger/fabric-x-common/msp"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/channel"
)

// Resources that are no functions of contracts.
const (
	Propose            = "peer/Propose"
	ChaincodeToAnother = "peer/ChaincodeToChaincode"
	EventBlock         = "event/Block"
	EventFiltered      = "event/FilteredBlock"
	CommitStatus       = "gateway/CommitStatus"
	ChaincodeEvents    = "gateway/ChaincodeEvents"
)

const (
	admins  = "Admins"
	members = "Members"
)

// localPolicy is what a resource of the peer asks of its own organisation;
// empty if the channel decides.
func localPolicy(resource string) string {
	switch resource {
	case "_lifecycle/InstallChaincode", "_lifecycle/QueryInstalledChaincode", "_lifecycle/GetInstalledChaincodePackage",
		"_lifecycle/QueryInstalledChaincodes", "_lifecycle/ApproveChaincodeDefinitionForMyOrg",
		"_lifecycle/QueryApprovedChaincodeDefinition", "_lifecycle/QueryApprovedChaincodeDefinitions",
		"cscc/JoinChain", "cscc/JoinChainBySnapshot", "cscc/JoinBySnapshotStatus":
		return admins
	case "cscc/GetChannels":
		return members
	default:
		return ""
	}
}

// channelPolicy is what a resource of a channel asks where the channel's
// configuration says nothing else.
func channelPolicy(resource string) string {
	switch resource {
	case "_lifecycle/CommitChaincodeDefinition", "_lifecycle/QueryChaincodeDefinition", "_lifecycle/QueryChaincodeDefinitions",
		"_lifecycle/CheckCommitReadiness", Propose, ChaincodeToAnother:
		return policies.ChannelApplicationWriters
	case "qscc/GetChainInfo", "qscc/GetBlockByNumber", "qscc/GetBlockByHash", "qscc/GetTransactionByID", "qscc/GetBlockByTxID",
		"cscc/GetConfigBlock", "cscc/GetChannelConfig", EventBlock, EventFiltered, CommitStatus, ChaincodeEvents:
		return policies.ChannelApplicationReaders
	default:
		return ""
	}
}

// Access decides who may use what.
type Access struct {
	// MSP is the peer's organisation by its own files.
	MSP msp.MSP
	// Config finds the configuration of a channel; nil if there is none.
	Config func(channel string) *channel.Config
}

// Check tells whether whoever signed may use a resource. The texts are
// Fabric's.
func (a *Access) Check(resource, id string, signed []*protoutil.SignedData) error {
	if policy := localPolicy(resource); policy != "" {
		return a.local(policy, signed)
	}
	config := a.Config(id)
	if config != nil {
		if applications, ok := config.ApplicationConfig(); ok {
			if policy := applications.APIPolicyMapper().PolicyRefForAPI(resource); policy != "" {
				if err := config.Check(policy, signed); err != nil {
					return fmt.Errorf("failed evaluating policy on signed data during check policy [%s]: [%s]", policy, notFound(policy, err))
				}
				return nil
			}
		}
	}
	policy := channelPolicy(resource)
	if policy == "" {
		return fmt.Errorf("Unmapped policy for %s", resource) //nolint:staticcheck // Fabric's words
	}
	if id == "" {
		return errors.New("Invalid channel ID name during check policy on signed data. Name must be different from nil.") //nolint:staticcheck,revive // Fabric's words
	}
	if config == nil {
		return fmt.Errorf("Failed to get policy manager for channel [%s]", id) //nolint:staticcheck // Fabric's words
	}
	if err := config.Check(policy, signed); err != nil {
		//nolint:staticcheck // Fabric's words
		return fmt.Errorf("Failed evaluating policy on signed data during check policy on channel [%s] with policy [%s]: [%w]", id, policy, err)
	}
	return nil
}

func notFound(policy string, err error) string {
	if strings.HasPrefix(err.Error(), "could not find policy") {
		return fmt.Sprintf("policy %s not found", policy)
	}
	return err.Error()
}

// local checks a principal of the peer's own organisation.
func (a *Access) local(policy string, signed []*protoutil.SignedData) error {
	role := mb.MSPRole_MEMBER
	if policy == admins {
		role = mb.MSPRole_ADMIN
	}
	mspID, err := a.MSP.GetIdentifier()
	if err != nil {
		return fmt.Errorf("name own organisation: %w", err)
	}
	raw, err := proto.Marshal(&mb.MSPRole{MspIdentifier: mspID, Role: role})
	if err != nil {
		return fmt.Errorf("write principal: %w", err)
	}
	for _, one := range signed {
		identity, err := a.MSP.DeserializeIdentity(one.Identity)
		if err != nil {
			return fmt.Errorf("Failed deserializing proposal creator during channelless check policy with policy [%s]: [%w]", policy, err) //nolint:staticcheck // Fabric's words
		}
		if err := identity.SatisfiesPrincipal(&mb.MSPPrincipal{Principal: raw}); err != nil {
			//nolint:staticcheck // Fabric's words
			return fmt.Errorf("Failed verifying that proposal's creator satisfies local MSP principal during channelless check policy "+
				"with policy [%s]: [%w]", policy, err)
		}
		if err := identity.Verify(one.Data, one.Signature); err != nil {
			return fmt.Errorf("verify signature: %w", err)
		}
	}
	return nil
}
