package nodeimport

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/nginx"
	"heddle.dev/heddle/internal/specs"
)

// probeTime bounds a probe, which goes through two gateways.
const probeTime = 5 * time.Second

// findRoots finds what verifies the node: what the import says, or else what its organization publishes here.
func (r *Reconciler) findRoots(ctx context.Context, s *scope) error {
	if s.roots = []byte(s.node.Spec.TLSRoots); len(s.roots) > 0 {
		return nil
	}
	var list v1alpha1.OrganizationList
	if err := r.client.List(ctx, &list, client.InNamespace(s.node.Namespace)); err != nil {
		return fmt.Errorf("list organizations: %w", err)
	}
	for i := range list.Items {
		if s.node.Spec.MSPID == "" || list.Items[i].Spec.MSPID != s.node.Spec.MSPID {
			continue
		}
		var cm corev1.ConfigMap
		err := r.client.Get(ctx, client.ObjectKey{Namespace: s.node.Namespace, Name: specs.MSPConfigMap(list.Items[i].Name)}, &cm)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("read MSP: %w", err)
		}
		if s.roots = []byte(cm.Data[specs.KeyTLSRoots]); len(s.roots) > 0 {
			return nil
		}
	}
	message := "Nothing verifies the node: set spec.tlsRoots, or spec.mspID to the MSP ID of an Organization of this network"
	s.say(v1alpha1.ConditionTrustVerified, metav1.ConditionFalse, v1alpha1.ReasonUntrusted, "%s", message)
	return kube.Waiting(v1alpha1.ReasonUntrusted, later, "%s", message)
}

// findPod waits for the link to run: a name that is asked for too early is remembered as none by the cluster's DNS.
func (r *Reconciler) findPod(ctx context.Context, s *scope) error {
	var d appsv1.Deployment
	name := specs.LinkName(s.link.Name)
	err := r.client.Get(ctx, client.ObjectKey{Namespace: s.node.Namespace, Name: name}, &d)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read Deployment of link: %w", err)
	}
	if err == nil && d.Status.AvailableReplicas > 0 {
		return nil
	}
	message := fmt.Sprintf("Waiting for the pod of Deployment %q", name)
	s.say(v1alpha1.ConditionConnected, metav1.ConditionFalse, v1alpha1.ReasonWaitingForPod, "%s", message)
	return kube.Waiting(v1alpha1.ReasonWaitingForPod, 0, "%s", message)
}

// admit makes the Service once the node was seen to be the right one; before, the way there is the link's own Service.
func (r *Reconciler) admit(ctx context.Context, s *scope) error {
	if s.admitted {
		return r.apply.Apply(ctx, s.node, specs.ImportService(s.node))
	}
	way := specs.Address(specs.LinkName(s.link.Name), s.node.Namespace, nginx.PortEgress)
	if err := r.look(ctx, s, way); err != nil {
		return err
	}
	if err := r.apply.Apply(ctx, s.node, specs.ImportService(s.node)); err != nil {
		return err
	}
	return kube.Waiting(v1alpha1.ReasonProgressing, time.Second, "Waiting for the Service to be known by name")
}

// probe goes the whole way that callers go.
func (r *Reconciler) probe(ctx context.Context, s *scope) error {
	s.node.Status.Address = specs.Address(s.node.Name, s.node.Namespace, s.node.Spec.Port)
	if err := r.look(ctx, s, s.node.Status.Address); err != nil {
		return err
	}
	return kube.LookAgain(later)
}

// look dials the node and judges its certificate.
func (r *Reconciler) look(ctx context.Context, s *scope, way string) error {
	leaf, verified, err := r.dial(ctx, s, way)
	if err != nil {
		message := fmt.Sprintf("The node does not answer through the link (%s); 'heddle link check %s' looks for the cause", short(err), s.link.Name)
		s.say(v1alpha1.ConditionConnected, metav1.ConditionFalse, v1alpha1.ReasonUnreachable, "%s", message)
		return kube.Waiting(v1alpha1.ReasonUnreachable, soon, "%s", message)
	}
	s.say(v1alpha1.ConditionConnected, metav1.ConditionTrue, v1alpha1.ReasonReady, "The node answers")
	sum := sha256.Sum256(leaf.Raw)
	s.node.Status.Certificate = hex.EncodeToString(sum[:])
	if verified != nil {
		message := fmt.Sprintf("The node's certificate is not the agreed one: %s", short(verified))
		s.say(v1alpha1.ConditionTrustVerified, metav1.ConditionFalse, v1alpha1.ReasonUntrusted, "%s", message)
		return kube.Waiting(v1alpha1.ReasonUntrusted, later, "%s", message)
	}
	s.say(v1alpha1.ConditionTrustVerified, metav1.ConditionTrue, v1alpha1.ReasonReady, "The certificate is one of the node's organization and bears its name")
	return nil
}

// dial returns the node's certificate and whether it is good; err says that there was none to see.
func (r *Reconciler) dial(ctx context.Context, s *scope, way string) (leaf *x509.Certificate, verified, err error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.roots) {
		return nil, nil, errors.New("the TLS roots hold no certificate")
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	raw, err := r.opts.Dial(ctx, "tcp", way)
	if err != nil {
		return nil, nil, err
	}
	defer raw.Close()
	host := specs.Host(s.node.Name, s.node.Namespace)
	conn := tls.Client(raw, &tls.Config{
		ServerName: host, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // it is verified right below: a bad certificate is to be told apart from silence
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, nil, err
	}
	chain := conn.ConnectionState().PeerCertificates
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, verified = chain[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between})
	return chain[0], verified, nil
}

// short takes addresses and ports of the moment out of an error: a message must not change with every try.
func short(err error) string {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case isCut(err):
		return "the connection was closed"
	}
	return err.Error()
}

// isCut tells whether the other side closed the connection: what a gateway does with names that it does not know.
func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}
