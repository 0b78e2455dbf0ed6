package identity

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// Keys of an Identity's Secret.
const (
	keyCert    = "cert.pem"
	keyKey     = "key.pem"
	keyRoots   = "ca.pem"
	keyProfile = "connection-profile.json"
	keyMSPID   = "mspID"
)

// issue gets a certificate if there is none that will do. The key is made once and kept.
func (r *Reconciler) issue(ctx context.Context, s *scope) error {
	reason, message, due := s.predicates().Check(pki.Leaf{
		Cert: s.cert, Key: s.key, CommonName: s.enrollmentID(), Role: s.role(), RenewBefore: renewBefore, Now: r.opts.Now(),
	})
	if !due {
		return nil
	}
	key := s.key
	if key == nil {
		var err error
		if key, err = pki.NewKey(); err != nil {
			return err
		}
	}
	var err error
	switch {
	case s.id.Spec.Type == v1alpha1.IdentityAdmin:
		err = r.issueFrom(ctx, s, specs.OpsSecret(s.org.Name), key, nil)
	case s.object.Spec.CA.Mode == v1alpha1.CANone:
		err = r.issueFrom(ctx, s, specs.AppSecret(s.org.Name), key, s.attributes())
	default:
		err = r.enrol(ctx, s, key)
	}
	if errors.Is(err, access.ErrMissing) {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, time.Second, "Waiting for the issuers of Organization %q", s.org.Name)
	}
	if err != nil {
		return err
	}
	s.key, s.renewed = key, ""
	if s.secret != nil {
		s.renewed = reason + ": " + message
	}
	return nil
}

// issueFrom signs with one of the organisation's own intermediates.
func (r *Reconciler) issueFrom(ctx context.Context, s *scope, issuerSecret string, key crypto.Signer, attributes map[string]string) error {
	data, err := r.opts.Nodes.Secret(ctx, s.network, issuerSecret)
	if err != nil {
		return err
	}
	issuer, err := pki.LoadIssuer(data[specs.KeySignCert], data[specs.KeySignKey])
	if err != nil {
		return err
	}
	s.cert, err = issuer.Enrol(pki.EnrolRequest{
		CommonName: s.enrollmentID(), Role: s.role(), Public: key.Public(), Attributes: attributes, Lifetime: lifetime, Now: r.opts.Now(),
	})
	return err
}

// write keeps the Secret as it should be.
func (r *Reconciler) write(ctx context.Context, s *scope) error {
	key, err := pki.EncodeKey(s.key)
	if err != nil {
		return err
	}
	profile, err := s.profile()
	if err != nil {
		return err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.id.Namespace, Name: s.secretName(),
			Labels:      specs.PlaceOf(s.network, s.object.Labels).Labels(s.org.Name, "", ""),
			Annotations: map[string]string{v1alpha1.AnnotationNotAfter: s.cert.NotAfter.UTC().Format(time.RFC3339)},
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{
			keyCert: pki.EncodeCerts(s.cert), keyKey: key, keyRoots: s.org.TLSRoots, keyProfile: profile, keyMSPID: []byte(s.org.MSPID),
		},
	}
	if err := r.applier.Apply(ctx, s.id, secret); err != nil {
		return err
	}
	if s.renewed != "" && r.opts.Recorder != nil {
		r.opts.Recorder.Eventf(s.id, nil, corev1.EventTypeNormal, v1alpha1.ReasonCertificateRenewed, "Renew", "%s", s.renewed)
	}
	return nil
}

// report writes what was made into the status.
func (s *scope) report(id *v1alpha1.Identity, now time.Time) {
	id.Status.SecretName = s.secretName()
	if s.org != nil {
		id.Status.MSPID = s.org.MSPID
	}
	if s.cert == nil {
		return
	}
	id.Status.Certificate = &v1alpha1.CertificateStatus{
		Name: "sign", NotAfter: metav1.NewTime(s.cert.NotAfter), DaysLeft: ptr.To(int32(pki.DaysLeft(s.cert, now))), //nolint:gosec // days
	}
}

// profile is the connection profile, in the format that Fabric's client libraries share: the own organisation with
// its peers and its CA.
func (s *scope) profile() ([]byte, error) {
	pem := map[string]string{"pem": string(s.org.TLSRoots)}
	names, peers := []string{}, map[string]any{}
	for _, p := range s.roster.PeersOf(s.org.Name) {
		host := specs.Host(p.Name, s.network)
		names = append(names, host)
		peers[host] = map[string]any{
			"url":        "grpcs://" + specs.Address(p.Name, s.network, v1alpha1.PortPeer),
			"tlsCACerts": pem,
			"grpcOptions": map[string]string{
				"ssl-target-name-override": host, "hostnameOverride": host,
			},
		}
	}
	slices.Sort(names)
	organization := map[string]any{"mspid": s.org.MSPID, "peers": names}
	profile := map[string]any{
		"name": s.network + "-" + s.org.Name, "version": "1.0.0",
		"client": map[string]any{"organization": s.org.Name}, "peers": peers,
	}
	if s.object.Spec.CA.Mode != v1alpha1.CANone {
		ca := specs.CAName(s.org.Name)
		organization["certificateAuthorities"] = []string{ca}
		profile["certificateAuthorities"] = map[string]any{ca: map[string]any{
			"url": "https://" + specs.Address(ca, s.network, v1alpha1.PortCA), "caName": ca,
			"tlsCACerts": map[string]any{"pem": []string{string(s.org.TLSRoots)}}, "httpOptions": map[string]bool{"verify": true},
		}}
	}
	profile["organizations"] = map[string]any{s.org.Name: organization}
	raw, err := json.MarshalIndent(profile, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("make connection profile: %w", err)
	}
	return raw, nil
}

// taken says that the CA knows the name as somebody else's.
func (s *scope) taken() error {
	return kube.Stalled(v1alpha1.ReasonInvalidOwnership,
		"spec.enrollmentID: the CA of %s knows %q as somebody else's: choose another in a new Identity", s.org.MSPID, s.enrollmentID())
}

// soon turns errors of a CA that is still coming up into a short wait.
func soon(org string, err error) error {
	for _, sign := range []string{"connection refused", "no such host", "i/o timeout", "deadline exceeded", "no route to host", "EOF", "connection reset"} {
		if strings.Contains(err.Error(), sign) {
			return kube.Waiting(v1alpha1.ReasonWaitingForPod, 0, "Waiting for the CA of Organization %q: %s", org, sign)
		}
	}
	return fmt.Errorf("enrol with the CA of organization %q: %w", org, err)
}
