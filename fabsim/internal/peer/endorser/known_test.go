package endorser

import (
	"errors"

	"github.com/hyperledger/fabric-x-common/api/msppb"
	"github.com/hyperledger/fabric-x-common/msp"
)

// nilKnown knows nobody.
type nilKnown struct{}

func (nilKnown) DeserializeIdentity(*msppb.Identity) (msp.Identity, error) {
	return nil, errors.New("nobody is known")
}

func (nilKnown) GetKnownDeserializedIdentity(msp.IdentityIdentifier) msp.Identity { return nil }

func (nilKnown) IsWellFormed(*msppb.Identity) error { return nil }
