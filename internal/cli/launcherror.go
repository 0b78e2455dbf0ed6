package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/gateway"
)

const (
	// launchNoted is how long the operator may take to write down why a contract did not start.
	launchNoted = 3 * time.Second
	launchPause = 200 * time.Millisecond
	// launchFresh is how old an ending may be to be the reason of a call that failed just now.
	launchFresh = 2 * time.Minute
)

// explainLaunch adds to a failed call why the contract did not start: peers say an exit code at most.
func (c *cluster) explainLaunch(ctx context.Context, ref contractRef, err error) error {
	var e *gateway.Error
	if !errors.As(err, &e) || !launchFailed(e) {
		return err
	}
	// The call's own time may be over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), launchNoted)
	defer cancel()
	words := ""
	// Whatever keeps the reason from being read, the failure itself is told.
	_ = wait.PollUntilContextCancel(ctx, launchPause, true, func(ctx context.Context) (bool, error) {
		cc, err := c.chaincodeOf(ctx, ref)
		if err != nil || cc == nil {
			return false, err
		}
		words = launchWords(cc, time.Now())
		return words != "", nil
	})
	if words == "" {
		return fmt.Errorf("%w: the contract did not start: 'heddle chaincode logs' has what it said", err)
	}
	return &launchError{stage: e.Stage, words: words, cause: err}
}

// launchError tells why a contract did not start, in place of the peers' words, which are many and say less.
type launchError struct {
	stage gateway.Stage
	words string
	cause error
}

func (e *launchError) Error() string { return fmt.Sprintf("%s transaction: %s", e.stage, e.words) }

// Unwrap is what the peers said.
func (e *launchError) Unwrap() error { return e.cause }

// launchFailed tells by the peers' words that they could not start the contract.
func launchFailed(e *gateway.Error) bool {
	words := []string{e.Message}
	for _, n := range e.Nodes {
		words = append(words, n.Message)
	}
	return slices.ContainsFunc(words, func(s string) bool {
		return strings.Contains(s, "could not launch chaincode") || strings.Contains(s, "chaincode registration failed")
	})
}

// launchWords is the reason of the newest launch that ended by itself; empty where there is none.
func launchWords(cc *v1alpha1.Chaincode, now time.Time) string {
	for i := range cc.Status.Launches {
		l := &cc.Status.Launches[i]
		word, _, _ := strings.Cut(l.Reason, ":")
		if l.EndedAt == nil || now.Sub(l.EndedAt.Time) > launchFresh || slices.Contains(v1alpha1.LaunchEndings(), word) {
			continue
		}
		return fmt.Sprintf("%s could not start the contract: %s", l.Peer, l.Reason)
	}
	return ""
}

// chaincodeOf is the object of a contract on a channel; nil where it was deployed by other means.
func (c *cluster) chaincodeOf(ctx context.Context, ref contractRef) (*v1alpha1.Chaincode, error) {
	ch, err := c.getChannel(ctx, ref.network, ref.channel)
	if err != nil {
		return nil, err
	}
	var list v1alpha1.ChaincodeList
	if err := c.List(ctx, &list, client.InNamespace(ref.network)); err != nil {
		return nil, fmt.Errorf("list contracts of network %q: %w", ref.network, err)
	}
	for i := range list.Items {
		if cc := &list.Items[i]; cc.Spec.Channel == ch.Name && (cc.Spec.ChaincodeName == ref.contract || cc.Name == ref.contract) {
			return cc, nil
		}
	}
	return nil, nil
}
