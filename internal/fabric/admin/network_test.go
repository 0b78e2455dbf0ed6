package admin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"

	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/block"
	"heddle.dev/heddle/internal/fabric/ccpackage"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/gateway"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/test/bare"
)

func start(t *testing.T, options bare.Options) (context.Context, *bare.Network) {
	t.Helper()
	programs := bare.Require(t)
	if options.Consensus == channelconfig.BFT {
		programs = bare.RequireReal(t)
	}
	options.Dir = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	n, err := bare.Start(ctx, programs, options)
	ok(t, err)
	t.Cleanup(n.Close)
	if err := n.CreateChannel(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx, n
}

var errThere = errors.New("no error")

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func until(t *testing.T, ctx context.Context, within time.Duration, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	ok(t, bare.Eventually(ctx, try))
}

func TestParticipation(t *testing.T) {
	ctx, n := start(t, bare.Options{Consensus: channelconfig.Raft, Orderers: 1})
	p, err := n.Orderers[0].Participation()
	ok(t, err)
	defer p.Close()
	names, err := p.List(ctx)
	ok(t, err)
	if diff := cmp.Diff([]string{"trade"}, names); diff != "" {
		t.Error(diff)
	}
	info, err := p.Info(ctx, "trade")
	ok(t, err)
	want := admin.ChannelInfo{Name: "trade", Relation: admin.Consenter, Status: admin.Active, Height: 1}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Error(diff)
	}
	if _, err := p.Join(ctx, n.Genesis); !errors.Is(err, admin.ErrChannelExists) {
		t.Errorf("joining twice: %v", err)
	}
	if _, err := p.Info(ctx, "other"); !errors.Is(err, admin.ErrChannelNotFound) {
		t.Errorf("another channel: %v", err)
	}
	if _, err := p.Join(ctx, &cb.Block{}); err == nil || errors.Is(err, admin.ErrChannelExists) {
		t.Errorf("an empty block: %v", err)
	}
	ok(t, p.Remove(ctx, "trade"))
	until(t, ctx, 20*time.Second, func() error { // the node takes its time
		if _, err := p.Info(ctx, "trade"); !errors.Is(err, admin.ErrChannelNotFound) {
			return fmt.Errorf("it is still there: %w", errors.Join(errThere, err))
		}
		return nil
	})
	if err := p.Remove(ctx, "trade"); !errors.Is(err, admin.ErrChannelNotFound) {
		t.Errorf("removing twice: %v", err)
	}
	if names, err = p.List(ctx); err != nil || len(names) != 0 {
		t.Errorf("%v, %v", names, err)
	}
	// The same channel once more on the same node.
	until(t, ctx, 20*time.Second, func() error { _, err := p.Join(ctx, n.Genesis); return err })
	if err := n.Orderers[0].Health(ctx); err != nil {
		t.Error(err)
	}
}

func TestParticipationNeedsCertificate(t *testing.T) {
	ctx, n := start(t, bare.Options{Consensus: channelconfig.Raft, Orderers: 1})
	stranger, err := bare.NewOrg("stranger")
	ok(t, err)
	target := admin.Target{Address: n.Orderers[0].Admin, Roots: n.OrdererOrg.TLSRoots()}
	if _, err := admin.NewParticipation(target); err == nil {
		t.Error("a client without a certificate was made")
	}
	target.Certificate = stranger.AdminTLS
	p, err := admin.NewParticipation(target)
	ok(t, err)
	if _, err := p.List(ctx); err == nil {
		t.Error("a stranger may list channels")
	}
	target.Certificate, target.Roots = n.OrdererOrg.AdminTLS, stranger.TLSRoots()
	if p, err = admin.NewParticipation(target); err != nil {
		t.Fatal(err)
	}
	if _, err := p.List(ctx); err == nil {
		t.Error("a foreign authority is trusted")
	}
}

// TestDialContext reaches a node under a name that only the dialler knows.
func TestDialContext(t *testing.T) {
	ctx, n := start(t, bare.Options{Consensus: channelconfig.Raft, Orderers: 1, Orgs: []string{"banka"}})
	peer := n.Peers[0]
	target := admin.Target{
		Address: "peer0-banka.trade:7051", ServerName: "peer0-banka", Roots: peer.Org.TLSRoots(),
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != "peer0-banka.trade:7051" {
				return nil, fmt.Errorf("dialled %q", address)
			}
			return (&net.Dialer{}).DialContext(ctx, network, peer.Address)
		},
	}
	conn, err := target.Connect()
	ok(t, err)
	defer conn.Close()
	names, err := admin.NewPeer(conn, peer.Org.Admin, time.Now).Channels(ctx)
	ok(t, err)
	if diff := cmp.Diff([]string{"trade"}, names); diff != "" {
		t.Error(diff)
	}
	target.ServerName = "another-name"
	wrong, err := target.Connect()
	ok(t, err)
	defer wrong.Close()
	if _, err := admin.NewPeer(wrong, peer.Org.Admin, time.Now).Channels(ctx); err == nil {
		t.Error("the node's name is not checked")
	}
}

// TestPeerAndLifecycle covers what an administrator does with a peer.
func TestPeerAndLifecycle(t *testing.T) {
	contract := bare.BuildContract(t)
	ctx, n := start(t, bare.Options{Consensus: channelconfig.Raft, Orderers: 3, Orgs: []string{"banka", "bankb"}})
	peer, err := n.Peers[0].Client()
	ok(t, err)
	orderer, err := n.Orderers[0].Client(n.OrdererOrg)
	ok(t, err)

	if err := peer.Join(ctx, n.Genesis); !errors.Is(err, admin.ErrChannelExists) {
		t.Errorf("joining twice: %v", err)
	}
	if _, err := peer.Committed(ctx, "trade", "asset"); !errors.Is(err, admin.ErrNotCommitted) {
		t.Errorf("before the commit: %v", err)
	}
	if _, err := peer.Approved(ctx, "trade", "asset", 1); !errors.Is(err, admin.ErrNotApproved) {
		t.Errorf("before the approval: %v", err)
	}
	definition := admin.Definition{Policy: "OR('bankaMSP.peer', 'bankbMSP.peer')", Collections: []admin.Collection{{
		Name: "secrets", Policy: "OR('bankaMSP.member', 'bankbMSP.member')", MaxPeers: 1, BlockToLive: 10, MemberOnlyRead: true,
		EndorsementPolicy: "OR('bankaMSP.peer')",
	}}}
	id, err := n.Deploy(ctx, "asset", contract, definition)
	ok(t, err)

	installed, err := peer.Installed(ctx)
	ok(t, err)
	if diff := cmp.Diff([]admin.Installed{{PackageID: id, Label: "asset_1", Channels: []string{"trade"}}}, installed); diff != "" {
		t.Error(diff)
	}
	definition.Channel, definition.Name, definition.Version, definition.Sequence, definition.PackageID = "trade", "asset", "1", 1, id
	approved, err := peer.Approved(ctx, "trade", "asset", 1)
	ok(t, err)
	sum, err := definition.CollectionsHash()
	ok(t, err)
	approvedWant := definition
	approvedWant.Collections, approvedWant.CollectionsSum = nil, sum
	if diff := cmp.Diff(approvedWant, approved); diff != "" {
		t.Error(diff)
	}
	committedWant := admin.Committed{Name: "asset", Version: "1", Sequence: 1, Policy: definition.Policy, Collections: sum}
	all, err := peer.AllCommitted(ctx, "trade")
	ok(t, err)
	if diff := cmp.Diff([]admin.Committed{committedWant}, all); diff != "" {
		t.Error(diff)
	}
	committedWant.Approvals = map[string]bool{"bankaMSP": true, "bankbMSP": true}
	committed, err := peer.Committed(ctx, "trade", "asset")
	ok(t, err)
	if diff := cmp.Diff(committedWant, committed); diff != "" {
		t.Error(diff)
	}

	next := definition
	next.Sequence, next.Policy, next.Collections = 2, "/Channel/Application/Endorsement", definition.Collections
	ok(t, peer.Approve(ctx, next))
	ok(t, peer.Approve(ctx, next)) // again changes nothing
	ready, err := peer.Readiness(ctx, next)
	ok(t, err)
	if diff := cmp.Diff(map[string]bool{"bankaMSP": true, "bankbMSP": false}, ready); diff != "" {
		t.Error(diff)
	}
	if err := peer.Commit(ctx, next); !errors.Is(err, admin.ErrNotReady) {
		t.Errorf("commit with one approval of two: %v", err)
	}
	if err := peer.Approve(ctx, admin.Definition{Channel: "trade", Name: "asset", Version: "1", Sequence: 7}); err == nil {
		t.Error("a sequence was skipped")
	}
	if err := peer.Approve(ctx, admin.Definition{Channel: "trade", Name: "asset", Version: "1", Sequence: 2, Policy: "XOR()"}); err == nil {
		t.Error("a bad policy was approved")
	}

	pkg, err := ccpackage.CCAAS("other_1", ccpackage.Connection{Address: "127.0.0.1:1"})
	ok(t, err)
	first, err := peer.Install(ctx, pkg)
	ok(t, err)
	again, err := peer.Install(ctx, pkg)
	ok(t, err)
	if computed, err := ccpackage.ID(pkg); err != nil || first != again || first != computed {
		t.Errorf("package ids %q, %q, %q, %v", first, again, computed, err)
	}
	if _, err := peer.Install(ctx, []byte("no package")); err == nil {
		t.Error("garbage was installed")
	}

	height, err := peer.Height(ctx, "trade")
	ok(t, err)
	newest, err := orderer.Newest(ctx, "trade")
	ok(t, err)
	if height.Blocks != newest.GetHeader().GetNumber()+1 || !bytes.Equal(height.Hash, block.Hash(newest.GetHeader())) {
		t.Errorf("peer: %d blocks, hash %x; orderer: block %d, hash %x", height.Blocks, height.Hash, newest.GetHeader().GetNumber(), block.Hash(newest.GetHeader()))
	}
	raw, err := peer.Block(ctx, "trade", 1)
	ok(t, err)
	parsed, err := block.Read(raw)
	ok(t, err)
	same, err := peer.BlockOf(ctx, "trade", parsed.Transactions[0].ID)
	if err != nil || same.GetHeader().GetNumber() != 1 || parsed.Transactions[0].Code != 0 || !slices.Contains([]string{"bankaMSP", "bankbMSP"}, parsed.Transactions[0].Creator) {
		t.Errorf("block 1: %+v, %v", parsed.Transactions, err)
	}
	if _, err := peer.Block(ctx, "trade", 1000); err == nil {
		t.Error("there is a block 1000")
	}
	var refused *admin.StatusError
	if _, err := orderer.Block(ctx, "trade", 1000); !errors.As(err, &refused) || refused.Status != cb.Status_NOT_FOUND || !refused.Retry() {
		t.Errorf("the orderer's block 1000: %v", err)
	}
	if _, err := orderer.Newest(ctx, "other"); !errors.As(err, &refused) {
		t.Errorf("another channel: %v", err)
	}
	config, err := peer.ConfigBlock(ctx, "trade")
	ok(t, err)
	if !bytes.Equal(block.Hash(config.GetHeader()), block.Hash(n.Genesis.GetHeader())) {
		t.Error("the peer's configuration is not the genesis block")
	}
}

// submit commits a transaction within a while, whatever the orderers are at.
func submit(t *testing.T, ctx context.Context, client *gateway.Gateway, key string) {
	t.Helper()
	until(t, ctx, 90*time.Second, func() error {
		call, cancel := context.WithTimeout(ctx, 15*time.Second)
		defer cancel()
		_, err := client.Submit(call, gateway.Call{Channel: "trade", Contract: "asset", Function: "Create", Args: [][]byte{[]byte(key), []byte("alice"), []byte("5")}})
		if err != nil && strings.Contains(err.Error(), "exists already") {
			return nil // an earlier try got through after all
		}
		return err
	})
}

func deployed(t *testing.T, options bare.Options) (context.Context, *bare.Network, *gateway.Gateway) {
	t.Helper()
	contract := bare.BuildContract(t)
	options.Orgs = []string{"banka", "bankb"}
	ctx, n := start(t, options)
	_, err := n.Deploy(ctx, "asset", contract, admin.Definition{})
	ok(t, err)
	client, err := n.Client(n.Peers[0])
	ok(t, err)
	submit(t, ctx, client, "first")
	return ctx, n, client
}

func TestUpdateBatchAndOrganisation(t *testing.T) {
	ctx, n, client := deployed(t, bare.Options{Consensus: channelconfig.Raft, Orderers: 3})
	config, err := n.Update(ctx, func(c channelconfig.Channel) (channelconfig.Channel, error) {
		c.Batch.Timeout, c.Batch.MaxMessages = 50*time.Millisecond, 33
		return c, nil
	})
	ok(t, err)
	if config.Sequence != 1 || config.Channel.Batch.MaxMessages != 33 {
		t.Errorf("sequence %d, batch %+v", config.Sequence, config.Channel.Batch)
	}
	org, err := n.AddOrg(ctx, "bankc")
	ok(t, err)
	config, err = n.Update(ctx, func(c channelconfig.Channel) (channelconfig.Channel, error) {
		member, err := n.Member(org)
		if err != nil {
			return c, err
		}
		return c.AddApplicationOrg(member)
	})
	ok(t, err)
	newcomer := n.Peers[len(n.Peers)-1]
	ok(t, n.JoinPeer(ctx, newcomer))
	submit(t, ctx, client, "second")
	peer, err := newcomer.Client()
	ok(t, err)
	first, err := n.Peers[0].Client()
	ok(t, err)
	until(t, ctx, 20*time.Second, func() error {
		here, err := peer.Height(ctx, "trade")
		if err != nil {
			return err
		}
		there, err := first.Height(ctx, "trade")
		if err != nil {
			return err
		}
		if here.Blocks != there.Blocks || !bytes.Equal(here.Hash, there.Hash) {
			return fmt.Errorf("%d of %d blocks", here.Blocks, there.Blocks)
		}
		return nil
	})
	if got := len(config.Channel.ApplicationOrgs); got != 3 {
		t.Errorf("%d organisations", got)
	}
	if _, err := n.Update(ctx, func(c channelconfig.Channel) (channelconfig.Channel, error) { return c, nil }); !errors.Is(err, channelconfig.ErrNoChange) {
		t.Errorf("no change: %v", err)
	}
	config, err = n.Update(ctx, func(c channelconfig.Channel) (channelconfig.Channel, error) { return c.RemoveApplicationOrg(org.MSPID) })
	ok(t, err)
	if got := len(config.Channel.ApplicationOrgs); got != 2 {
		t.Errorf("%d organisations", got)
	}
	submit(t, ctx, client, "third")
}

// TestConsenters grows and shrinks both kinds of consensus, one consenter per
// update, and takes the leader out.
func TestConsenters(t *testing.T) {
	for name, test := range map[string]struct {
		kind channelconfig.Consensus
		from int
		to   int
	}{"raft": {channelconfig.Raft, 3, 5}, "bft": {channelconfig.BFT, 4, 5}} {
		t.Run(name, func(t *testing.T) {
			ctx, n, client := deployed(t, bare.Options{Consensus: test.kind, Orderers: test.from})
			for len(n.Orderers) < test.to {
				begun := time.Now()
				addOrderer(t, ctx, n, test.kind)
				t.Logf("orderer %d is a consenter after %s", len(n.Orderers), time.Since(begun))
				submit(t, ctx, client, fmt.Sprintf("grown%d", len(n.Orderers)))
			}
			for len(n.Orderers) > test.from {
				begun := time.Now()
				leader := removeLeader(t, ctx, n)
				submit(t, ctx, client, fmt.Sprintf("shrunk%d", len(n.Orderers)))
				t.Logf("without its leader %s the channel committed again after %s", leader, time.Since(begun))
			}
		})
	}
}

// addOrderer starts an orderer, has it follow, and then makes it a consenter.
func addOrderer(t *testing.T, ctx context.Context, n *bare.Network, kind channelconfig.Consensus) {
	t.Helper()
	o, err := n.AddOrderer(ctx)
	ok(t, err)
	client, err := n.Orderers[0].Client(n.OrdererOrg)
	ok(t, err)
	newest, err := client.ConfigBlock(ctx, "trade")
	ok(t, err)
	ok(t, n.JoinOrderer(ctx, o, newest))
	p, err := o.Participation()
	ok(t, err)
	defer p.Close()
	until(t, ctx, time.Minute, func() error {
		info, err := p.Info(ctx, "trade")
		if err != nil {
			return err
		}
		if info.Relation != admin.Follower || info.Status != admin.Active {
			return fmt.Errorf("%+v", info)
		}
		return nil
	})
	_, err = n.Update(ctx, func(c channelconfig.Channel) (channelconfig.Channel, error) {
		consenter, err := o.Consenter()
		if err != nil {
			return c, err
		}
		if c, err = c.AddConsenter(consenter); err != nil {
			return c, err
		}
		return c.SetEndpoints(n.OrdererOrg.MSPID, append(c.OrdererOrgs[0].Endpoints, o.Address))
	})
	ok(t, err)
	caughtUp(t, ctx, n, o, kind)
}

// removeLeader takes the leader out of the channel and stops it.
func removeLeader(t *testing.T, ctx context.Context, n *bare.Network) string {
	t.Helper()
	var leader *bare.Orderer
	until(t, ctx, 30*time.Second, func() (err error) { leader, err = n.Leader(ctx); return err })
	address, err := channelconfig.ParseAddress(leader.Address)
	ok(t, err)
	_, err = n.Update(ctx, func(c channelconfig.Channel) (channelconfig.Channel, error) {
		c, err := c.RemoveConsenter(address)
		if err != nil {
			return c, err
		}
		return c.SetEndpoints(n.OrdererOrg.MSPID, slices.DeleteFunc(slices.Clone(c.OrdererOrgs[0].Endpoints), func(e string) bool { return e == leader.Address }))
	})
	ok(t, err)
	// Under BFT a leader that was removed does not learn of it: the others cut
	// it off before they have told it. So that is not waited for.
	leave(t, ctx, leader)
	leader.Stop()
	n.Orderers = slices.DeleteFunc(n.Orderers, func(o *bare.Orderer) bool { return o == leader })
	return leader.Name
}

// TestRenewConsenter replaces an orderer's certificates: with the same key they
// need no update under Raft, with another key the update goes first.
func TestRenewConsenter(t *testing.T) {
	for name, test := range map[string]struct {
		kind     channelconfig.Consensus
		orderers int
	}{"raft": {channelconfig.Raft, 3}, "bft": {channelconfig.BFT, 4}} {
		t.Run(name, func(t *testing.T) {
			ctx, n, client := deployed(t, bare.Options{Consensus: test.kind, Orderers: test.orderers})
			node := n.Orderers[1]
			renew := func(leaf bare.Leaf, update bool) {
				t.Helper()
				if update {
					_, err := n.Update(ctx, func(c channelconfig.Channel) (channelconfig.Channel, error) {
						consenter, err := node.Consenter()
						if err != nil {
							return c, err
						}
						consenter.Identity, consenter.ClientTLS, consenter.ServerTLS = leaf.Sign, leaf.TLS, leaf.TLS
						return c.ReplaceConsenter(consenter)
					})
					ok(t, err)
				}
				ok(t, node.SetLeaf(leaf))
				ok(t, node.Restart(ctx))
				submit(t, ctx, client, fmt.Sprintf("renewed%x", leaf.TLS[100:110]))
				caughtUp(t, ctx, n, node, test.kind)
			}
			same, err := n.OrdererOrg.Reissue(node.Name, pki.RoleOrderer, node.Leaf.Key)
			ok(t, err)
			// BFT pins the enrolment certificate itself, whatever its key.
			renew(same, test.kind == channelconfig.BFT)
			other, err := n.OrdererOrg.Issue(node.Name, pki.RoleOrderer)
			ok(t, err)
			renew(other, true)
		})
	}
}

// caughtUp waits until an orderer is a consenter at the height of the others.
func caughtUp(t *testing.T, ctx context.Context, n *bare.Network, node *bare.Orderer, kind channelconfig.Consensus) {
	t.Helper()
	p, err := node.Participation()
	ok(t, err)
	defer p.Close()
	client, err := n.Orderers[0].Client(n.OrdererOrg)
	ok(t, err)
	begun := time.Now()
	until(t, ctx, time.Minute, func() error {
		info, err := p.Info(ctx, "trade")
		if err != nil {
			return err
		}
		newest, err := client.Newest(ctx, "trade")
		if err != nil {
			return err
		}
		if info.Relation != admin.Consenter || !kind.CaughtUp(info.Height, newest.GetHeader().GetNumber()+1) {
			return fmt.Errorf("%+v of %d", info, newest.GetHeader().GetNumber()+1)
		}
		return nil
	})
	t.Logf("%s caught up after %s", node.Name, time.Since(begun))
}
