package keys

import (
	"time"

	"heddle.dev/heddle/internal/pki"
)

// Want is what a leaf shall be.
type Want struct {
	// CommonName of the leaf.
	CommonName string
	// Role of an enrolment certificate.
	Role pki.Role
	// SANs of a TLS certificate.
	SANs []string
	// ServerOnly makes a TLS certificate that is no use to a client.
	ServerOnly bool
	// Issuer that signs it. Its certificate is enough as long as nothing has to be issued, if Load is given.
	Issuer *pki.Issuer
	// Load gets the issuer with its key when something has to be issued; nil if Issuer has it.
	Load func() (*pki.Issuer, error)
	// Lifetimes to keep to.
	Lifetimes Lifetimes
	// Now is the time.
	Now time.Time
	// Backdate is how much earlier a TLS certificate begins to be valid, and ends, beside what every certificate does.
	Backdate time.Duration
}

// Renewal says what was done to a pair and why.
type Renewal struct {
	// Changed is true if the pair was issued, for the first time or again.
	Changed bool
	// Reason and Message say why, in the words of internal/pki.
	Reason, Message string
}

// Enrolment keeps an enrolment pair in order. The key stays where there is one: what others pinned stays true.
func Enrolment(have Pair, want Want) (Pair, Renewal, error) {
	reason, message, failed := pki.EnrolmentPredicates().Check(want.leaf(have))
	if !failed {
		return have, Renewal{}, nil
	}
	next, issuer, err := want.prepare(have)
	if err != nil {
		return Pair{}, Renewal{}, err
	}
	next.Cert, err = issuer.Enrol(pki.EnrolRequest{
		CommonName: want.CommonName, Role: want.Role, Public: next.Key.Public(), Lifetime: want.Lifetimes.Leaf, Now: want.Now,
	})
	return next, Renewal{Changed: true, Reason: reason, Message: message}, err
}

// TLS keeps a TLS pair in order; the certificate is followed by its issuers.
func TLS(have Pair, want Want) (Pair, Renewal, error) {
	reason, message, failed := pki.TLSPredicates().Check(want.leaf(have))
	if !failed {
		return have, Renewal{}, nil
	}
	next, issuer, err := want.prepare(have)
	if err != nil {
		return Pair{}, Renewal{}, err
	}
	next.Chain = issuer.Chain()
	next.Cert, err = issuer.IssueTLS(pki.TLSRequest{
		CommonName: want.CommonName, SANs: want.SANs, ServerOnly: want.ServerOnly, Public: next.Key.Public(),
		Lifetime: want.Lifetimes.Leaf, Now: want.Now.Add(-want.Backdate),
	})
	return next, Renewal{Changed: true, Reason: reason, Message: message}, err
}

// Next is when a pair has to be looked at again, counted from now.
func (w Want) Next(p Pair) time.Duration {
	window := min(w.Lifetimes.RenewBefore(), p.Cert.NotAfter.Sub(p.Cert.NotBefore)/2)
	return max(p.Cert.NotAfter.Add(-window).Sub(w.Now), 0)
}

func (w Want) leaf(p Pair) pki.Leaf {
	return pki.Leaf{
		Cert: p.Cert, Key: p.Key, CommonName: w.CommonName, Role: w.Role, SANs: w.SANs, ServerOnly: w.ServerOnly, Issuer: w.Issuer.Cert,
		RenewBefore: w.Lifetimes.RenewBefore(), Now: w.Now,
	}
}

// prepare finds the key, or makes one where there is none, and the issuer with its key.
func (w Want) prepare(have Pair) (Pair, *pki.Issuer, error) {
	issuer := w.Issuer
	if w.Load != nil {
		var err error
		if issuer, err = w.Load(); err != nil {
			return Pair{}, nil, err
		}
	}
	if have.Key != nil {
		return Pair{Key: have.Key}, issuer, nil
	}
	key, err := pki.NewKey()
	return Pair{Key: key}, issuer, err
}
