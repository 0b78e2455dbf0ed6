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
	// Issuer that signs it.
	Issuer *pki.Issuer
	// Lifetimes to keep to.
	Lifetimes Lifetimes
	// Now is the time.
	Now time.Time
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
	next, err := withKey(have)
	if err != nil {
		return Pair{}, Renewal{}, err
	}
	next.Cert, err = want.Issuer.Enrol(pki.EnrolRequest{
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
	next, err := withKey(have)
	if err != nil {
		return Pair{}, Renewal{}, err
	}
	next.Chain = want.Issuer.Chain()
	next.Cert, err = want.Issuer.IssueTLS(pki.TLSRequest{
		CommonName: want.CommonName, SANs: want.SANs, Public: next.Key.Public(), Lifetime: want.Lifetimes.Leaf, Now: want.Now,
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
		Cert: p.Cert, Key: p.Key, CommonName: w.CommonName, Role: w.Role, SANs: w.SANs, Issuer: w.Issuer.Cert,
		RenewBefore: w.Lifetimes.RenewBefore(), Now: w.Now,
	}
}

func withKey(have Pair) (Pair, error) {
	if have.Key != nil {
		return Pair{Key: have.Key}, nil
	}
	key, err := pki.NewKey()
	return Pair{Key: key}, err
}
