package channel

import (
	"bytes"
	"context"
	"fmt"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/block"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/kube"
)

// View is a channel as this site sees it now, with the means to sign and to submit. Proposals work on it.
type View struct {
	r *Reconciler
	w *world
}

// View looks at a channel, changing nothing.
func (r *Reconciler) View(ctx context.Context, ch *v1alpha1.Channel) (*View, error) {
	w := &world{channel: ch, urgent: true}
	if err := kube.Run(ctx, w, r.look, r.born, r.ask, r.readLedger); err != nil {
		return nil, err
	}
	if w.ledger == nil {
		return nil, kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "Waiting for Channel %q to be read", ch.Name)
	}
	return &View{r: r, w: w}, nil
}

// born waits for the channel's first block.
func (r *Reconciler) born(_ context.Context, w *world) error {
	if w.genesis == nil {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "Waiting for Channel %q to have its first block", w.channel.Name)
	}
	return nil
}

// Config is the newest configuration.
func (v *View) Config() *channelconfig.Config { return v.w.ledger }

// Signers are the organizations of this site that the configuration knows, by MSP ID.
func (v *View) Signers() []string { return v.w.signers() }

// Sign adds the signatures of this site's organizations.
func (v *View) Sign(ctx context.Context, up *channelconfig.Update) error {
	return v.r.sign(ctx, v.w, up)
}

// Submit hands an update with its signatures to an orderer.
func (v *View) Submit(ctx context.Context, up *channelconfig.Update) error {
	return v.r.submit(ctx, v.w, up)
}

// farBack is how many configurations are looked back at most.
const farBack = 32

// Made tells whether an update is what led from the configuration of that sequence to the next one.
func (v *View) Made(ctx context.Context, base uint64, raw []byte) (bool, error) {
	now, at := v.w.ledger.Sequence, v.w.block
	if now <= base {
		return false, nil
	}
	for steps := 0; now > base+1; steps++ {
		if steps == farBack {
			return false, nil
		}
		var err error
		if at, err = v.before(ctx, at); err != nil {
			return false, err
		}
		now--
	}
	made, err := channelconfig.LastUpdate(at)
	return err == nil && bytes.Equal(made, raw), err
}

// before is the config block before a config block.
func (v *View) before(ctx context.Context, at *cb.Block) (*cb.Block, error) {
	number := at.GetHeader().GetNumber()
	if number == 0 {
		return nil, fmt.Errorf("read configuration before block 0 of channel %q: there is none", v.w.channelID)
	}
	previous, err := v.block(ctx, number-1)
	if err != nil {
		return nil, err
	}
	config, err := block.LastConfig(previous)
	if err != nil {
		return nil, err
	}
	return v.block(ctx, config)
}

func (v *View) block(ctx context.Context, number uint64) (*cb.Block, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if from, _ := v.w.reader(); from != nil {
		orderer, err := v.r.orderer(ctx, v.w, from)
		if err != nil {
			return nil, err
		}
		return orderer.Block(ctx, v.w.channelID, number)
	}
	var out *cb.Block
	done, err := v.r.afar(ctx, v.w, func(ctx context.Context, o *admin.Orderer) error {
		b, err := o.Block(ctx, v.w.channelID, number)
		if err == nil {
			out = b
		}
		return err
	})
	if !done {
		return nil, unheard(err)
	}
	return out, nil
}
