package keys

import (
	"testing"
	"time"

	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

func issuer(t *testing.T, now time.Time) *pki.Issuer {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	root, err := pki.NewRoot(pki.IssuerRequest{CommonName: "root", Key: key, Lifetime: 10 * year, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if key, err = pki.NewKey(); err != nil {
		t.Fatal(err)
	}
	between, err := root.NewIntermediate(pki.IssuerRequest{CommonName: "ops", Key: key, Lifetime: 5 * year, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return between
}

func TestLeavesAreRenewedInTimeAndForTheSameKey(t *testing.T) {
	born := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ops := issuer(t, born)
	for name, ensure := range map[string]func(Pair, Want) (Pair, Renewal, error){"enrolment": Enrolment, "tls": TLS} {
		t.Run(name, func(t *testing.T) {
			want := Want{
				CommonName: "peer0-banka", Role: pki.RolePeer, SANs: []string{"peer0-banka.trade"}, Issuer: ops,
				Lifetimes: DefaultLifetimes(), Now: born,
			}
			first, renewal, err := ensure(Pair{}, want)
			if err != nil || !renewal.Changed || renewal.Reason != pki.ReasonMissing {
				t.Fatalf("a missing leaf: %+v, %v", renewal, err)
			}
			if next := want.Next(first); next < 240*24*time.Hour || next > 245*24*time.Hour {
				t.Errorf("to be looked at again after %s, want two thirds of a year", next)
			}
			for _, c := range []struct {
				reason string
				days   int
				change bool
			}{{"young", 200, false}, {"a third left", 250, true}, {"ended", 400, true}} {
				later := want
				later.Now = born.AddDate(0, 0, c.days)
				again, renewal, err := ensure(first, later)
				if err != nil || renewal.Changed != c.change {
					t.Errorf("%s: %+v, %v", c.reason, renewal, err)
				}
				if !pki.SameKey(again.Cert, first.Key) {
					t.Errorf("%s: the key changed", c.reason)
				}
				if c.change && later.Next(again) < 200*24*time.Hour {
					t.Errorf("%s: the new certificate is to be looked at after %s", c.reason, later.Next(again))
				}
			}
		})
	}
}

func TestAnotherIssuerMakesAnotherLeaf(t *testing.T) {
	now := time.Now()
	want := Want{CommonName: "a", SANs: []string{"a.b"}, Issuer: issuer(t, now), Lifetimes: DefaultLifetimes(), Now: now}
	first, _, err := TLS(Pair{}, want)
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Chain) != 1 {
		t.Errorf("the leaf is followed by %d certificates, want its intermediate", len(first.Chain))
	}
	want.Issuer = issuer(t, now)
	if _, renewal, err := TLS(first, want); err != nil || renewal.Reason != pki.ReasonIssuerDrift {
		t.Errorf("%+v, %v", renewal, err)
	}
}

func TestPairSurvivesItsSecret(t *testing.T) {
	now := time.Now()
	want := Want{CommonName: "a", SANs: []string{"a.b"}, Issuer: issuer(t, now), Lifetimes: DefaultLifetimes(), Now: now}
	pair, _, err := TLS(Pair{}, want)
	if err != nil {
		t.Fatal(err)
	}
	data := map[string][]byte{}
	if err := pair.Write(data, "c", "k"); err != nil {
		t.Fatal(err)
	}
	got := Read(data, "c", "k")
	if !got.Cert.Equal(pair.Cert) || len(got.Chain) != 1 || !pki.SameKey(got.Cert, got.Key) {
		t.Error("what was read is not what was written")
	}
	if broken := Read(map[string][]byte{"c": []byte("x"), "k": []byte("y")}, "c", "k"); broken.Cert != nil || broken.Key != nil {
		t.Error("rubbish was read as a pair")
	}
	if s := got.Status("tls", now); s.Name != "tls" || *s.DaysLeft < 363 || *s.DaysLeft > 365 {
		t.Errorf("status %+v", s)
	}
}

func TestIssuersSurviveTheirSecret(t *testing.T) {
	now := time.Now()
	data := map[string][]byte{}
	if err := (Issuers{Sign: issuer(t, now), TLS: issuer(t, now)}).Write(data); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadIssuers(data); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{specs.KeySignCert, specs.KeySignKey, specs.KeyTLSCert, specs.KeyTLSKey} {
		spoilt := map[string][]byte{}
		for k, v := range data {
			spoilt[k] = v
		}
		delete(spoilt, key)
		if _, err := ReadIssuers(spoilt); err == nil {
			t.Errorf("issuers without %s were read", key)
		}
	}
}
