package harness

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/pki"
)

// OrdererBlock reads a block from one orderer, as the administrator of the orderer's organization.
func (c *Cluster) OrdererBlock(ctx context.Context, network, orderer, channelID string, number uint64) (*common.Block, error) {
	var out *common.Block
	err := c.withOrderer(ctx, network, orderer, func(o *admin.Orderer) error {
		var err error
		out, err = o.Block(ctx, channelID, number)
		return err
	})
	return out, err
}

// OrdererHeight is how many blocks of a channel one orderer has.
func (c *Cluster) OrdererHeight(ctx context.Context, network, orderer, channelID string) (uint64, error) {
	var height uint64
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	err := c.withOrderer(ctx, network, orderer, func(o *admin.Orderer) error {
		newest, err := o.Newest(ctx, channelID)
		height = newest.GetHeader().GetNumber() + 1
		return err
	})
	return height, err
}

// withOrderer lets use ask an orderer.
func (c *Cluster) withOrderer(ctx context.Context, network, orderer string, use func(*admin.Orderer) error) error {
	var o v1alpha1.Orderer
	if err := c.Get(ctx, client.ObjectKey{Namespace: network, Name: orderer}, &o); err != nil {
		return fmt.Errorf("read orderer %q: %w", orderer, err)
	}
	user, err := c.Admin(ctx, network, o.Spec.Organization)
	if err != nil {
		return err
	}
	roots, err := c.TLSRoots(ctx, network, o.Spec.Organization)
	if err != nil {
		return err
	}
	key, err := pki.ParseKey(user.Key)
	if err != nil {
		return fmt.Errorf("read administrator of %q: %w", o.Spec.Organization, err)
	}
	id, err := identity.New(user.MSPID, user.Cert, key)
	if err != nil {
		return fmt.Errorf("use administrator of %q: %w", o.Spec.Organization, err)
	}
	conn, err := admin.Target{
		Address: fmt.Sprintf("%s.%s:%d", orderer, network, v1alpha1.PortOrderer), ServerName: orderer + "." + network, Roots: roots,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { return c.Dial(ctx, address) },
	}.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	return use(admin.NewOrderer(conn, id, time.Now))
}

// LeaderOver finds the orderer that leads a channel whose consenters stand at several sites, and its site, waiting until
// there is exactly one.
func LeaderOver(ctx context.Context, network, channelID string, sites ...*Cluster) (leader string, at *Cluster, err error) {
	err = Poll(ctx, func(ctx context.Context) error {
		var claims []claim
		site := map[string]*Cluster{}
		for _, c := range sites {
			orderers, err := c.Orderers(ctx, network)
			if err != nil {
				return err
			}
			for _, o := range orderers {
				claims = append(claims, c.claim(ctx, network, o, channelID))
				site[o] = c
			}
		}
		leaders := leadersOf(claims)
		if len(leaders) != 1 {
			return fmt.Errorf("find leader of channel %q: %d orderers say that they lead: %q", channelID, len(leaders), leaders)
		}
		leader, at = leaders[0], site[leaders[0]]
		return nil
	})
	return leader, at, err
}

// Leader finds the orderer that leads a channel, waiting until there is exactly one.
func (c *Cluster) Leader(ctx context.Context, network, channelID string) (string, error) {
	leader, _, err := LeaderOver(ctx, network, channelID, c)
	return leader, err
}

// claim is what an orderer says about who leads a channel.
type claim struct {
	orderer string
	leads   bool
	// leader is the number of the leader in this orderer's view, where the kind of ordering tells it.
	leader float64
}

// claim asks an orderer; one that does not answer claims nothing.
func (c *Cluster) claim(ctx context.Context, network, orderer, channelID string) claim {
	label := fmt.Sprintf("channel=%q", channelID)
	out := claim{orderer: orderer}
	for _, m := range []string{"consensus_etcdraft_is_leader", "consensus_BFT_is_leader"} {
		if v, err := c.metricOf(ctx, network, orderer, m, label); err == nil && v == 1 {
			out.leads = true
		}
	}
	if v, err := c.metricOf(ctx, network, orderer, "consensus_BFT_leader_id", label); err == nil {
		out.leader = v
	}
	return out
}

// leadersOf lists the orderers that lead. One that was leader, was restarted and learned of the new view by copying
// blocks goes on saying that it leads, but alone: only those count whose idea of the leader most orderers share.
func leadersOf(claims []claim) []string {
	votes := map[float64]int{}
	for _, c := range claims {
		votes[c.leader]++
	}
	most := 0.0
	for leader, n := range votes {
		if n > votes[most] {
			most = leader
		}
	}
	var out []string
	for _, c := range claims {
		if c.leads && c.leader == most {
			out = append(out, c.orderer)
		}
	}
	return out
}
