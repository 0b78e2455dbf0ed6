package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// submitRest is how long an update that was submitted is given to take effect before it is submitted once more: it may
// wait for a new leader.
const submitRest = 3 * time.Second

// submitted is an update as it was handed to an ordering service.
type submitted struct {
	raw []byte
	at  time.Time
}

// submit hands the update to the ordering service, unless that was done a moment ago.
func (r *Reconciler) submit(ctx context.Context, w *world, up *channelconfig.Update) error {
	r.mu.Lock()
	last := r.submitted[w.channel.UID]
	r.mu.Unlock()
	if bytes.Equal(last.raw, up.Raw) && r.opts.Now().Sub(last.at) < submitRest {
		return nil
	}
	to := r.submitToOne
	if w.ledger.Channel.Consensus == channelconfig.BFT {
		to = r.submitToAll
	}
	if err := to(ctx, w, up); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.submitted[w.channel.UID] = submitted{raw: up.Raw, at: r.opts.Now()}
	return nil
}

// submitToAll hands one and the same transaction to every consenter, wherever it stands, as clients of BFT do: one that
// takes it may be of no use, such as one that lost sight of the leader and finds that out at the next block only.
func (r *Reconciler) submitToAll(ctx context.Context, w *world, up *channelconfig.Update) error {
	signers := w.signers()
	if len(signers) == 0 {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "Waiting for an organization of this site to be in the channel's configuration")
	}
	id, err := r.adminOf(ctx, w, signers[0])
	if err != nil {
		return err
	}
	envelope, err := up.Envelope(id, r.opts.Now())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	targets := w.broadcastTo()
	results := make([]error, len(targets))
	var all sync.WaitGroup
	for i, t := range targets {
		all.Go(func() {
			conn, err := r.opts.Nodes.Conn(specs.Address(t.name, w.network, v1alpha1.PortOrderer), w.orgs[t.org].TLSRoots)
			if err == nil {
				err = admin.NewOrderer(conn, id, r.opts.Now).Broadcast(ctx, envelope)
			}
			results[i] = err
		})
	}
	all.Wait()
	return judge(results)
}

// broadcastTo are the consenters that can be reached: this site's that are active, and the other sites'.
func (w *world) broadcastTo() []place {
	var out []place
	for _, n := range w.nodes {
		if n.orderer && n.seen && n.joined && n.status == admin.Active && w.onLedger(n) {
			out = append(out, place{n.name, n.org})
		}
	}
	for _, n := range w.remotes {
		address := specs.Address(n.name, w.network, v1alpha1.PortOrderer)
		orders := slices.ContainsFunc(w.ledger.Channel.Consenters, func(c channelconfig.Consenter) bool { return c.Address().String() == address })
		if orders && w.orgs[n.org] != nil {
			out = append(out, place{n.name, n.org})
		}
	}
	return out
}

// judge says what the answers of several orderers to one update mean: who takes it outweighs who does not.
func judge(results []error) error {
	var last error
	var refused *admin.StatusError
	for _, err := range results {
		var one *admin.StatusError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &one) && !one.Retry():
			refused = one
		default:
			last = err
		}
	}
	switch {
	case refused != nil:
		return refusal(refused)
	case last != nil:
		return kube.Waiting(v1alpha1.ReasonProgressing, 0, "Waiting for an orderer to take a config update: %s", last)
	}
	return kube.Waiting(v1alpha1.ReasonWaitingForPod, 0, "Waiting for an active orderer to take a config update")
}

// submitToOne hands the update to the first orderer that takes it.
func (r *Reconciler) submitToOne(ctx context.Context, w *world, up *channelconfig.Update) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var last error
	for _, n := range w.nodes {
		if !n.orderer || !n.seen || !n.joined || n.status != admin.Active || !w.onLedger(n) {
			continue
		}
		id, err := r.adminOf(ctx, w, w.orgs[n.org].MSPID)
		if err != nil {
			return err
		}
		envelope, err := up.Envelope(id, r.opts.Now())
		if err != nil {
			return err
		}
		orderer, err := r.orderer(ctx, w, n)
		if err != nil {
			return err
		}
		err = orderer.Broadcast(ctx, envelope)
		if err == nil {
			return nil
		}
		var refused *admin.StatusError
		if errors.As(err, &refused) && !refused.Retry() {
			return refusal(refused)
		}
		last = err
	}
	if done, err := r.submitAfar(ctx, w, up); done || err != nil {
		return err
	}
	if last == nil {
		return kube.Waiting(v1alpha1.ReasonWaitingForPod, 0, "Waiting for an active orderer to take a config update")
	}
	return kube.Waiting(v1alpha1.ReasonProgressing, 0, "Waiting for an orderer to take a config update: %s", last)
}

// submitAfar hands the update to an orderer of another site.
func (r *Reconciler) submitAfar(ctx context.Context, w *world, up *channelconfig.Update) (bool, error) {
	if len(w.remotes) == 0 {
		return false, nil
	}
	id, err := r.anyAdmin(ctx, w)
	if err != nil {
		return false, err
	}
	envelope, err := up.Envelope(id, r.opts.Now())
	if err != nil {
		return false, err
	}
	done, err := r.afar(ctx, w, func(ctx context.Context, o *admin.Orderer) error { return o.Broadcast(ctx, envelope) })
	var refused *admin.StatusError
	if errors.As(err, &refused) && !refused.Retry() {
		return false, refusal(refused)
	}
	if err != nil {
		return false, kube.Waiting(v1alpha1.ReasonProgressing, 0, "Waiting for an orderer of the partner to take a config update: %s", err)
	}
	return done, nil
}

// refusal tells what an orderer's refusal of an update means.
func refusal(e *admin.StatusError) error {
	switch {
	case e.Unsigned():
		return kube.Stalled(v1alpha1.ReasonNeedsSignatures,
			"The channel's policy asks for signatures of organisations that are not at this site: %s", e.Info)
	case e.Stale():
		return kube.Waiting(v1alpha1.ReasonProgressing, 250*time.Millisecond, "The configuration has moved on: computing the update again")
	case e.Status == cb.Status_FORBIDDEN:
		return kube.Stalled(v1alpha1.ReasonForbidden, "The orderers do not let this site write to the channel: %s", e.Info)
	}
	return fmt.Errorf("submit config update: %w", e)
}
