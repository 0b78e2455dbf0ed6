package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	checkers   = 16
	checkPause = 200 * time.Millisecond
)

// CheckKept reads the key of every acknowledged transaction from every peer; one that is not there is an error.
func CheckKept(ctx context.Context, peers []*Client, acks []Ack) error {
	for _, p := range peers {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(checkers)
		for _, a := range acks {
			group.Go(func() error {
				if err := read(ctx, p, a.Key); err != nil {
					return fmt.Errorf("acknowledged transaction %s (key %s, block %d, by %q): %w", a.TxID, a.Key, a.Block, a.Peer, err)
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// read asks a peer for a key. One that does not answer in time is asked again: that says nothing about what it holds.
func read(ctx context.Context, p *Client, key string) error {
	tick := time.NewTicker(checkPause)
	defer tick.Stop()
	for {
		_, err := p.Read(ctx, "Read", key)
		if code := status.Code(err); code != codes.DeadlineExceeded && code != codes.Unavailable {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// CheckLedgers waits until every peer has the same height and the same hash of the last block, and returns them. It
// needs a network at rest. Two peers of one height and different hashes are an error at once: no waiting mends a fork.
func CheckLedgers(ctx context.Context, peers []*Client) (Ledger, error) {
	tick := time.NewTicker(checkPause)
	defer tick.Stop()
	for {
		l, err := compare(ctx, peers)
		if err == nil {
			return l, nil
		}
		if errors.Is(err, ErrFork) {
			return Ledger{}, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return Ledger{}, errors.Join(err, ctx.Err())
		}
	}
}

// ErrFork says that two peers hold different blocks of the same number.
var ErrFork = errors.New("ledgers have forked")

func compare(ctx context.Context, peers []*Client) (Ledger, error) {
	var first Ledger
	for i, p := range peers {
		l, err := p.Ledger(ctx)
		switch {
		case err != nil:
			return Ledger{}, err
		case i == 0:
			first = l
		case l.Height == first.Height && l.Hash != first.Hash:
			return Ledger{}, fmt.Errorf("compare %q and %q at height %d: %w: %s and %s", peers[0].Name(), p.Name(), l.Height, ErrFork, first.Hash, l.Hash)
		case l != first:
			return Ledger{}, fmt.Errorf("compare ledgers: %q is at height %d, %q at %d", peers[0].Name(), first.Height, p.Name(), l.Height)
		}
	}
	return first, nil
}
