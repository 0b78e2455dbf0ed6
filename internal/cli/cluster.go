package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli/output"
	"heddle.dev/heddle/internal/lab"
)

// fieldOwner is the name that the command's writes carry in managedFields.
const fieldOwner = client.FieldOwner("heddle")

// cluster is a connection to the API server.
type cluster struct {
	client.WithWatch
	config    *rest.Config
	clientset kubernetes.Interface
	// namespace that --namespace or the context names; "default" otherwise.
	namespace string
}

// connect opens the cluster that the flags, KUBECONFIG or the pod's own account name.
func (a *app) connect() (*cluster, error) {
	if err := a.checkConfigured(); err != nil {
		return nil, err
	}
	cfg, err := a.kube.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("read the cluster's configuration: %w", err)
	}
	cfg.QPS = -1 // the API server has its own fairness; a limiter here only turns deadlines into odd errors
	cfg.UserAgent = "heddle/" + a.version
	cfg.WarningHandler = rest.NewWarningWriter(a.err, rest.WarningWriterOptions{Deduplicate: true})
	ns, _, err := a.kube.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, fmt.Errorf("read the context's namespace: %w", err)
	}
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Host, err)
	}
	clientset, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Host, err)
	}
	return &cluster{WithWatch: c, config: cfg, clientset: clientset, namespace: ns}, nil
}

// checkConfigured refuses to fall back to localhost:8080, which kubectl's flags do where nothing is configured.
func (a *app) checkConfigured() error {
	if *a.kube.APIServer != "" {
		return nil
	}
	raw, err := a.kube.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	if len(raw.Clusters) > 0 {
		return nil
	}
	if _, err := rest.InClusterConfig(); err == nil {
		return nil
	}
	if path := labKubeconfig(); path != "" {
		*a.kube.KubeConfig = path
		return nil
	}
	return withCode(ExitNoAccess, fmt.Errorf(
		"no cluster is configured: set KUBECONFIG or --kubeconfig, or run '%s up' for one on this machine", a.program))
}

// labKubeconfig is that of the lab that up makes; empty where there is none.
func labKubeconfig() string {
	l, err := lab.Open("")
	if err != nil {
		return ""
	}
	return l.Sites()[0].KubeconfigPath()
}

func newScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(s); err != nil {
		return nil, fmt.Errorf("register Kubernetes kinds: %w", err)
	}
	if err := apiextensionsv1.AddToScheme(s); err != nil {
		return nil, fmt.Errorf("register kinds of API extensions: %w", err)
	}
	if err := v1alpha1.AddToScheme(s); err != nil {
		return nil, fmt.Errorf("register Heddle kinds: %w", err)
	}
	return s, nil
}

// errWatchClosed makes until start its watch anew.
var errWatchClosed = errors.New("watch closed")

// until evaluates done whenever an object of the list changes, until it says true, fails, or ctx ends.
func (c *cluster) until(ctx context.Context, list client.ObjectList, opts []client.ListOption, done func(context.Context) (bool, error)) error {
	for {
		err := c.watchOnce(ctx, list, opts, done)
		if !errors.Is(err, errWatchClosed) {
			return err
		}
		pause := time.NewTimer(200 * time.Millisecond)
		select {
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		case <-pause.C:
		}
	}
}

// watchOnce follows one watch. The watch starts before the first look, so that no change is missed.
func (c *cluster) watchOnce(ctx context.Context, list client.ObjectList, opts []client.ListOption, done func(context.Context) (bool, error)) error {
	w, err := c.Watch(ctx, list, opts...)
	if err != nil {
		return err
	}
	defer w.Stop()
	// Readiness can hang on what is not watched (an API that is not served yet): look again now and then.
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		ok, err := done(ctx)
		if err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case _, open := <-w.ResultChan():
			if !open {
				return errWatchClosed
			}
			drain(w.ResultChan())
		}
	}
}

// drain takes the events that are there already: one look answers them all.
func drain[T any](events <-chan T) {
	for {
		select {
		case _, open := <-events:
			if !open {
				return
			}
		default:
			return
		}
	}
}

// conditioned is an object of the platform.
type conditioned interface {
	client.Object
	GetConditions() *[]metav1.Condition
}

// readiness is what the conditions of an object say.
type readiness struct {
	Ready   string `json:"ready,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Stalled means that nothing will move until a person changes something.
	Stalled bool `json:"stalled,omitempty"`
}

// readinessOf reads Ready, or Stalled where that is True. Conditions of an older generation count as not looked at yet.
func readinessOf(o conditioned) readiness {
	conds := *o.GetConditions()
	if s := meta.FindStatusCondition(conds, v1alpha1.ConditionStalled); s != nil && s.Status == metav1.ConditionTrue && current(o, s) {
		return readiness{Ready: string(metav1.ConditionFalse), Reason: s.Reason, Message: s.Message, Stalled: true}
	}
	r := meta.FindStatusCondition(conds, v1alpha1.ConditionReady)
	if r == nil {
		return readiness{Ready: string(metav1.ConditionUnknown), Reason: v1alpha1.ReasonProgressing, Message: "The operator has not looked at it yet"}
	}
	if !current(o, r) {
		return readiness{Ready: string(metav1.ConditionUnknown), Reason: v1alpha1.ReasonProgressing, Message: "The operator has not looked at the changed spec yet"}
	}
	return readiness{Ready: string(r.Status), Reason: r.Reason, Message: r.Message}
}

func current(o client.Object, c *metav1.Condition) bool {
	return c.ObservedGeneration == 0 || c.ObservedGeneration >= o.GetGeneration()
}

// IsReady says that the object is what its spec asks for.
func (r readiness) IsReady() bool { return r.Ready == string(metav1.ConditionTrue) }

// waitReady waits until the object is Ready. A stalled object ends the wait: waiting longer does not help.
func (c *cluster) waitReady(ctx context.Context, o conditioned, list client.ObjectList, note func(string)) error {
	key := client.ObjectKeyFromObject(o)
	kind := kindOf(c.Scheme(), o)
	last := readiness{}
	err := c.until(ctx, list, []client.ListOption{client.InNamespace(key.Namespace), client.MatchingFields{"metadata.name": key.Name}},
		func(ctx context.Context) (bool, error) {
			if err := c.Get(ctx, key, o); err != nil {
				return false, fmt.Errorf("read %s %q: %w", kind, key.Name, err)
			}
			last = readinessOf(o)
			note(last.Message)
			if last.Stalled {
				return false, notReadyErrorf("%s %q is stalled (%s): %s", kind, key.Name, last.Reason, last.Message)
			}
			return last.IsReady(), nil
		})
	if errors.Is(err, context.DeadlineExceeded) {
		return notReadyErrorf("%s %q is not ready in time (%s): %s", kind, key.Name, last.Reason, last.Message)
	}
	return err
}

// kindOf is the lower-case kind of an object, for messages.
func kindOf(s *runtime.Scheme, o runtime.Object) string {
	gvk, err := apiutil.GVKForObject(o, s)
	if err != nil {
		return "object"
	}
	return strings.ToLower(gvk.Kind)
}

// print writes a document to standard output in the format of --output.
func (a *app) print(d output.Document) error {
	return output.Print(a.out, output.Format(a.output), d)
}

// progress speaks of steps that take long.
func (a *app) progress() *output.Progress { return output.NewProgress(a.progressWriter()) }

// steps speaks of every step.
func (a *app) steps() *output.Progress { return output.NewSteps(a.progressWriter()) }

func (a *app) progressWriter() io.Writer {
	if a.quiet {
		return nil
	}
	return a.err
}

// object readies an object for printing: kind and version set, bookkeeping of the API server left out.
func (c *cluster) object(o client.Object) client.Object {
	if gvk, err := apiutil.GVKForObject(o, c.Scheme()); err == nil {
		o.GetObjectKind().SetGroupVersionKind(gvk)
	}
	o.SetManagedFields(nil)
	return o
}

// namesOf lists objects as kind.group/name.
func namesOf(s *runtime.Scheme, objects ...client.Object) []string {
	names := make([]string, 0, len(objects))
	for _, o := range objects {
		kind := kindOf(s, o)
		if gvk, err := apiutil.GVKForObject(o, s); err == nil && gvk.Group != corev1.GroupName {
			kind += "." + gvk.Group
		}
		names = append(names, kind+"/"+o.GetName())
	}
	slices.Sort(names)
	return names
}

// age prints how old an object is, as kubectl does.
func age(t metav1.Time, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := now.Sub(t.Time)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
