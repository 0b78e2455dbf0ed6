package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/test/harness"
)

// served is the certificate that a site's link shows to the partner, whose part the test plays.
func (n *twoBanks) served(ctx context.Context, t *testing.T, s *sideOf) (*x509.Certificate, error) {
	t.Helper()
	w := way{
		from: s.other.Cluster, to: s.gateway(ctx, t), outer: specs.OuterSNI(n.name, s.other.id, s.id), verifies: s.ca,
		shows: leaf(t, s.other.ca, specs.OuterSNI(n.name, s.id, s.other.id)),
	}
	conn, err := w.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	outer, ok := conn.(*tls.Conn)
	if !ok {
		return nil, errors.New("there is no TLS")
	}
	return outer.ConnectionState().PeerCertificates[0], nil
}

// gateway is the site's public address as its Site has it.
func (s *sideOf) gateway(ctx context.Context, t *testing.T) string {
	t.Helper()
	var site v1alpha1.Site
	if err := s.Get(ctx, client.ObjectKey{Name: v1alpha1.SiteName}, &site); err != nil {
		t.Fatal(err)
	}
	return site.Spec.Endpoints[0]
}

// servesAnother waits until a site's link shows another certificate than before.
func (n *twoBanks) servesAnother(ctx context.Context, t *testing.T, s *sideOf, before *x509.Certificate) {
	t.Helper()
	err := harness.Poll(ctx, func(ctx context.Context) error {
		now, err := n.served(ctx, t, s)
		if err == nil && now.Equal(before) {
			err = errors.New("the link shows its former certificate")
		}
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", s.id, err)
	}
}

// leaves: a link's certificate is renewed when it is gone, and when it is about to end.
func (n *twoBanks) leaves(ctx context.Context, t *testing.T) {
	n.steadily(ctx, t, func(l *bothSides) {
		for i, s := range n.sides {
			before, err := n.served(ctx, t, s)
			if err != nil {
				t.Fatal(err)
			}
			what := "deleted"
			since := time.Now()
			if i == 0 {
				secret := &corev1.Secret{}
				secret.Namespace, secret.Name = n.name, specs.LinkName(s.partner)
				if err := s.Delete(ctx, secret); err != nil {
					t.Fatal(err)
				}
			} else {
				what = "about to end"
				n.age(ctx, t, s)
			}
			n.servesAnother(ctx, t, s, before)
			progress("%s: a leaf that is %s is another one after %.1f s", s.id, what, time.Since(since).Seconds())
			l.flowing(ctx, t)
		}
	})
}

// age replaces a link's certificate by one that ends within minutes, and waits until the operator has noticed.
func (n *twoBanks) age(ctx context.Context, t *testing.T, s *sideOf) {
	t.Helper()
	name := specs.OuterSNI(n.name, s.other.id, s.id)
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	old, err := s.ca.IssueTLS(pki.TLSRequest{
		CommonName: name, SANs: []string{name}, Public: key.Public(), Lifetime: time.Hour, Now: time.Now().Add(-50 * time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	private, err := pki.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	where := client.ObjectKey{Namespace: n.name, Name: specs.LinkName(s.partner)}
	var secret corev1.Secret
	err = harness.Poll(ctx, func(ctx context.Context) error {
		if err := s.Get(ctx, where, &secret); err != nil {
			return err
		}
		secret.Data[specs.KeyNodeTLSCert], secret.Data[specs.KeyNodeTLSKey] = pki.EncodeCerts(old), private
		return s.Update(ctx, &secret)
	})
	if err == nil {
		err = harness.Poll(ctx, func(ctx context.Context) error {
			if err := s.Get(ctx, where, &secret); err != nil || bytes.Equal(secret.Data[specs.KeyNodeTLSCert], pki.EncodeCerts(old)) {
				return fmt.Errorf("the certificate that is about to end is still there (%w)", err)
			}
			return nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// authorities: each site changes its CA, and drops the former one, which takes a day that is not waited for.
func (n *twoBanks) authorities(ctx context.Context, t *testing.T) {
	n.steadily(ctx, t, func(l *bothSides) {
		for _, s := range n.sides {
			before, err := n.served(ctx, t, s)
			if err != nil {
				t.Fatal(err)
			}
			since := time.Now()
			heddle(ctx, t, s.Cluster, "site", "rotate")
			n.newCA(ctx, t, s)
			n.servesAnother(ctx, t, s, before)
			progress("%s: the next CA serves after %.1f s", s.id, time.Since(since).Seconds())
			l.flowing(ctx, t)
			n.dropFormer(ctx, t, s)
			progress("%s: the former CA is dropped", s.id)
			l.flowing(ctx, t)
		}
	})
}

// newCA waits until the next CA has taken over, and reads it.
func (n *twoBanks) newCA(ctx context.Context, t *testing.T, s *sideOf) {
	t.Helper()
	err := harness.Poll(ctx, func(ctx context.Context) error {
		var secret corev1.Secret
		if err := s.Get(ctx, client.ObjectKey{Namespace: harness.SystemNamespace, Name: specs.GatewayCASecret}, &secret); err != nil {
			return err
		}
		ca, err := pki.LoadIssuer(secret.Data["tls.crt"], secret.Data["tls.key"])
		if err != nil {
			return err
		}
		if ca.Cert.Equal(s.ca.Cert) {
			return errors.New("the former CA is in use")
		}
		s.ca = ca
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// dropFormer has the overlap be over, and waits until the partner trusts the new CA alone.
func (n *twoBanks) dropFormer(ctx context.Context, t *testing.T, s *sideOf) {
	t.Helper()
	secret := &corev1.Secret{}
	secret.Namespace, secret.Name = harness.SystemNamespace, specs.GatewayCASecret
	longAgo := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationChanged, time.Now().Add(-48*time.Hour).UTC().Format(time.RFC3339))
	if err := s.Patch(ctx, secret, client.RawPatch("application/merge-patch+json", []byte(longAgo))); err != nil {
		t.Fatal(err)
	}
	partner := n.sides[1]
	if s == partner {
		partner = n.sides[0]
	}
	err := harness.Poll(ctx, func(ctx context.Context) error {
		var l v1alpha1.SiteLink
		if err := partner.Get(ctx, client.ObjectKey{Name: partner.partner}, &l); err != nil {
			return err
		}
		if want := string(pki.EncodeCerts(s.ca.Cert)); l.Spec.CACertificates != want {
			return errors.New("the partner trusts the former CA, too")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// moves: site b's gateway gets another port, and has no more the one that site a knows; a hears of it by b's own
// calls. Then it moves back.
func (n *twoBanks) moves(ctx context.Context, t *testing.T) {
	const other = harness.GatewayPort + 1
	if err := n.a.Lab.Firewall(ctx, harness.GatewayPort, other); err != nil {
		t.Fatal(err)
	}
	a, b := n.sides[0], n.sides[1]
	host, _, err := net.SplitHostPort(b.gateway(ctx, t))
	if err != nil {
		t.Fatal(err)
	}
	l := n.load(ctx, t)
	for _, port := range []int{other, harness.GatewayPort} {
		address := net.JoinHostPort(host, strconv.Itoa(port))
		since := time.Now()
		heddle(ctx, t, b.Cluster, "site", "init", "--endpoint", address, "--node-port", strconv.Itoa(port))
		err := harness.Poll(ctx, func(ctx context.Context) error {
			var link v1alpha1.SiteLink
			if err := a.Get(ctx, client.ObjectKey{Name: a.partner}, &link); err != nil || !slices.Equal(link.Spec.Endpoints, []string{address}) {
				return fmt.Errorf("site a knows b by %q (%w)", link.Spec.Endpoints, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		progress("site a knows b's new address after %.1f s", time.Since(since).Seconds())
		// A connection that is made now takes the new way.
		if err := harness.Poll(ctx, func(ctx context.Context) error {
			return a.imported(ctx, t, n.name).ping(ctx)
		}); err != nil {
			t.Fatal(err)
		}
		progress("new connections go to %s after %.1f s", address, time.Since(since).Seconds())
		n.up(ctx, t)
		l.flowing(ctx, t)
	}
	l.stop(ctx, t)
	l.errors(t)
	if err := n.a.Lab.Firewall(ctx, harness.GatewayPort); err != nil {
		t.Fatal(err)
	}
}
