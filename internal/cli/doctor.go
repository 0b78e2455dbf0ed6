package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"heddle.dev/heddle/internal/cli/output"
)

// findingState is how a check came out.
type findingState string

const (
	findingOK      findingState = "ok"
	findingWarning findingState = "warning"
	findingProblem findingState = "problem"
)

// finding is the outcome of one check.
type finding struct {
	Check  string       `json:"check"`
	State  findingState `json:"state"`
	Detail string       `json:"detail"`
	// Remedy is what to do next.
	Remedy string `json:"remedy,omitempty"`
}

// doctor collects findings about one cluster.
type doctor struct {
	app      *app
	cluster  *cluster
	now      func() time.Time
	findings []finding
}

func (d *doctor) ok(check, format string, args ...any) {
	d.findings = append(d.findings, finding{Check: check, State: findingOK, Detail: fmt.Sprintf(format, args...)})
}

func (d *doctor) warn(check, remedy, format string, args ...any) {
	d.findings = append(d.findings, finding{Check: check, State: findingWarning, Detail: fmt.Sprintf(format, args...), Remedy: remedy})
}

func (d *doctor) problem(check, remedy, format string, args ...any) {
	d.findings = append(d.findings, finding{Check: check, State: findingProblem, Detail: fmt.Sprintf(format, args...), Remedy: remedy})
}

// unknown is for a check that could not be made, most often for want of a right.
func (d *doctor) unknown(check string, err error) {
	d.warn(check, "ask for the right to read it, or run doctor as an administrator", "could not be checked: %v", err)
}

func (d *doctor) sick() bool {
	for _, f := range d.findings {
		if f.State == findingProblem {
			return true
		}
	}
	return false
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor [NETWORK]",
		Short: "Find out why something is not ready, and what to do",
		Long: `Checks the API server, the installation, your rights, storage and policies of the cluster, and of one network or all of
them every object, pod, volume, image, certificate and channel. Prints a tick or a cross for each check, and the remedy.
Exit code 3 says that something is wrong.`,
		Example:           a.text("  %[1]s doctor\n  %[1]s doctor trade\n  %[1]s doctor trade -o json"),
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeNetworks(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.doctor(c.Context(), args)
		},
	}
}

func (a *app) doctor(ctx context.Context, args []string) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	d := &doctor{app: a, cluster: cl, now: time.Now}
	err = a.progress().Step(ctx, "doctor", func(ctx context.Context, note func(string)) error {
		return d.examine(ctx, args, note)
	})
	if err != nil {
		return err
	}
	if err := a.print(d.document()); err != nil {
		return err
	}
	if d.sick() {
		return withCode(ExitNotReady, errSilent)
	}
	return nil
}

// examine makes the checks. What everything else needs comes first: without it the rest is not asked.
func (d *doctor) examine(ctx context.Context, args []string, note func(string)) error {
	note("looking at the cluster")
	if !d.checkAPI(ctx) || !d.checkCRDs(ctx) {
		return nil
	}
	d.checkOperator(ctx)
	d.checkStorage(ctx)
	d.checkPolicies(ctx)
	networks, err := d.cluster.networks(ctx, args)
	if apierrors.IsForbidden(err) {
		// Only what may not be seen is passed over; what can be said is said.
		d.problem("networks", "have the role heddle-network-admin bound to you, or ask who has it", "%v", err)
		d.checkRights(ctx, strings.Join(args, ""))
		return nil
	}
	if err != nil {
		return err
	}
	if len(networks) == 0 {
		d.ok("networks", "there are none")
		d.checkRights(ctx, "")
	}
	for i := range networks {
		note("looking at network " + networks[i].Name)
		d.checkRights(ctx, networks[i].Name)
		if err := d.checkNetwork(ctx, &networks[i]); err != nil {
			return err
		}
	}
	return nil
}

// rights are what the commands need.
var rights = []struct { //nolint:gochecknoglobals // a constant
	why       string
	attribute authorizationv1.ResourceAttributes
}{
	{"read networks", authorizationv1.ResourceAttributes{Group: "heddle.dev", Resource: "networks", Verb: "list"}},
	{"create networks", authorizationv1.ResourceAttributes{Group: "heddle.dev", Resource: "networks", Verb: "create"}},
	{"read users' keys (tx, identity enroll, export)", authorizationv1.ResourceAttributes{Resource: "secrets", Verb: "get"}},
	{"reach peers (tx, export --forward)", authorizationv1.ResourceAttributes{Resource: "pods", Subresource: "portforward", Verb: "create"}},
	{"read nodes' logs (doctor)", authorizationv1.ResourceAttributes{Resource: "pods", Subresource: "log", Verb: "get"}},
}

// checkRights asks the API server what the caller may do in the network's namespace.
func (d *doctor) checkRights(ctx context.Context, namespace string) {
	check := "your rights"
	if namespace != "" {
		check += " in " + namespace
	}
	var missing []string
	for _, r := range rights {
		attr := r.attribute
		if attr.Group == "" {
			attr.Namespace = namespace
		}
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &attr}}
		if err := d.cluster.Create(ctx, review); err != nil {
			d.unknown(check, err)
			return
		}
		if !review.Status.Allowed {
			missing = append(missing, r.why)
		}
	}
	if len(missing) > 0 {
		d.warn(check, "have the role edit bound to you in the namespace, and heddle-network-admin in the cluster", "you may not: %s", joined(missing...))
		return
	}
	d.ok(check, "enough for every command")
}

// document prints the findings with what to do about them.
func (d *doctor) document() output.Document {
	names := []string{}
	for _, f := range d.findings {
		if f.State == findingProblem {
			names = append(names, f.Check)
		}
	}
	return output.Document{Value: d.findings, Names: names, Table: func(w io.Writer) error {
		marks := map[findingState]string{findingOK: "✓", findingWarning: "!", findingProblem: "✗"}
		for _, f := range d.findings {
			fmt.Fprintf(w, "%s %s: %s\n", marks[f.State], f.Check, f.Detail)
			if f.Remedy != "" && f.State != findingOK {
				fmt.Fprintf(w, "    → %s\n", f.Remedy)
			}
		}
		summary := "nothing is wrong"
		if n := len(names); n > 0 {
			summary = fmt.Sprintf("%d of %d checks found something wrong", n, len(d.findings))
		}
		_, err := fmt.Fprintln(w, summary)
		return err
	}}
}
