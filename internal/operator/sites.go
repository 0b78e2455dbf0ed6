package operator

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"strings"

	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"

	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/controller/channel"
	"heddle.dev/heddle/internal/controller/partner"
	"heddle.dev/heddle/internal/controller/proposal"
	"heddle.dev/heddle/internal/controller/site"
	"heddle.dev/heddle/internal/controller/siteinvite"
	"heddle.dev/heddle/internal/controller/sitelink"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/link/documents"
)

// sites is what speaks to other sites: documents of further kinds are given to server, and sent by client.
type sites struct {
	holder *link.Holder
	server *link.Server
	client *link.Client
}

// registerSites adds the controllers of this site and its partners, and the servers that partners call.
func registerSites(mgr ctrl.Manager, cfg Config, recorder events.EventRecorder) (*sites, error) {
	s := &sites{holder: &link.Holder{}}
	s.client = link.NewClient(link.ClientOptions{Self: s.holder.Get, Dial: cfg.SiteDial, Now: cfg.Now})
	invites := siteinvite.New(siteinvite.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Self: s.holder.Get, Now: cfg.Now,
	})
	links := sitelink.New(sitelink.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Self: s.holder.Get, Partners: s.client, System: SystemNamespace,
		Now: cfg.Now,
	})
	local := site.New(site.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Holder: s.holder, System: SystemNamespace, Links: cfg.Links,
		NewID: newSiteID, Overlap: cfg.CAOverlap, Settle: cfg.CASettle, Now: cfg.Now,
	})
	for _, c := range []interface{ Register(ctrl.Manager) error }{local, invites, links} {
		if err := c.Register(mgr); err != nil {
			return nil, fmt.Errorf("add %T: %w", c, err)
		}
	}
	s.server = link.NewServer(link.ServerOptions{
		Self: s.holder.Get, Partners: sitelink.Directory(mgr.GetClient()), Invitations: invites, Now: cfg.Now,
		Sequences: sitelink.NewSequences(mgr.GetClient(), mgr.GetAPIReader(), SystemNamespace),
		Listen: func(ctx context.Context) (net.Listener, net.Listener, error) {
			return listenForSites(ctx, cfg.JoinAddress, cfg.SiteAddress)
		},
		Note: func(ctx context.Context, who, reason string) {
			ctrl.LoggerFrom(ctx).Info("Call of another site refused", "from", who, "reason", reason)
		},
	})
	links.Serve(s.server)
	if cfg.JoinAddress == "0" || cfg.SiteAddress == "0" {
		return s, nil
	}
	if err := mgr.Add(s.server); err != nil {
		return nil, fmt.Errorf("add the server for other sites: %w", err)
	}
	return s, nil
}

// shareNetworks has the controllers of networks over several sites, and gives them their documents.
func shareNetworks(
	mgr ctrl.Manager, cfg Config, recorder events.EventRecorder, s *sites, channels *channel.Reconciler, nodes *access.Nodes,
) []interface{ Register(ctrl.Manager) error } {
	proposals := proposal.New(proposal.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Channels: channels, Sender: s.client, Now: cfg.Now,
	})
	partners := partner.New(partner.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Nodes: nodes, Sender: s.client, System: SystemNamespace, Now: cfg.Now,
	})
	s.server.Handle(documents.KindDescriptor, partners.Receive)
	s.server.Handle(documents.KindProposal, proposals.ReceiveProposal)
	s.server.Handle(documents.KindSignature, proposals.ReceiveSignature)
	return []interface{ Register(ctrl.Manager) error }{proposals, partners}
}

func listenForSites(ctx context.Context, join, api string) (net.Listener, net.Listener, error) {
	var l net.ListenConfig
	first, err := l.Listen(ctx, "tcp", join)
	if err != nil {
		return nil, nil, err
	}
	second, err := l.Listen(ctx, "tcp", api)
	if err != nil {
		_ = first.Close()
		return nil, nil, err
	}
	return first, second, nil
}

// newSiteID makes one of 45 bits that starts with a letter.
func newSiteID() string { return "s" + strings.ToLower(rand.Text()[:9]) }
