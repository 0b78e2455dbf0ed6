package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli/export"
	"heddle.dev/heddle/internal/cli/output"
	"heddle.dev/heddle/internal/specs"
)

// enrollFlags are the flags of identity enroll.
type enrollFlags struct {
	network    string
	org        string
	kind       string
	enrollment string
	attributes []string
	out        string
	force      bool
	timeout    time.Duration
}

func (a *app) identityCommand() *cobra.Command {
	c := group("identity", "Enrol users", a.identityEnrollCommand(), a.identityListCommand())
	c.Aliases = []string{"identities", "id"}
	return c
}

func (a *app) identityEnrollCommand() *cobra.Command {
	f := &enrollFlags{}
	c := &cobra.Command{
		Use:     "enroll NAME --network NETWORK --org ORGANIZATION",
		Aliases: []string{"enrol"},
		Short:   "Enrol a user: certificate, key and connection profile in a Secret",
		Long: `Makes an Identity object and waits until the operator has written certificate, key and connection profile to the Secret
of the same name beside it. Without --namespace that is the network's namespace; another one must be among the network's
client namespaces. An Identity that exists with the same settings is used as it is.`,
		Example: a.text(`  %[1]s identity enroll cashier --network trade --org banka
  %[1]s identity enroll cashier --network trade --org banka -n shop --attribute role=teller
  %[1]s identity enroll cashier --network trade --org banka --out ./cashier   # files with mode 0600`),
		Args:              arguments(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			return a.enroll(c.Context(), f, args[0])
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.network, "network", "", "network of the user (required)")
	fl.StringVar(&f.org, "org", "", "organisation that issues the certificate (required)")
	fl.StringVar(&f.kind, "type", string(v1alpha1.IdentityClient), "Client or Admin")
	fl.StringVar(&f.enrollment, "enrollment-id", "", "common name in the certificate (NAMESPACE.NAME unless given)")
	fl.StringArrayVar(&f.attributes, "attribute", nil, "attribute in the certificate as NAME=VALUE; repeat for each")
	fl.StringVar(&f.out, "out", "", "folder to write certificate, key and connection profile to")
	fl.BoolVar(&f.force, "force", false, "replace files in --out")
	fl.DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long to wait")
	complete(c, "type", []string{"Client", "Admin"})
	// The only error is a flag that does not exist.
	_ = c.RegisterFlagCompletionFunc("network", a.completeNetworks(2))
	_ = c.RegisterFlagCompletionFunc("org", a.completeOrganizations(func([]string) string { return f.network }))
	return c
}

func (a *app) enroll(ctx context.Context, f *enrollFlags, name string) error {
	if f.network == "" || f.org == "" {
		return usageErrorf("--network and --org are required: they say who issues the certificate")
	}
	want, err := f.identity(name, a.namespaceOr(f.network))
	if err != nil {
		return err
	}
	cl, err := a.connect()
	if err != nil {
		return err
	}
	if _, err := cl.getNetwork(ctx, f.network); err != nil {
		return err
	}
	if _, err := cl.getOrganization(ctx, f.network, f.org); err != nil {
		return err
	}
	id, err := cl.ensureIdentity(ctx, want)
	if err != nil {
		return err
	}
	if err := a.waitIdentity(ctx, cl, id, f.timeout); err != nil {
		return err
	}
	if f.out != "" {
		files, err := cl.identityFiles(ctx, id)
		if err != nil {
			return err
		}
		if err := export.Write(ctx, f.out, files, f.force); err != nil {
			return err
		}
	}
	return a.print(output.Document{Value: cl.object(id), Names: namesOf(cl.Scheme(), id), Table: func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "identity %s/%s is ready: Secret %s/%s holds certificate, key and connection profile%s\n",
			id.Namespace, id.Name, id.Namespace, identitySecret(id), written(f.out))
		return err
	}})
}

func written(dir string) string {
	if dir == "" {
		return ""
	}
	return "; so does the folder " + dir
}

// namespaceOr is what --namespace says, else the given one.
func (a *app) namespaceOr(other string) string {
	if *a.kube.Namespace != "" {
		return *a.kube.Namespace
	}
	return other
}

// identity makes the object from the flags.
func (f *enrollFlags) identity(name, namespace string) (*v1alpha1.Identity, error) {
	id := &v1alpha1.Identity{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: v1alpha1.IdentitySpec{
			Organization: f.org,
			Type:         v1alpha1.IdentityType(f.kind),
			EnrollmentID: f.enrollment,
		},
	}
	if namespace != f.network {
		id.Spec.NetworkRef = f.network
	}
	for _, s := range f.attributes {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return nil, usageErrorf("--attribute %q: the form is NAME=VALUE", s)
		}
		id.Spec.Attributes = append(id.Spec.Attributes, v1alpha1.IdentityAttribute{Name: key, Value: &value})
	}
	return id, nil
}

// ensureIdentity creates the Identity, or takes the one that is there where it is for the same user.
func (c *cluster) ensureIdentity(ctx context.Context, want *v1alpha1.Identity) (*v1alpha1.Identity, error) {
	id := want.DeepCopy()
	err := c.Create(ctx, id, fieldOwner)
	if err == nil {
		return id, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("create identity %s/%s: %w", id.Namespace, id.Name, err)
	}
	var have v1alpha1.Identity
	if err := c.Get(ctx, client.ObjectKeyFromObject(want), &have); err != nil {
		return nil, fmt.Errorf("read identity %s/%s: %w", want.Namespace, want.Name, err)
	}
	if identityNetwork(&have) != identityNetwork(want) || have.Spec.Organization != want.Spec.Organization || have.Spec.Type != want.Spec.Type {
		return nil, fmt.Errorf("identity %s/%s exists already, as %s of organisation %q in network %q: choose another name",
			have.Namespace, have.Name, have.Spec.Type, have.Spec.Organization, identityNetwork(&have))
	}
	return &have, nil
}

// waitIdentity waits until the Secret is there. An interrupted wait leaves the object to the operator.
func (a *app) waitIdentity(ctx context.Context, cl *cluster, id *v1alpha1.Identity, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return a.progress().Step(ctx, "identity "+id.Name, func(ctx context.Context, note func(string)) error {
		return cl.waitReady(ctx, id, &v1alpha1.IdentityList{}, note)
	})
}

// identityFiles are the Secret's keys as files; only their owner can read them.
func (c *cluster) identityFiles(ctx context.Context, id *v1alpha1.Identity) (map[string]export.File, error) {
	var s corev1.Secret
	key := client.ObjectKey{Namespace: id.Namespace, Name: identitySecret(id)}
	if err := c.Get(ctx, key, &s); err != nil {
		return nil, fmt.Errorf("read Secret %s of identity %q: %w", key, id.Name, err)
	}
	if len(s.Data[specs.KeyCert]) == 0 || len(s.Data[specs.KeyKey]) == 0 {
		return nil, fmt.Errorf("read Secret %s of identity %q: %w", key, id.Name, errors.New("it has no certificate or no key"))
	}
	files := map[string]export.File{}
	for name, data := range s.Data {
		files[filepath.Base(name)] = export.File{Data: data, Private: true}
	}
	return files, nil
}

func (a *app) identityListCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "list [NETWORK]",
		Aliases:           []string{"ls"},
		Short:             "List the users of all networks, or of one",
		Example:           a.text("  %[1]s identity list\n  %[1]s identity list trade"),
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeNetworks(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.listIdentities(c.Context(), args)
		},
	}
}

func (a *app) listIdentities(ctx context.Context, args []string) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	var list v1alpha1.IdentityList
	if err := cl.List(ctx, &list, client.InNamespace(*a.kube.Namespace)); err != nil {
		return fmt.Errorf("list identities: %w", err)
	}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("IdentityList"))
	if len(args) == 1 {
		list.Items = slices.DeleteFunc(list.Items, func(id v1alpha1.Identity) bool { return identityNetwork(&id) != args[0] })
	}
	rows := make([][]string, 0, len(list.Items))
	objects := make([]client.Object, 0, len(list.Items))
	for i := range list.Items {
		id := &list.Items[i]
		objects = append(objects, cl.object(id))
		r := readinessOf(id)
		rows = append(rows, []string{
			id.Namespace, id.Name, identityNetwork(id), id.Spec.Organization, string(id.Spec.Type), r.Ready,
			identitySecret(id), notReadyMessage(r),
		})
	}
	return a.print(output.Document{Value: &list, Names: namesOf(cl.Scheme(), objects...), Table: func(w io.Writer) error {
		if len(rows) == 0 {
			_, err := fmt.Fprintln(w, "no identities")
			return err
		}
		return output.Table(w, []string{"NAMESPACE", "NAME", "NETWORK", "ORGANIZATION", "TYPE", "READY", "SECRET", "MESSAGE"}, rows)
	}})
}
