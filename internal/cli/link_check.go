package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli/output"
	"heddle.dev/heddle/internal/link/check"
	"heddle.dev/heddle/internal/specs"
)

// linkFinding is what one step in one network came to.
type linkFinding struct {
	Network string `json:"network,omitempty"`
	check.Result
}

// stepPartnership is the step before all others: whether there is a partner to go to.
const stepPartnership = "partnership"

func (a *app) linkCheckCommand() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "check PARTNER",
		Short: "Go the way to a partner's nodes step by step, and say where it ends",
		Long: `Starts a pod in each network that is linked with the partner, or in that of --namespace. It goes the way of the link, with
its keys and under its network policies: DNS, TCP, outer TLS, the partner's consent, and for each imported node the inner SNI,
the node's certificate and a call of Fabric's. Each step has a tick or a cross, and a cross a remedy. The exit code is 3 if
a step failed.`,
		Example:           a.text("  %[1]s link check bank-b\n  %[1]s link check bank-b -n trade -o json"),
		Args:              arguments(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			return a.linkCheck(ctx, args[0])
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait")
	return c
}

func (a *app) linkCheck(ctx context.Context, partner string) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	link, err := cl.getSiteLink(ctx, partner)
	if err != nil {
		return err
	}
	findings := []linkFinding{partnership(link)}
	deployments, err := cl.linkDeployments(ctx, partner, *a.kube.Namespace)
	if err != nil {
		return err
	}
	if len(deployments) == 0 {
		findings = append(findings, linkFinding{Result: check.Result{
			Step: "link", Subject: partner, State: check.Failed, Detail: "no network is linked with this partner",
			Remedy: fmt.Sprintf("'%s node export' or '%s node import' links one, once both sites agreed", a.program, a.program),
		}})
	}
	for i := range deployments {
		err := a.progress().Step(ctx, "check "+deployments[i].Namespace, func(ctx context.Context, note func(string)) error {
			more, err := cl.checkLink(ctx, link, &deployments[i], note)
			findings = append(findings, more...)
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := a.print(output.Document{Value: findings, Table: func(w io.Writer) error { return drawFindings(w, findings) }}); err != nil {
		return err
	}
	if slices.ContainsFunc(findings, func(f linkFinding) bool { return f.State == check.Failed }) {
		return withCode(ExitNotReady, errSilent)
	}
	return nil
}

// partnership says whether both sites agreed and see each other.
func partnership(l *v1alpha1.SiteLink) linkFinding {
	f := linkFinding{Result: check.Result{Step: stepPartnership, Subject: l.Name, State: check.OK, Detail: string(l.Status.State)}}
	if l.Status.State == v1alpha1.LinkUp {
		return f
	}
	r := readinessOf(l)
	f.State, f.Detail = check.Failed, strings.TrimSpace(fmt.Sprintf("%s: %s", dash(string(l.Status.State)), r.Message))
	switch l.Status.State {
	case v1alpha1.LinkRevoked:
		f.Remedy = "a revoked partnership does not come back: delete the SiteLink and invite the site again"
	case v1alpha1.LinkDown:
		f.Remedy = "the steps below say where the way ends"
	default:
		f.Remedy = "finish the invitation: 'heddle site list' says what is missing"
	}
	return f
}

// linkDeployments are those of a partner's links, in one namespace or in all.
func (c *cluster) linkDeployments(ctx context.Context, partner, namespace string) ([]appsv1.Deployment, error) {
	var list appsv1.DeploymentList
	err := c.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels{
		v1alpha1.LabelLink: partner, v1alpha1.LabelComponent: v1alpha1.ComponentLink,
	})
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	return list.Items, nil
}

// checkLink runs the check in one network.
func (c *cluster) checkLink(ctx context.Context, link *v1alpha1.SiteLink, d *appsv1.Deployment, note func(string)) ([]linkFinding, error) {
	req, err := c.checkRequest(ctx, link, d.Namespace)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	pod := specs.LinkCheckPod(d, string(raw))
	if err := c.Create(ctx, pod, fieldOwner); err != nil {
		return nil, fmt.Errorf("start a pod for the check in %q: %w", d.Namespace, err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = c.Delete(ctx, pod, client.GracePeriodSeconds(0)) // it ends by itself, too
	}()
	text, err := c.resultOfPod(ctx, pod, note)
	if err != nil {
		return nil, err
	}
	var results []check.Result
	if err := json.Unmarshal(text, &results); err != nil {
		return nil, fmt.Errorf("read what the check in %q found: %w: %s", d.Namespace, err, firstWords(text))
	}
	var out []linkFinding
	for _, r := range results {
		out = append(out, linkFinding{Network: d.Namespace, Result: r})
	}
	return out, nil
}

// checkRequest says where to go: to the partner's endpoints, and on to the nodes that are imported.
func (c *cluster) checkRequest(ctx context.Context, link *v1alpha1.SiteLink, network string) (check.Request, error) {
	var site v1alpha1.Site
	if err := c.Get(ctx, client.ObjectKey{Name: v1alpha1.SiteName}, &site); err != nil {
		return check.Request{}, fmt.Errorf("read Site: %w", err)
	}
	req := check.Request{Endpoints: link.Spec.Endpoints, Name: specs.OuterSNI(network, site.Status.SiteID, link.Spec.SiteID)}
	var imports v1alpha1.NodeImportList
	if err := c.List(ctx, &imports, client.InNamespace(network)); err != nil {
		return check.Request{}, fmt.Errorf("list NodeImports: %w", err)
	}
	for i := range imports.Items {
		n := &imports.Items[i]
		if n.Spec.Link != link.Name {
			continue
		}
		roots := n.Spec.TLSRoots
		if roots == "" {
			var err error
			if roots, err = c.rootsOfMSP(ctx, network, n.Spec.MSPID); err != nil {
				return check.Request{}, err
			}
		}
		req.Nodes = append(req.Nodes, check.Node{Name: specs.Host(n.Name, network), Roots: roots})
	}
	return req, nil
}

// rootsOfMSP finds what verifies the nodes of an organization that is known here; empty if none is.
func (c *cluster) rootsOfMSP(ctx context.Context, network, mspID string) (string, error) {
	var list v1alpha1.OrganizationList
	if err := c.List(ctx, &list, client.InNamespace(network)); err != nil {
		return "", fmt.Errorf("list organizations: %w", err)
	}
	for i := range list.Items {
		if list.Items[i].Spec.MSPID != mspID {
			continue
		}
		var cm corev1.ConfigMap
		err := c.Get(ctx, client.ObjectKey{Namespace: network, Name: specs.MSPConfigMap(list.Items[i].Name)}, &cm)
		return cm.Data[specs.KeyTLSRoots], client.IgnoreNotFound(err)
	}
	return "", nil
}

// maxCheckLog bounds what a check may say.
const maxCheckLog = 1 << 20

// resultOfPod waits for the end of a pod and returns what it said.
func (c *cluster) resultOfPod(ctx context.Context, pod *corev1.Pod, note func(string)) ([]byte, error) {
	note("waiting for pod " + pod.Name)
	key := client.ObjectKeyFromObject(pod)
	opts := []client.ListOption{client.InNamespace(key.Namespace), client.MatchingFields{"metadata.name": key.Name}}
	err := c.until(ctx, &corev1.PodList{}, opts, func(ctx context.Context) (bool, error) {
		if err := c.Get(ctx, key, pod); err != nil {
			return false, fmt.Errorf("read pod of the check: %w", err)
		}
		return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, notReadyErrorf("pod %s/%s of the check did not end in time: it is %s", key.Namespace, key.Name, pod.Status.Phase)
	}
	if err != nil {
		return nil, err
	}
	stream, err := c.clientset.CoreV1().Pods(key.Namespace).GetLogs(key.Name, &corev1.PodLogOptions{}).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("read what pod %s/%s found: %w", key.Namespace, key.Name, err)
	}
	defer stream.Close()
	text, err := io.ReadAll(io.LimitReader(stream, maxCheckLog))
	if err != nil {
		return nil, fmt.Errorf("read what pod %s/%s found: %w", key.Namespace, key.Name, err)
	}
	return text, nil
}

func firstWords(text []byte) string {
	const most = 200
	return strings.TrimSpace(string(text[:min(len(text), most)]))
}

// drawFindings writes a tick or a cross for each step, and below a cross what to do.
func drawFindings(w io.Writer, findings []linkFinding) error {
	signs := map[string]string{check.OK: "✓", check.Failed: "✗", check.Skipped: "-"}
	var rows [][]string
	for _, f := range findings {
		detail := f.Detail
		if f.State == check.Skipped {
			detail = "not tried"
		}
		rows = append(rows, []string{signs[f.State], dash(f.Network), f.Step, f.Subject, detail})
		if f.Remedy != "" {
			rows = append(rows, []string{"", "", "", "", "-> " + f.Remedy})
		}
	}
	return output.Table(w, []string{"", "NETWORK", "STEP", "WHERE", "WHAT"}, rows)
}
