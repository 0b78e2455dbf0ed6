package node

import (
	"context"
	"crypto/rand"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// applyCouchDB asks for the volume of a peer's CouchDB, and writes its settings.
func (r *Reconciler) applyCouchDB(ctx context.Context, s *scope) error {
	if !s.node.HasCouchDB() {
		return nil
	}
	if err := r.apply.Volume(ctx, s.node.CouchDBVolume()); err != nil {
		return err
	}
	return r.apply.Apply(ctx, s.obj, s.node.CouchDBConfigMap())
}

// ensureCouchDBPassword makes the password of a peer's CouchDB, once. CouchDB learns it anew with each pod, so a lost
// Secret may come back with another one: the pod is replaced, and both of its containers read that.
func (r *Reconciler) ensureCouchDBPassword(ctx context.Context, s *scope) error {
	if !s.node.HasCouchDB() {
		return nil
	}
	secret := s.node.CouchDBSecret("")
	err := r.client.Get(ctx, client.ObjectKeyFromObject(secret), secret)
	if apierrors.IsNotFound(err) {
		secret = s.node.CouchDBSecret(rand.Text())
		_, err = r.apply.CreateOnce(ctx, nil, secret)
	}
	if err != nil {
		return fmt.Errorf("keep Secret %q: %w", secret.Name, err)
	}
	if err := kube.Owned(s.node.CouchDBSecret(""), secret); err != nil {
		return err
	}
	if err := r.apply.Release(ctx, secret); err != nil {
		return err
	}
	if len(secret.Data[specs.KeyPassword]) > 0 && len(secret.Data[specs.KeyUsername]) > 0 {
		s.password = secret.Data[specs.KeyPassword]
		return nil
	}
	// Somebody has emptied it.
	secret = s.node.CouchDBSecret(rand.Text())
	s.password = secret.Data[specs.KeyPassword]
	return r.apply.Apply(ctx, nil, secret)
}

// couchDBLeftovers are what stays of a peer's CouchDB when the peer goes, as its volume and its keys do.
func (s subject) couchDBLeftovers() []client.Object {
	if !s.node.HasCouchDB() {
		return nil
	}
	return []client.Object{s.node.CouchDBVolume(), s.node.CouchDBSecret("")}
}

// couchDBSettings is the part of a peer's CouchDB that goes with the peer.
func (s subject) couchDBSettings() []client.Object {
	if !s.node.HasCouchDB() {
		return nil
	}
	return []client.Object{&corev1.ConfigMap{ObjectMeta: s.node.CouchDBConfigMap().ObjectMeta}}
}
