package organization

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/keys"
	"heddle.dev/heddle/internal/fabric/msp"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// takeIn publishes what a partner says of an organization of its own, if it holds together. What was published before
// stays where it does not: the ledger knows it.
func (r *Reconciler) takeIn(ctx context.Context, s *scope) error {
	if err := kube.Run(ctx, s, r.alone, r.keyless, r.publishRemote); err != nil {
		return err
	}
	return kube.LookAgain(s.next)
}

// keyless refuses a remote organization whose keys are here: then it is none, and its partner must not speak for it.
func (r *Reconciler) keyless(ctx context.Context, s *scope) error {
	for _, name := range []string{specs.RootSecret(s.org.Name), specs.OpsSecret(s.org.Name), specs.AppSecret(s.org.Name), specs.AdminSecret(s.org.Name)} {
		var secret corev1.Secret
		err := r.client.Get(ctx, client.ObjectKey{Namespace: s.org.Namespace, Name: name}, &secret)
		switch {
		case err == nil:
			return kube.Stalled(v1alpha1.ReasonInvalidOwnership,
				"Secret %q has keys of an organization of this name, so it is not another site's: delete this object, or the Secret if it is a leftover", name)
		case !apierrors.IsNotFound(err):
			return fmt.Errorf("read Secret %q: %w", name, err)
		}
	}
	return nil
}

func (r *Reconciler) publishRemote(ctx context.Context, s *scope) error {
	remote := s.org.Spec.Remote
	material, err := RemoteMaterial(remote)
	if err == nil {
		err = material.Verify(s.now)
	}
	if err == nil {
		err = checkNodes(s, material)
	}
	if err == nil {
		err = r.checkNames(ctx, s)
	}
	if err != nil {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec, "spec.remote cannot be used: %s; the partner %q has to put it right", err, remote.Link)
	}
	s.noteRemote(material)
	s.msp = specs.MSPConfigMapFor(s.org, material, nil)
	return r.apply.Apply(ctx, s.org, s.msp)
}

// RemoteMaterial reads the certificates of a remote organization.
func RemoteMaterial(remote *v1alpha1.RemoteOrganization) (msp.Material, error) {
	return msp.Texts{
		CACerts: remote.CACertificates, Intermediates: remote.IntermediateCertificates,
		TLSCACerts: remote.TLSCACertificates, TLSIntermediates: remote.TLSIntermediateCertificates, CRLs: remote.RevocationLists,
	}.Parse()
}

// checkNodes makes sure that each node is one of the organization: its name ends in the organization's, and an orderer's
// certificates lead to the organization's roots and are for its name.
func checkNodes(s *scope, material msp.Material) error {
	for i := range s.org.Spec.Remote.Nodes {
		n := &s.org.Spec.Remote.Nodes[i]
		if !strings.HasSuffix(n.Name, "-"+s.org.Name) {
			return fmt.Errorf("node %q does not end in -%s", n.Name, s.org.Name)
		}
		if n.Port != v1alpha1.PortOrderer {
			continue
		}
		_, role, err := material.Enrolled([]byte(n.Certificate), s.now)
		if err != nil {
			return fmt.Errorf("node %q: %w", n.Name, err)
		}
		if role != pki.RoleOrderer {
			return fmt.Errorf("node %q: its certificate is none of an orderer", n.Name)
		}
		if _, err := material.Served([]byte(n.TLSCertificate), specs.Host(n.Name, s.org.Namespace), s.now); err != nil {
			return fmt.Errorf("node %q: %w", n.Name, err)
		}
	}
	return nil
}

// checkNames makes sure that no node has a name that a node of this site could have: where an organization's name ends
// in another's, so do its nodes' names.
func (r *Reconciler) checkNames(ctx context.Context, s *scope) error {
	var all v1alpha1.OrganizationList
	if err := r.client.List(ctx, &all, client.InNamespace(s.org.Namespace)); err != nil {
		return fmt.Errorf("list organizations: %w", err)
	}
	for i := range all.Items {
		own := &all.Items[i]
		if own.Spec.Remote != nil {
			continue
		}
		for _, n := range s.org.Spec.Remote.Nodes {
			if strings.HasSuffix(n.Name, "-"+own.Name) {
				return fmt.Errorf("node %q has a name of organization %q, which is of this site", n.Name, own.Name)
			}
		}
	}
	return nil
}

// noteRemote tells how long the issuers' certificates last.
func (s *scope) noteRemote(material msp.Material) {
	for _, part := range []struct {
		name  string
		texts [][]byte
	}{
		{"root-ca", material.CACerts},
		{"ca", material.IntermediateCerts},
		{"tls-root-ca", material.TLSCACerts},
		{"tls-ca", material.TLSIntermediates},
	} {
		for i, text := range part.texts {
			cert, err := pki.ParseCert(text)
			if err != nil {
				continue // it was parsed a moment ago
			}
			name := part.name
			if i > 0 {
				name = fmt.Sprintf("%s-%d", part.name, i+1)
			}
			s.certificates = append(s.certificates, keys.Status(name, cert, s.now))
		}
	}
}
