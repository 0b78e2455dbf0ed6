package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli/output"
)

func (a *app) siteCommand() *cobra.Command {
	c := group("site", "Become partners with other clusters", a.siteInitCommand(), a.siteInviteCommand(), a.siteJoinCommand(),
		a.siteApproveCommand(), a.siteListCommand(), a.siteRevokeCommand(), a.siteRotateCommand())
	c.Aliases = []string{"sites"}
	c.Example = a.text(`  # At both sites, once: which address partners reach the gateway at
  %[1]s site init --endpoint gateway.bank-a.example:443 --display-name "Bank A"

  # Bank A invites; the token is given to bank B by a way that both trust
  %[1]s site invite bank-b

  # Bank B uses it, and reads the six digits out to bank A
  %[1]s site join TOKEN

  # Bank A enters what it heard
  %[1]s site approve bank-b 731-204`)
	return c
}

// siteInitFlags are the flags of site init.
type siteInitFlags struct {
	endpoints []string
	name      string
	id        string
	service   string
	nodePort  int32
	image     string
	timeout   time.Duration
}

func (a *app) siteInitCommand() *cobra.Command {
	f := &siteInitFlags{}
	c := &cobra.Command{
		Use:   "init [--endpoint HOST:PORT]",
		Short: "Set this cluster up as a site that others can be partners with",
		Long: `Makes the Site of this cluster: its siteID, the CA that it proves itself with, and the gateway, whose one public port is all
that partners ever reach. The endpoint is where they reach it; leading it there (a firewall, a load balancer, a name) is up
to you. Running it again changes what is given, and nothing else.`,
		Example: a.text(`  %[1]s site init --endpoint gateway.bank-a.example:30443 --node-port 30443 --display-name "Bank A"
  %[1]s site init --endpoint gateway.bank-a.example:443 --service LoadBalancer`),
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return a.siteInit(c.Context(), f, c.Flags().Changed) },
	}
	fl := c.Flags()
	fl.StringArrayVar(&f.endpoints, "endpoint", nil, "public address of the gateway as HOST:PORT; repeat for others, the preferred one first (required for a new site)")
	fl.StringVar(&f.name, "display-name", "", "what people at the partners see")
	fl.StringVar(&f.id, "site-id", "", "name of the site in certificates, for good (a random one unless given)")
	fl.StringVar(&f.service, "service", string(v1alpha1.GatewayNodePort), "NodePort, LoadBalancer or ClusterIP: how the gateway is reached from outside")
	fl.Int32Var(&f.nodePort, "node-port", 0, "port on the cluster's machines, with --service NodePort (Kubernetes chooses one unless given)")
	fl.StringVar(&f.image, "image", "", "image of nginx (the installation's unless given)")
	fl.DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long to wait")
	complete(c, "service", []string{"NodePort", "LoadBalancer", "ClusterIP"})
	return c
}

func (f *siteInitFlags) site() *v1alpha1.Site {
	s := &v1alpha1.Site{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SiteName},
		Spec: v1alpha1.SiteSpec{
			SiteID: f.id, DisplayName: f.name, Endpoints: f.endpoints,
			Gateway: v1alpha1.SiteGateway{Service: v1alpha1.GatewayService(f.service), Image: f.image},
		},
	}
	if f.nodePort != 0 {
		s.Spec.Gateway.NodePort = &f.nodePort
	}
	return s
}

// keep takes what was not given now from the Site as it is: what is applied replaces all that was applied before.
func (f *siteInitFlags) keep(was *v1alpha1.Site, given func(flag string) bool) {
	f.id = cmp.Or(f.id, was.Spec.SiteID)
	if len(f.endpoints) == 0 {
		f.endpoints = was.Spec.Endpoints
	}
	if !given("display-name") {
		f.name = was.Spec.DisplayName
	}
	if !given("image") {
		f.image = was.Spec.Gateway.Image
	}
	if !given("service") {
		f.service = string(cmp.Or(was.Spec.Gateway.Service, v1alpha1.GatewayNodePort))
	}
	if !given("node-port") && f.service == string(v1alpha1.GatewayNodePort) {
		f.nodePort = ptr.Deref(was.Spec.Gateway.NodePort, 0)
	}
}

func (a *app) siteInit(ctx context.Context, f *siteInitFlags, given func(flag string) bool) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	was := &v1alpha1.Site{}
	if err := cl.Get(ctx, client.ObjectKey{Name: v1alpha1.SiteName}, was); err == nil {
		f.keep(was, given)
	} else if !apierrors.IsNotFound(err) {
		return fmt.Errorf("read Site: %w", err)
	}
	if len(f.endpoints) == 0 {
		return usageErrorf("--endpoint is required: the address at which partners reach this cluster's gateway, such as gateway.bank-a.example:443")
	}
	site := f.site()
	if err := cl.applySite(ctx, site.DeepCopy()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	err = a.progress().Step(ctx, "set up the site", func(ctx context.Context, note func(string)) error {
		return cl.waitReady(ctx, site, &v1alpha1.SiteList{}, note)
	})
	if err != nil {
		return err
	}
	return a.print(output.Document{Value: cl.object(site), Names: namesOf(cl.Scheme(), site), Table: func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "this cluster is site %s, reached at %s\n", site.Status.SiteID, strings.Join(site.Spec.Endpoints, ", "))
		return err
	}})
}

// applySite writes what was given and leaves the rest to others: the operator gives the site its siteID.
func (c *cluster) applySite(ctx context.Context, site *v1alpha1.Site) error {
	site.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Site"))
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(site)
	if err != nil {
		return fmt.Errorf("make Site: %w", err)
	}
	unstructured.RemoveNestedField(object, "status")
	err = c.Apply(ctx, client.ApplyConfigurationFromUnstructured(&unstructured.Unstructured{Object: object}), fieldOwner, client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("apply Site: %w", err)
	}
	return nil
}

// localSite reads the Site of this cluster.
func (a *app) localSite(ctx context.Context, cl *cluster) (*v1alpha1.Site, error) {
	site := &v1alpha1.Site{}
	err := cl.Get(ctx, client.ObjectKey{Name: v1alpha1.SiteName}, site)
	if apierrors.IsNotFound(err) {
		return nil, notFoundErrorf("this cluster is not set up as a site: run '%s site init --endpoint HOST:PORT' first", a.program)
	}
	if err != nil {
		return nil, fmt.Errorf("read Site: %w", err)
	}
	return site, nil
}

func (a *app) siteListCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "list",
		Short:             "List this site's partners and open invitations",
		Example:           a.text("  %[1]s site list\n  %[1]s site list -o json"),
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return a.siteList(c.Context()) },
	}
}

// siteListing is what site list prints for programs.
type siteListing struct {
	Site    *v1alpha1.Site        `json:"site,omitempty"`
	Invites []v1alpha1.SiteInvite `json:"invites"`
	Links   []v1alpha1.SiteLink   `json:"links"`
}

func (a *app) siteList(ctx context.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	var out siteListing
	site := &v1alpha1.Site{}
	err = cl.Get(ctx, client.ObjectKey{Name: v1alpha1.SiteName}, site)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read Site: %w", err)
	}
	var names []client.Object
	if err == nil {
		cl.object(site)
		out.Site = site
		names = append(names, site)
	}
	var invites v1alpha1.SiteInviteList
	var links v1alpha1.SiteLinkList
	if err := errors.Join(cl.List(ctx, &invites), cl.List(ctx, &links)); err != nil {
		return fmt.Errorf("list partners: %w", err)
	}
	var rows [][]string
	for i := range links.Items {
		l := &links.Items[i]
		names = append(names, cl.object(l))
		rows = append(rows, []string{
			l.Name, l.Spec.SiteID, dash(l.Spec.DisplayName), dash(string(l.Status.State)), dash(l.Status.Check), l.Spec.Endpoints[0], notReadyMessage(readinessOf(l)),
		})
	}
	for i := range invites.Items {
		v := &invites.Items[i]
		names = append(names, cl.object(v))
		if v.Status.State != v1alpha1.InviteUsed {
			rows = append(rows, []string{v.Name, "-", "-", "Invite" + string(v.Status.State), "-", "-", notReadyMessage(readinessOf(v))})
		}
	}
	out.Invites, out.Links = invites.Items, links.Items
	return a.print(output.Document{Value: out, Names: namesOf(cl.Scheme(), names...), Table: func(w io.Writer) error {
		if out.Site != nil {
			fmt.Fprintf(w, "this site: %s, %s\n", dash(site.Status.SiteID), strings.Join(site.Spec.Endpoints, ", "))
		}
		if len(rows) == 0 {
			_, err := fmt.Fprintln(w, "no partners")
			return err
		}
		return output.Table(w, []string{"NAME", "SITE", "CALLS ITSELF", "STATE", "CHECK", "ENDPOINT", "MESSAGE"}, rows)
	}})
}

func (a *app) siteRotateCommand() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Change the CA that this site proves itself with",
		Long: `Makes another CA for the gateway, tells all partners of it, and lets it take over when all of them trust it. The former one
stays trusted for a day. Links stay up meanwhile. Invitations that are open are of no use afterwards: they name the former CA.`,
		Example:           a.text("  %[1]s site rotate"),
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			return a.siteRotate(ctx)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait for the partners")
	return c
}

func (a *app) siteRotate(ctx context.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	site, err := a.localSite(ctx, cl)
	if err != nil {
		return err
	}
	// A change that is under way is waited for, not made twice.
	if site.Spec.CAGeneration <= site.Status.CAGeneration {
		before := site.DeepCopy()
		site.Spec.CAGeneration = site.Status.CAGeneration + 1
		if err := cl.Patch(ctx, site, client.MergeFrom(before), fieldOwner); err != nil {
			return fmt.Errorf("change Site: %w", err)
		}
	}
	want := site.Spec.CAGeneration
	err = a.progress().Step(ctx, "change the CA", func(ctx context.Context, note func(string)) error {
		return cl.until(ctx, &v1alpha1.SiteList{}, nil, func(ctx context.Context) (bool, error) {
			if err := cl.Get(ctx, client.ObjectKeyFromObject(site), site); err != nil {
				return false, err
			}
			note(readinessOf(site).Message)
			return site.Status.CAGeneration >= want, nil
		})
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return notReadyErrorf("the CA has not changed yet, and will when its partners know: %s", readinessOf(site).Message)
	}
	if err != nil {
		return fmt.Errorf("wait for the change of the CA: %w", err)
	}
	return a.print(output.Document{Value: cl.object(site), Names: namesOf(cl.Scheme(), site), Table: func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "site %s has CA %d, pin %s\n", site.Status.SiteID, site.Status.CAGeneration, site.Status.Pin)
		return err
	}})
}
