package chaincode

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/controller/keys"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// security is what a contract that runs as a service shows, and whom it lets in.
type security struct {
	// root in PEM verifies the contract's certificate: it goes into the package, so it must stay the same one.
	root []byte
	// material changes with everything that the contract's pods read.
	material string
	// certificates for the status.
	certificates []v1alpha1.CertificateStatus
}

// secure keeps the Secret of a contract that runs as a service (design/0006-contracts-as-services.md). The key stays
// where there is one. It is no use to a client, or the contract could pass for a node.
func (r *Reconciler) secure(ctx context.Context, w *world) error {
	if !specs.ChaincodeSecure(w.chaincode) {
		return nil
	}
	var live corev1.Secret
	err := r.opts.Client.Get(ctx, client.ObjectKey{Namespace: w.network, Name: specs.ChaincodeTLSSecretName(w.chaincode.Name)}, &live)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read Secret %q: %w", specs.ChaincodeTLSSecretName(w.chaincode.Name), err)
	}
	exists := !apierrors.IsNotFound(err)
	issuer, err := w.issuer(live.Labels[v1alpha1.LabelOrganization], exists)
	if err != nil {
		return err
	}
	pair, renewal, err := keys.TLS(keys.Read(live.Data, specs.KeyNodeTLSCert, specs.KeyNodeTLSKey), r.wantTLS(ctx, w, issuer))
	if err != nil {
		return err
	}
	clients := w.clients()
	secret := specs.ChaincodeTLSSecret(specs.Chaincode{Place: specs.PlaceOf(w.network, w.channel.Labels), Chaincode: w.chaincode}, issuer.Name)
	secret.Data[specs.KeyNodeTLSRoots] = clients
	if renewal.Changed || !bytes.Equal(live.Data[specs.KeyNodeTLSRoots], clients) || !metav1.IsControlledBy(&live, w.chaincode) {
		if err := r.writeTLS(ctx, w, secret, pair, exists); err != nil {
			return err
		}
	}
	if renewal.Changed && exists && r.opts.Recorder != nil {
		r.opts.Recorder.Eventf(w.chaincode, nil, corev1.EventTypeNormal, v1alpha1.ReasonCertificateRenewed, "Renew", "%s", renewal.Message)
	}
	w.security = &security{
		root: bytes.Join(issuer.MSP.TLSCACerts, nil), material: materialOf(pair, clients),
		certificates: []v1alpha1.CertificateStatus{pair.Status("tls", w.now)},
	}
	return nil
}

// issuer is the organisation that issues the contract's certificate: the one that did, as long as it is a member, else
// the oldest. Another one has another root, which makes another package.
func (w *world) issuer(before string, exists bool) (*access.Organization, error) {
	var oldest *member
	for _, m := range w.parties {
		if m.org.Name == before {
			return m.org, nil
		}
		if oldest == nil || m.since.Before(&oldest.since) {
			oldest = m
		}
	}
	switch {
	case w.lacking != "" && !exists:
		return nil, kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "Waiting for the certificates of organization %q", w.lacking)
	case oldest == nil:
		return nil, kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "Waiting for a member of channel %q with a peer", w.chaincode.Spec.Channel)
	}
	return oldest.org, nil
}

// clients verify the peers that may call.
func (w *world) clients() []byte {
	var out []byte
	for _, m := range w.parties {
		out = append(out, bytes.Join(m.org.MSP.TLSCACerts, nil)...)
	}
	return out
}

func (r *Reconciler) wantTLS(ctx context.Context, w *world, issuer *access.Organization) keys.Want {
	name := specs.ChaincodeName(w.chaincode.Name)
	want := keys.Want{
		CommonName: specs.Host(name, w.network), SANs: pki.NodeSANs(name, w.network), ServerOnly: true,
		Lifetimes: r.opts.Lifetimes, Now: w.now, Issuer: &pki.Issuer{},
		Load: func() (*pki.Issuer, error) {
			data, err := r.opts.Nodes.Secret(ctx, w.network, specs.OpsSecret(issuer.Name))
			if err != nil {
				return nil, err
			}
			issuers, err := keys.ReadIssuers(data)
			if err != nil {
				return nil, fmt.Errorf("read Secret %q: %w", specs.OpsSecret(issuer.Name), err)
			}
			return issuers.TLS, nil
		},
	}
	// The issuer of nodes is the first of the intermediates: see the Organization's controller.
	if len(issuer.MSP.TLSIntermediates) > 0 {
		if cert, err := pki.ParseCert(issuer.MSP.TLSIntermediates[0]); err == nil {
			want.Issuer.Cert = cert
		}
	}
	return want
}

func (r *Reconciler) writeTLS(ctx context.Context, w *world, secret *corev1.Secret, pair keys.Pair, exists bool) error {
	if err := pair.Write(secret.Data, specs.KeyNodeTLSCert, specs.KeyNodeTLSKey); err != nil {
		return fmt.Errorf("encode Secret %q: %w", secret.Name, err)
	}
	if exists {
		return r.applier.Apply(ctx, w.chaincode, secret)
	}
	created, err := r.applier.CreateOnce(ctx, w.chaincode, secret)
	if err == nil && !created {
		return kube.Waiting(v1alpha1.ReasonProgressing, 0, "Secret %q has just been made by somebody else", secret.Name)
	}
	return err
}

func materialOf(pair keys.Pair, clients []byte) string {
	sum := sha256.New()
	sum.Write(pki.EncodeCerts(pair.Cert))
	sum.Write(pki.EncodeCerts(pair.Chain...))
	sum.Write(clients)
	return hex.EncodeToString(sum.Sum(nil))
}
