package differential

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"testing"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"golang.org/x/sync/errgroup"

	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/gateway"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/fabric/nodeenv"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/test/bare"
)

// The channels: all of both organisations on the first; on the other one
// organisation only, with rules of its own.
const (
	trade = "trade"
	side  = "side"
)

// maxBytes is the most that an envelope may have on the channels.
const maxBytes = 1 << 20

// lab is the network that all cases share.
type lab struct {
	*bare.Network
	// simulated nodes say so themselves.
	simulated    bool
	peerA, peerB *bare.Peer
	orderer      *bare.Orderer
	// spare is an orderer of no channel.
	spare *bare.Orderer
	// Who calls. All but the last four are as they should be.
	clientA, clientB, adminA, adminB, clientOrd *identity.Identity
	// stranger is of no organisation of the channels, impostor says he is of
	// banka, the others were of bankb and banka.
	stranger, impostor, revoked, expired *identity.Identity
	// peerIDs sign as the peers do.
	idA, idB *identity.Identity
	// packages of both contracts.
	probe, other string
	ledgers      []*ledger
	sideBlock    *cb.Block
}

func openLab(ctx context.Context, t *testing.T, programs bare.Programs, contract string, peerEnv func(string) []nodeenv.Var) *lab {
	t.Helper()
	l := &lab{}
	began := time.Now()
	lap := func(what string) { t.Logf("%5.1f s: %s", time.Since(began).Seconds(), what) }
	n, err := bare.Start(ctx, programs, bare.Options{
		Dir: t.TempDir(), Consensus: channelconfig.Raft, Orderers: 1, Orgs: []string{"banka", "bankb"}, Channel: trade,
		Batch:  channelconfig.Batch{Timeout: 50 * time.Millisecond, MaxMessages: 20, AbsoluteMaxBytes: maxBytes, PreferredMaxBytes: maxBytes / 2},
		Change: l.revoke, PeerEnv: peerEnv,
	})
	ok(t, err)
	t.Cleanup(n.Close)
	l.Network, l.peerA, l.peerB, l.orderer = n, n.Peers[0], n.Peers[1], n.Orderers[0]
	lap("nodes are healthy")
	ok(t, l.enrol())
	ok(t, n.CreateChannel(ctx))
	ok(t, l.createSide(ctx))
	l.spare, err = n.AddOrderer(ctx)
	ok(t, err)
	lap("channels are made")
	ok(t, l.deploy(ctx, contract))
	lap("contracts are committed")
	for _, p := range n.Peers {
		follower := newLedger(p)
		l.ledgers = append(l.ledgers, follower)
		ok(t, follower.follow(ctx))
	}
	ok(t, l.settle(ctx))
	lap("both peers are found as endorsers")
	return l
}

// enrol makes everybody who calls.
func (l *lab) enrol() error {
	var err error
	one := func(org *bare.Org, name string, role pki.Role) *identity.Identity {
		leaf, issued := org.Issue(name, role)
		id, made := identity.New(org.MSPID, leaf.Sign, leaf.Key)
		err = errors.Join(err, issued, made)
		return id
	}
	banka, bankb := l.Orgs[0], l.Orgs[1]
	l.adminA, l.adminB = banka.Admin, bankb.Admin
	l.clientA, l.clientB = one(banka, "client-a", pki.RoleClient), one(bankb, "client-b", pki.RoleClient)
	l.clientOrd = one(l.OrdererOrg, "client-ord", pki.RoleClient)
	for _, p := range []struct {
		peer *bare.Peer
		id   **identity.Identity
	}{{l.peerA, &l.idA}, {l.peerB, &l.idB}} {
		id, made := identity.New(p.peer.Org.MSPID, p.peer.Leaf.Sign, p.peer.Leaf.Key)
		err = errors.Join(err, made)
		*p.id = id
	}
	strange, made := bare.NewOrg("strange")
	if made != nil {
		return made
	}
	l.stranger = one(strange, "stranger", pki.RoleClient)
	strange.MSPID = banka.MSPID
	l.impostor = one(strange, "impostor", pki.RoleClient)
	if err != nil {
		return err
	}
	now := time.Now()
	l.expired, err = issue(banka, "expired", now.Add(-8*time.Minute), time.Minute)
	return err
}

func issue(org *bare.Org, name string, now time.Time, life time.Duration) (*identity.Identity, error) {
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	return issueFor(org, name, key, now, life)
}

func issueFor(org *bare.Org, name string, key crypto.Signer, now time.Time, life time.Duration) (*identity.Identity, error) {
	cert, err := org.Ops.Enrol(pki.EnrolRequest{CommonName: name, Role: pki.RoleClient, Public: key.Public(), Lifetime: life, Now: now})
	if err != nil {
		return nil, err
	}
	return identity.New(org.MSPID, pki.EncodeCerts(cert), key)
}

// revoke makes an identity of bankb that its revocation list names.
func (l *lab) revoke(c *channelconfig.Channel) {
	if l.revoked != nil {
		return
	}
	org := l.Orgs[1]
	id, err := issue(org, "revoked", time.Now(), time.Hour)
	if err != nil {
		return // the cases that need it say so
	}
	cert, err := pki.ParseCert(id.Credentials())
	if err != nil {
		return
	}
	list, err := org.Ops.CRL([]pki.Revoked{{Serial: cert.SerialNumber, At: time.Now()}}, 1, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		return
	}
	l.revoked = id
	for i := range c.ApplicationOrgs {
		if c.ApplicationOrgs[i].MSPID == org.MSPID {
			c.ApplicationOrgs[i].MSP.CRLs = [][]byte{list}
		}
	}
}

// createSide makes the second channel: banka alone, only its administrators
// write, and some resources have rules other than the usual.
func (l *lab) createSide(ctx context.Context) error {
	c, err := l.Channel()
	if err != nil {
		return err
	}
	c.ID = side
	c.ApplicationOrgs = c.ApplicationOrgs[:1]
	c.ApplicationOrgs[0].Policies["Writers"] = channelconfig.Policy{Type: channelconfig.Signature, Rule: "OR('bankaMSP.admin')"}
	admins := "/Channel/Application/Admins"
	c.ACLs = map[string]string{"qscc/GetChainInfo": admins, "event/Block": admins, "cscc/GetConfigBlock": admins, "_lifecycle/QueryChaincodeDefinition": admins}
	if l.sideBlock, err = channelconfig.Genesis(c, time.Now()); err != nil {
		return err
	}
	if err := l.JoinOrderer(ctx, l.orderer, l.sideBlock); err != nil {
		return err
	}
	client, err := l.peerA.Client()
	if err != nil {
		return err
	}
	return client.Join(ctx, l.sideBlock)
}

// deploy takes all contracts through the life cycle. Some names share one
// program; two names have programs of their own, for calls between contracts.
func (l *lab) deploy(ctx context.Context, program string) error {
	group, serving := errgroup.WithContext(ctx)
	for name, id := range map[string]*string{"probe": &l.probe, "other": &l.other} {
		group.Go(func() (err error) {
			*id, err = l.Serve(serving, name, program)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	definitions := []admin.Definition{
		{Name: "probe", PackageID: l.probe},
		{Name: "other", PackageID: l.other},
		// One organisation's word is enough.
		{Name: "solo", PackageID: l.probe, Policy: "OR('bankaMSP.peer', 'bankbMSP.peer')"},
		// Nobody can meet this one.
		{Name: "ghost", PackageID: l.probe, Policy: "AND('bankaMSP.peer', 'ghostMSP.peer')"},
		{Name: "vault", PackageID: l.other, Policy: "OR('bankaMSP.peer', 'bankbMSP.peer')", Collections: []admin.Collection{
			{Name: "mine", Policy: "OR('bankaMSP.member')", MaxPeers: 1, MemberOnlyRead: true, MemberOnlyWrite: true},
			{Name: "ours", Policy: "OR('bankaMSP.member', 'bankbMSP.member')", RequiredPeers: 1, MaxPeers: 2},
			{Name: "brief", Policy: "OR('bankaMSP.member', 'bankbMSP.member')", MaxPeers: 1, BlockToLive: 2},
		}},
		{Name: "once", PackageID: l.probe, InitRequired: true},
		// Approved and committed without a package.
		{Name: "empty"},
	}
	for _, d := range definitions {
		group.Go(func() error {
			if err := l.Define(ctx, d); err != nil {
				return fmt.Errorf("define %s: %w", d.Name, err)
			}
			return nil
		})
	}
	group.Go(func() error {
		client, err := l.peerA.Client()
		if err != nil {
			return err
		}
		d := admin.Definition{Channel: side, Name: "probe", Version: "1", Sequence: 1, PackageID: l.probe}
		if err := bare.Eventually(ctx, func() error { return client.Approve(ctx, d) }); err != nil {
			return err
		}
		return client.CommitRetry(ctx, d, 50*time.Millisecond)
	})
	return group.Wait()
}

// settle waits until gossip has told every peer of the other's contracts.
func (l *lab) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, p := range l.Peers {
		client, err := l.Client(p)
		if err != nil {
			return err
		}
		defer client.Close() //nolint:errcheck // nothing is under way
		for _, contract := range []string{"probe", "other"} {
			call := gateway.Call{Channel: trade, Contract: contract, Function: "put", Args: [][]byte{[]byte("settled"), []byte(p.Name)}}
			err := bare.Eventually(ctx, func() error {
				_, err := client.Submit(ctx, call)
				return err
			})
			if err != nil {
				return fmt.Errorf("wait for %s: %w", contract, err)
			}
		}
	}
	return nil
}
