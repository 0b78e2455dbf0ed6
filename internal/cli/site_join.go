package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli/output"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/specs"
)

const (
	defaultInvite = 15 * time.Minute
	longestInvite = 7 * 24 * time.Hour
	maxTyped      = 8192
)

func (a *app) siteInviteCommand() *cobra.Command {
	var expires, timeout time.Duration
	c := &cobra.Command{
		Use:   "invite NAME",
		Short: "Invite another site: print a token for it, once",
		Long: `Prints a token that one other site can use once, until it expires. NAME is how the partner is called here. Pass the token on
by a way that you trust: who has it can try to join in the other's place, which the six digits show. It is shown this once.`,
		Example:           a.text("  %[1]s site invite bank-b\n  %[1]s site invite bank-b --expires 1h -o json | jq -r .token"),
		Args:              arguments(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			if expires < time.Minute || expires > longestInvite {
				return usageErrorf("--expires %s: give between 1m and %s", expires, longestInvite)
			}
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			return a.siteInvite(ctx, args[0], expires)
		},
	}
	c.Flags().DurationVar(&expires, "expires", defaultInvite, "how long the token can be used")
	c.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait until the operator takes the token")
	return c
}

// issuedToken is what site invite prints for programs.
type issuedToken struct {
	Name      string    `json:"name"`
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expiresAt"`
}

func (a *app) siteInvite(ctx context.Context, name string, expires time.Duration) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	site, err := a.localSite(ctx, cl)
	if err != nil {
		return err
	}
	if site.Status.Pin == "" || site.Status.SiteID == "" {
		return notReadyErrorf("the site has no CA yet: %s", readinessOf(site).Message)
	}
	end := time.Now().Add(expires).UTC().Truncate(time.Second)
	token := link.Token{
		Version: link.Version, SiteID: site.Status.SiteID, DisplayName: site.Spec.DisplayName, Endpoints: site.Spec.Endpoints,
		Pin: site.Status.Pin, Code: link.NewCode(), Expires: end.Unix(),
	}
	text, err := token.Encode()
	if err != nil {
		return err
	}
	invite := &v1alpha1.SiteInvite{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.SiteInviteSpec{CodeHash: link.HashCode(token.Code), ExpiresAt: ptr.To(metav1.NewTime(end))},
	}
	if err := cl.Create(ctx, invite, fieldOwner); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("invite %q: there is an invitation of that name: delete it first ('kubectl delete siteinvite %s')", name, name)
		}
		return fmt.Errorf("invite %q: %w", name, err)
	}
	if err := cl.waitReady(ctx, invite, &v1alpha1.SiteInviteList{}, func(string) {}); err != nil {
		return err
	}
	return a.print(output.Document{
		Value: issuedToken{Name: name, Token: text, ExpiresAt: end}, Names: namesOf(cl.Scheme(), invite), Table: func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s\n\nThis token can be used once, until %s. At the other site: %s site join TOKEN\n"+
				"Then have the six digits read out to you that are shown there: %s site approve %s\n", text, end.Local().Format(time.DateTime), a.program, a.program, name)
			return err
		},
	})
}

// siteJoinFlags are the flags of site join.
type siteJoinFlags struct {
	name    string
	timeout time.Duration
}

func (a *app) siteJoinCommand() *cobra.Command {
	f := &siteJoinFlags{}
	c := &cobra.Command{
		Use:   "join TOKEN|-",
		Short: "Use another site's token, and show the six digits",
		Long: `Uses a token that another site issued. Both sites show six digits afterwards: read them out to a person at the other site, who
enters them there; if they are not the same, somebody else used the token. With - the token is read from standard input,
which keeps it out of the shell's history.`,
		Example:           a.text("  %[1]s site join - < token\n  %[1]s site join TOKEN --name bank-a"),
		Args:              arguments(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			text := args[0]
			if text == "-" {
				raw, err := io.ReadAll(io.LimitReader(a.in, maxTyped))
				if err != nil {
					return fmt.Errorf("read token: %w", err)
				}
				text = string(raw)
			}
			ctx, cancel := context.WithTimeout(c.Context(), f.timeout)
			defer cancel()
			return a.siteJoin(ctx, f, text)
		},
	}
	c.Flags().StringVar(&f.name, "name", "", "how the partner is called here (from what it calls itself unless given)")
	c.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "how long to wait for the other site")
	return c
}

func (a *app) siteJoin(ctx context.Context, f *siteJoinFlags, text string) error {
	token, err := link.ParseToken(text)
	if err != nil {
		return withCode(ExitUsage, err)
	}
	name := f.name
	if name == "" {
		name = linkName(token)
	}
	cl, err := a.connect()
	if err != nil {
		return err
	}
	if _, err := a.localSite(ctx, cl); err != nil {
		return err
	}
	if err := cl.makeJoin(ctx, name, token); err != nil {
		return err
	}
	l := &v1alpha1.SiteLink{}
	err = a.progress().Step(ctx, "use the token", func(ctx context.Context, note func(string)) error {
		return cl.untilLink(ctx, name, l, note, func() bool { return l.Status.Check != "" })
	})
	if err != nil {
		return err
	}
	return a.print(output.Document{Value: cl.object(l), Names: namesOf(cl.Scheme(), l), Table: func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s\n\nRead these digits out to a person at %s, who enters them there. Partner %q is Up then.\n", l.Status.Check, calls(l), name)
		return err
	}})
}

// makeJoin makes the SiteLink and the Secret with its code.
func (c *cluster) makeJoin(ctx context.Context, name string, token link.Token) error {
	l := &v1alpha1.SiteLink{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.SiteLinkSpec{
			SiteID: token.SiteID, DisplayName: token.DisplayName, Endpoints: token.Endpoints,
			Join: &v1alpha1.SiteLinkJoin{Pin: token.Pin, CodeSecret: specs.JoinSecret(name)},
		},
	}
	if err := c.Create(ctx, l, client.DryRunAll); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("join as %q: there is a partner of that name: give another one with --name, or delete it first ('kubectl delete sitelink %s')", name, name)
		}
		return fmt.Errorf("join as %q: %w", name, err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: specs.JoinSecret(name), Namespace: specs.SystemNamespace, Labels: map[string]string{labelPartOf: partOf}},
		Data:       map[string][]byte{specs.KeyJoinCode: []byte(token.Code)},
	}
	if err := c.Create(ctx, secret, fieldOwner); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("join as %q: Secret %q is left over in namespace %q: delete it first, or give another --name", name, secret.Name, secret.Namespace)
		}
		return fmt.Errorf("keep the code: %w", err)
	}
	l.ResourceVersion, l.UID = "", ""
	if err := c.Create(ctx, l, fieldOwner); err != nil {
		return errors.Join(fmt.Errorf("join as %q: %w", name, err), client.IgnoreNotFound(c.Delete(ctx, secret)))
	}
	return nil
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// maxLinkName is what a SiteLink's name may have.
const maxLinkName = 24

// linkName makes a name of what a site calls itself.
func linkName(t link.Token) string {
	name := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(t.DisplayName), "-"), "-")
	if name == "" || name[0] < 'a' || len(name) > maxLinkName {
		return t.SiteID
	}
	return name
}

// calls is how people know a partner.
func calls(l *v1alpha1.SiteLink) string {
	if l.Spec.DisplayName != "" {
		return fmt.Sprintf("%q", l.Spec.DisplayName)
	}
	return l.Spec.SiteID
}

// untilLink waits for something of a SiteLink. One that is stalled ends the wait.
func (c *cluster) untilLink(ctx context.Context, name string, l *v1alpha1.SiteLink, note func(string), done func() bool) error {
	var last readiness
	err := c.until(ctx, &v1alpha1.SiteLinkList{}, []client.ListOption{client.MatchingFields{"metadata.name": name}}, func(ctx context.Context) (bool, error) {
		if err := c.Get(ctx, client.ObjectKey{Name: name}, l); err != nil {
			return false, fmt.Errorf("read partner %q: %w", name, err)
		}
		if done() {
			return true, nil
		}
		last = readinessOf(l)
		note(last.Message)
		if last.Stalled {
			return false, notReadyErrorf("partner %q is stalled (%s): %s", name, last.Reason, last.Message)
		}
		return false, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return notReadyErrorf("partner %q did not get that far in time (%s): %s", name, last.Reason, last.Message)
	}
	return err
}

func (a *app) siteApproveCommand() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "approve NAME [DIGITS]",
		Short: "Approve a site with the six digits that it read out",
		Long: `Makes a site that used an invitation a partner. DIGITS are the six digits as a person at the other site read them out, over
the telephone say; without them they are asked for. Never take them from this site's own status: that they are the same is
what proves that nobody else used the token. Wrong ones void the invitation for good.`,
		Example:           a.text("  %[1]s site approve bank-b 731-204\n  %[1]s site approve bank-b"),
		Args:              arguments(1, 2),
		ValidArgsFunction: a.completeLinks,
		RunE: func(c *cobra.Command, args []string) error {
			typed := ""
			if len(args) == 2 {
				typed = args[1]
			}
			return a.siteApprove(c.Context(), args[0], typed, timeout)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait for the partner")
	return c
}

var digitsPattern = regexp.MustCompile(`^([0-9]{3})[- ]?([0-9]{3})$`)

func (a *app) siteApprove(ctx context.Context, name, typed string, timeout time.Duration) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	l, err := a.getLink(ctx, cl, name)
	if err != nil {
		return err
	}
	if l.Spec.Join != nil {
		return usageErrorf("partner %q invited this site: it is approved there", name)
	}
	if typed == "" {
		fmt.Fprintf(a.err, "six digits that %s reads out: ", calls(l))
		line, err := bufio.NewReader(io.LimitReader(a.in, maxTyped)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read digits: %w", err)
		}
		typed = line
	}
	digits := digitsPattern.FindStringSubmatch(strings.TrimSpace(typed))
	if digits == nil {
		return usageErrorf("six digits are needed, such as 731-204")
	}
	before := l.DeepCopy()
	l.Spec.Check = digits[1] + "-" + digits[2]
	if err := cl.Patch(ctx, l, client.MergeFrom(before), fieldOwner); err != nil {
		return fmt.Errorf("approve %q: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = a.progress().Step(ctx, "wait for the partner", func(ctx context.Context, note func(string)) error {
		return cl.untilLink(ctx, name, l, note, func() bool { return l.Status.State == v1alpha1.LinkUp })
	})
	if err != nil {
		return err
	}
	return a.printLink(cl, l, "partner %q is up\n")
}

func (a *app) siteRevokeCommand() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "revoke NAME",
		Short: "End a partnership, at once and for good",
		Long: `Ends the partnership with a site: its tunnels are cut in both directions, its documents are refused, and it is told. What it
has on a common ledger stays there. There is no way back but a new invitation.`,
		Example:           a.text("  %[1]s site revoke bank-b"),
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeLinks,
		RunE: func(c *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			return a.siteRevoke(ctx, args[0])
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait for the operator")
	return c
}

func (a *app) siteRevoke(ctx context.Context, name string) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	l, err := a.getLink(ctx, cl, name)
	if err != nil {
		return err
	}
	before := l.DeepCopy()
	l.Spec.Partnership = v1alpha1.PartnershipRevoked
	if err := cl.Patch(ctx, l, client.MergeFrom(before), fieldOwner); err != nil {
		return fmt.Errorf("revoke %q: %w", name, err)
	}
	err = cl.untilLink(ctx, name, l, func(string) {}, func() bool { return l.Status.State == v1alpha1.LinkRevoked })
	if err != nil {
		return err
	}
	return a.printLink(cl, l, "the partnership with %q is over\n")
}

func (a *app) printLink(cl *cluster, l *v1alpha1.SiteLink, format string) error {
	return a.print(output.Document{Value: cl.object(l), Names: namesOf(cl.Scheme(), l), Table: func(w io.Writer) error {
		_, err := fmt.Fprintf(w, format, l.Name)
		return err
	}})
}

func (a *app) getLink(ctx context.Context, cl *cluster, name string) (*v1alpha1.SiteLink, error) {
	l := &v1alpha1.SiteLink{}
	err := cl.Get(ctx, client.ObjectKey{Name: name}, l)
	if apierrors.IsNotFound(err) {
		return nil, notFoundErrorf("there is no partner %q: '%s site list' lists what there is", name, a.program)
	}
	if err != nil {
		return nil, fmt.Errorf("read partner %q: %w", name, err)
	}
	return l, nil
}

// completeLinks offers the names of partners.
func (a *app) completeLinks(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	var list v1alpha1.SiteLinkList
	if len(args) > 0 || !a.completionList(c.Context(), &list) {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for i := range list.Items {
		if strings.HasPrefix(list.Items[i].Name, prefix) {
			names = append(names, list.Items[i].Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
