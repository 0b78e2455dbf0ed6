package channel

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/kube"
)

// TestJudge: who takes an update outweighs who does not, and a refusal outweighs silence.
func TestJudge(t *testing.T) {
	silent := errors.New("nobody answers")
	busy := &admin.StatusError{Status: cb.Status_SERVICE_UNAVAILABLE, Info: "no leader"}
	forbidden := &admin.StatusError{Status: cb.Status_FORBIDDEN, Info: "no writer"}
	for name, c := range map[string]struct {
		results []error
		reason  string
	}{
		"all take it":            {results: []error{nil, nil}},
		"one takes it":           {results: []error{silent, forbidden, nil, busy}},
		"all are silent":         {results: []error{silent, silent}, reason: v1alpha1.ReasonProgressing},
		"all are busy":           {results: []error{busy}, reason: v1alpha1.ReasonProgressing},
		"one refuses for good":   {results: []error{silent, forbidden, busy}, reason: v1alpha1.ReasonForbidden},
		"there is nobody to ask": {reason: v1alpha1.ReasonWaitingForPod},
	} {
		t.Run(name, func(t *testing.T) {
			err := judge(c.results)
			if c.reason == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			if i, ok := kube.AsIntent(err); !ok || i.Reason != c.reason {
				t.Errorf("got %v, want %s", err, c.reason)
			}
		})
	}
}

// TestBroadcastTo: of BFT every consenter gets an update, and nobody else: not followers, nor nodes that are down.
func TestBroadcastTo(t *testing.T) {
	w := scene(channelconfig.BFT, 4, 4, "adaaf")
	stretch(t, w)
	w.ledger.Channel.Consenters = append(w.ledger.Channel.Consenters, channelconfig.Consenter{Host: "orderer0-bankx.trade", Port: 7050})
	want := []place{{"orderer0-ord", "ord"}, {"orderer2-ord", "ord"}, {"orderer3-ord", "ord"}, {"orderer0-bankx", "bankx"}}
	if diff := cmp.Diff(want, w.broadcastTo(), cmp.AllowUnexported(place{})); diff != "" {
		t.Error(diff)
	}
}

// TestSubmitRests: the same update is not handed over again at once, and another one is.
func TestSubmitRests(t *testing.T) {
	now := time.Now()
	r := New(Options{Now: func() time.Time { return now }})
	// No organization of this site can sign: an attempt fails, which tells it from a rest.
	w := &world{channel: &v1alpha1.Channel{}, ledger: &channelconfig.Config{Channel: channelconfig.Channel{Consensus: channelconfig.BFT}}}
	r.submitted[w.channel.UID] = submitted{raw: []byte("update"), at: now}
	tries := func(raw string) bool {
		return r.submit(t.Context(), w, &channelconfig.Update{Raw: []byte(raw)}) != nil
	}
	if tries("update") || !tries("another one") {
		t.Error("want a rest for the same update, and none for another one")
	}
	now = now.Add(submitRest)
	if !tries("update") {
		t.Error("want another try after the rest")
	}
}
