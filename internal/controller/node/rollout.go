package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/pods"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// mostLag is how many blocks a sibling may be behind: under load every node is, at the moment it is asked.
const mostLag = 3

// rollOut applies the Deployment. A changed template waits for its turn; a new Deployment, and one whose pod does not
// serve anyhow, do not: a fix must not wait for what it is to fix.
func (r *Reconciler) rollOut(ctx context.Context, s *scope) error {
	s.want = s.node.Deployment(specs.NodeInputs{
		MSPID: s.msp.Data[specs.KeyMSPID], MSPKeys: slices.Collect(maps.Keys(s.msp.Data)),
		Material: s.material(), BuilderImage: r.opts.BuilderImage,
	})
	var cached appsv1.Deployment
	err := r.client.Get(ctx, client.ObjectKeyFromObject(s.want), &cached)
	if apierrors.IsNotFound(err) || err == nil && pods.Hash(&cached) == pods.Hash(s.want) {
		return r.apply.Apply(ctx, s.obj, s.want)
	}
	if err != nil {
		return fmt.Errorf("read Deployment %q: %w", s.want.Name, err)
	}
	lock := r.lock(s.obj.GetNamespace())
	lock.Lock()
	defer lock.Unlock()
	// Under the lock only the API server's own answer counts: the cache may not know yet of a change made just now.
	var live appsv1.Deployment
	if err := r.reader.Get(ctx, client.ObjectKeyFromObject(s.want), &live); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read Deployment %q: %w", s.want.Name, err)
	}
	if live.UID != "" && pods.Available(&live) {
		if err := r.awaitTurn(ctx, s); err != nil {
			return err
		}
	}
	return r.apply.Apply(ctx, s.obj, s.want)
}

func (r *Reconciler) lock(namespace string) *sync.Mutex {
	m, _ := r.rollouts.LoadOrStore(namespace, &sync.Mutex{})
	lock, ok := m.(*sync.Mutex)
	if !ok {
		return &sync.Mutex{}
	}
	return lock
}

// awaitTurn returns nil when every sibling serves and has caught up in every channel.
func (r *Reconciler) awaitTurn(ctx context.Context, s *scope) error {
	siblings, err := r.siblings(ctx, s.subject)
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for _, n := range siblings {
		names[n.node.Name] = true
		if err := r.serves(ctx, n, s.now); err != nil {
			return err
		}
	}
	var channels v1alpha1.ChannelList
	if err := r.client.List(ctx, &channels, client.InNamespace(s.obj.GetNamespace())); err != nil {
		return fmt.Errorf("list channels: %w", err)
	}
	for _, ch := range channels.Items {
		for _, n := range ch.Status.Nodes {
			if names[n.Name] && !caughtUp(n) {
				return turn("%q has caught up in channel %q", n.Name, ch.Name)
			}
		}
	}
	return nil
}

func caughtUp(n v1alpha1.ChannelNode) bool {
	return n.State == v1alpha1.NodeActive && (n.Lag == nil || *n.Lag <= mostLag)
}

func (r *Reconciler) serves(ctx context.Context, n subject, now time.Time) error {
	var d appsv1.Deployment
	err := r.reader.Get(ctx, client.ObjectKeyFromObject(n.obj), &d)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read Deployment %q: %w", n.node.Name, err)
	}
	if err != nil || !pods.Available(&d) {
		return turn("%q serves", n.node.Name)
	}
	if since := pods.AvailableSince(&d); now.Sub(since) < r.opts.Settle {
		return turn("%q has served for a while", n.node.Name)
	}
	return nil
}

func turn(format string, args ...any) error {
	return kube.Waiting(v1alpha1.ReasonRollingOut, time.Second, "The change waits until node "+format, args...)
}

// await waits for the pod of the template that is wanted.
func (r *Reconciler) await(ctx context.Context, s *scope) error {
	return pods.Await(ctx, r.client, s.want)
}
