package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
)

// refusedCounter counts what asks for a way between sites that is not open. Late packets of connections that have ended
// are dropped too, and say nothing about that.
const refusedCounter = "refused"

// refusedRules come before the rule that drops the rest.
const refusedRules = "\t\tiifname \"br*\" oifname \"br*\" tcp flags syn / fin,syn,rst,ack counter name " + refusedCounter + " drop\n" +
	"\t\tiifname \"br*\" oifname \"br*\" meta l4proto != tcp ct state new counter name " + refusedCounter + " drop\n"

// refusals is the answer to who asks for them.
type refusals struct {
	Packets uint64 `json:"packets"`
}

// refused reads how many packets asked for a way that is not open.
func (w *wan) refused(ctx context.Context) (*refusals, error) {
	out := &refusals{}
	err := inNetns(w.ns, func() error {
		raw, err := exec.CommandContext(ctx, "nft", "-j", "list", "counter", "inet", firewallTable, refusedCounter).Output()
		if err != nil {
			return fmt.Errorf("read counter of the firewall between sites: %w", err)
		}
		out.Packets, err = countOf(raw)
		return err
	})
	return out, err
}

// countOf finds the packets in what nft says of a counter.
func countOf(raw []byte) (uint64, error) {
	var said struct {
		Nftables []struct {
			Counter *refusals `json:"counter"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(raw, &said); err != nil {
		return 0, fmt.Errorf("read counter of the firewall between sites: %w", err)
	}
	for _, o := range said.Nftables {
		if o.Counter != nil {
			return o.Counter.Packets, nil
		}
	}
	return 0, errors.New("read counter of the firewall between sites: there is none")
}

// Refused is how many packets asked, since Firewall was set, for a way between sites that is not open.
func (l *Lab) Refused(ctx context.Context) (uint64, error) {
	var out refusals
	err := l.command(ctx, "GET", "/refused", &out)
	return out.Packets, err
}
