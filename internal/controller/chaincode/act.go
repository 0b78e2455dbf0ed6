package chaincode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/gateway"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs/launch"
)

const (
	installTimeout = 20 * time.Second
	// approveTimeout covers a transaction through the ordering service.
	approveTimeout = 10 * time.Second
	// commitTimeout covers peers that lag behind the approvals.
	commitTimeout = 10 * time.Second
	commitRetry   = 50 * time.Millisecond
)

// act does what is missing, as far as it goes in one round: install, approve, commit.
func (r *Reconciler) act(ctx context.Context, w *world) error {
	if len(w.members) == 0 {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "Waiting for a member of channel %q with a peer", w.chaincode.Spec.Channel)
	}
	if err := w.strangers(); err != nil {
		return err
	}
	if err := r.install(ctx, w); err != nil {
		return err
	}
	if err := r.approve(ctx, w); err != nil {
		return err
	}
	if err := r.commit(ctx, w); err != nil {
		return err
	}
	if err := w.conclude(); err != nil {
		return err
	}
	if err := r.collect(ctx, w); err != nil {
		return err
	}
	return w.serves()
}

// collect deletes the pods of packages that nobody calls any more: their peers let them be.
func (r *Reconciler) collect(ctx context.Context, w *world) error {
	for _, pod := range w.launches {
		if pod.Annotations[launch.AnnotationPackageID] == w.packageID || !pod.DeletionTimestamp.IsZero() {
			continue
		}
		if err := r.opts.Client.Delete(ctx, pod); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete pod %q of the former package: %w", pod.Name, err)
		}
	}
	return nil
}

// install puts the package on every peer that answers and lacks it.
func (r *Reconciler) install(ctx context.Context, w *world) error {
	var mu sync.Mutex
	var failed error
	r.eachPeer(w, func(m *member, p *peer) {
		if !p.seen || p.installed {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, installTimeout)
		defer cancel()
		c, err := r.client(ctx, w, m, p)
		if err == nil {
			_, err = c.Install(ctx, w.pkg)
		}
		if err == nil {
			p.installed = true
			return
		}
		mu.Lock()
		defer mu.Unlock()
		failed = fmt.Errorf("install the package on %s: %w", p.name, err)
	})
	return failed
}

// approve lets every organisation of this site approve that has not, as soon as one of its peers has the package.
func (r *Reconciler) approve(ctx context.Context, w *world) error {
	d := w.definition()
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		failed error
	)
	for _, m := range w.members {
		p := m.joined()
		if p == nil || m.err != nil || m.agrees(d) || m.installed() == 0 {
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, approveTimeout)
			defer cancel()
			c, err := r.client(ctx, w, m, p)
			if err == nil {
				err = c.Approve(ctx, d)
			}
			if err == nil {
				m.approved = &d
				return
			}
			mu.Lock()
			defer mu.Unlock()
			failed = fmt.Errorf("approve for %s: %w", m.org.MSPID, err)
		})
	}
	wg.Wait()
	return soon(failed)
}

// commit makes the definition valid once every organisation of this site has approved. Whether that is enough is for
// the channel's policy to say.
func (r *Reconciler) commit(ctx context.Context, w *world) error {
	d := w.definition()
	if w.done() {
		return nil
	}
	for _, m := range w.members {
		if !m.agrees(d) {
			if m.err != nil {
				return soon(fmt.Errorf("ask %s: %w", m.org.MSPID, m.err))
			}
			return kube.Waiting(v1alpha1.ReasonProgressing, 0, "Waiting for a peer of %s to join channel %q and to take the package", m.org.MSPID, w.chaincode.Spec.Channel)
		}
	}
	m, p := w.committer()
	if p == nil {
		return kube.Waiting(v1alpha1.ReasonWaitingForPod, 0, "Waiting for a peer that answers")
	}
	c, err := r.client(ctx, w, m, p)
	if err != nil {
		return err
	}
	if err := r.enough(ctx, w, c, d); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if err := c.CommitRetry(ctx, d, commitRetry); err != nil {
		if errors.Is(err, admin.ErrNotReady) {
			return kube.Waiting(v1alpha1.ReasonProgressing, 0, "Waiting for the approvals to reach every peer: %s", err)
		}
		if gateway.Overtaken(err) {
			return kube.Waiting(v1alpha1.ReasonProgressing, time.Second, "Another site has just committed a definition: looking again")
		}
		return soon(err)
	}
	if r.opts.Recorder != nil {
		r.opts.Recorder.Eventf(w.chaincode, nil, corev1.EventTypeNormal, v1alpha1.ReasonProgressing, "Commit",
			"Committed version %s as sequence %d", d.Version, d.Sequence)
	}
	w.committed = &admin.Committed{
		Name: d.Name, Version: d.Version, Sequence: d.Sequence, Policy: d.Policy, InitRequired: d.InitRequired, Collections: w.collectionsHash,
	}
	return nil
}

// enough tells by the channel's approvals whether organisations of other sites have to approve first. A channel whose
// members are all local needs no such question.
func (r *Reconciler) enough(ctx context.Context, w *world, c *admin.Peer, d admin.Definition) error {
	if w.channel.Status.Members == nil || int(*w.channel.Status.Members) <= len(w.members) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	approvals, err := c.Readiness(ctx, d)
	if err != nil {
		return soon(err)
	}
	yes := 0
	for _, ok := range approvals {
		if ok {
			yes++
		}
	}
	// The usual rule is a majority; another one is tried and may refuse.
	if 2*yes <= len(approvals) {
		return kube.Waiting(v1alpha1.ReasonNeedsSignatures, 5*time.Second,
			"%d of %d members have approved sequence %d: waiting for organisations that are not at this site", yes, len(approvals), d.Sequence)
	}
	return nil
}

func (w *world) committer() (*member, *peer) {
	for _, m := range w.members {
		if p := m.joined(); p != nil {
			return m, p
		}
	}
	return nil, nil
}

// soon turns failures that pass by themselves while a channel comes up into a short wait.
func soon(err error) error {
	if err == nil {
		return nil
	}
	for _, sign := range []string{
		"no orderers", "no raft leader", "SERVICE_UNAVAILABLE", "Unavailable", "unavailable", "not found", "no peers available",
		"no combination of peers", "failed to collect", "deadline exceeded", "access denied", "connection refused", "discovery",
	} {
		if strings.Contains(err.Error(), sign) {
			return kube.Waiting(v1alpha1.ReasonProgressing, 0, "Waiting for the channel to serve: %s", err)
		}
	}
	return err
}

// conclude says what is still to be waited for. A member that cannot be asked now, and that had approved before, is left
// to come back by itself.
func (w *world) conclude() error {
	d := w.definition()
	for _, m := range w.members {
		if !m.agrees(d) && (!m.silent() || !w.approvedBefore(m)) {
			return kube.Waiting(v1alpha1.ReasonProgressing, 0, "Waiting for %s to join channel %q and to approve sequence %d",
				m.org.MSPID, w.chaincode.Spec.Channel, d.Sequence)
		}
		for _, p := range m.peers {
			if p.seen && !p.installed {
				return kube.Waiting(v1alpha1.ReasonProgressing, 0, "Waiting for %s to take the package", p.name)
			}
		}
	}
	return nil
}

// silent tells that the organisation could not be asked what it approved.
func (m *member) silent() bool { return m.joined() == nil || m.err != nil }

// approvedBefore tells whether the organisation had approved what the spec asks for when it was last seen.
func (w *world) approvedBefore(m *member) bool {
	s := &w.chaincode.Status
	return s.ObservedGeneration == w.chaincode.Generation && slices.ContainsFunc(s.Organizations, func(o v1alpha1.ChaincodeOrganization) bool {
		return o.MSPID == m.org.MSPID && o.Approval == v1alpha1.ApprovalApproved
	})
}
