// Package chaincodebuild brings ChaincodeBuilds about: for each it makes a key, a Job and what the Job needs, and takes
// down in the status what came of it. It never sees the source: that goes from its owner to the registry, and from there
// into the Job. A build runs once; another source is another object.
package chaincodebuild

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/watch"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

const fieldOwner = "heddle-chaincodebuild"

// Options are what the controller works with.
type Options struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Reader reads from the API server itself.
	Reader client.Reader
	// Recorder tells users what happened.
	Recorder events.EventRecorder
	// Settings of builds in this installation.
	Settings specs.BuildSettings
	// System is the namespace of the registry and its certificate.
	System string
	// Now is the clock.
	Now func() time.Time
}

// Reconciler brings ChaincodeBuilds about.
type Reconciler struct {
	opts    Options
	rounds  *kube.Rounds
	applier *kube.Applier
}

// New makes the controller.
func New(opts Options) *Reconciler {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Reconciler{
		opts:    opts,
		rounds:  &kube.Rounds{Client: opts.Client, Recorder: opts.Recorder},
		applier: &kube.Applier{Client: opts.Client, Reader: opts.Reader, FieldOwner: fieldOwner},
	}
}

// Register adds the controller to a manager.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("chaincodebuild").
		For(&v1alpha1.ChaincodeBuild{}, builder.WithPredicates(predicate.Or[client.Object](
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Owns(&batchv1.Job{}).
		Watches(&corev1.Pod{}, watch.ByLabel(v1alpha1.LabelBuild, v1alpha1.ComponentBuild)).
		WithOptions(kube.ControllerOptions()).
		Complete(r)
}

// scope is what one round sees.
type scope struct {
	build *v1alpha1.ChaincodeBuild
	job   *batchv1.Job
	pod   *corev1.Pod
}

// Reconcile runs one round for a ChaincodeBuild.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	return kube.Reconcile(ctx, r.rounds, req, &v1alpha1.ChaincodeBuild{}, kube.Flow[*v1alpha1.ChaincodeBuild]{
		Steps: func(ctx context.Context, b *v1alpha1.ChaincodeBuild) error {
			s := &scope{build: b}
			if b.Status.FinishedAt != nil {
				return r.finished(ctx, s)
			}
			return kube.Run(ctx, s, r.installed, r.ensureKey, r.ensureSurroundings, r.ensureJob, r.observe, r.conclude)
		},
	})
}

// installed tells whether there is anything to build with.
func (r *Reconciler) installed(_ context.Context, _ *scope) error {
	if r.opts.Settings.Registry == "" {
		return kube.Stalled(v1alpha1.ReasonBuildsNotInstalled, "Builds are not installed here: an administrator adds them with 'heddle install --builds'")
	}
	return nil
}

// ensureKey makes the key with which the build pushes, once. The registry knows its hash from the status.
func (r *Reconciler) ensureKey(ctx context.Context, s *scope) error {
	var have corev1.Secret
	err := r.opts.Client.Get(ctx, client.ObjectKey{Namespace: s.build.Namespace, Name: specs.BuildName(s.build.Name)}, &have)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read the build's key: %w", err)
	}
	key := string(have.Data[corev1.BasicAuthPasswordKey])
	if key == "" || !metav1.IsControlledBy(&have, s.build) {
		key = rand.Text()
		if err := r.applier.Apply(ctx, s.build, specs.BuildSecret(s.build, key)); err != nil {
			return err
		}
	}
	sum := sha256.Sum256([]byte(key))
	s.build.Status.PushKeyHash = hex.EncodeToString(sum[:])
	return nil
}

// ensureSurroundings makes what all builds of the namespace share, and what this one trusts.
func (r *Reconciler) ensureSurroundings(ctx context.Context, s *scope) error {
	place := specs.PlaceOf(s.build.Namespace, s.build.Labels)
	np, err := specs.BuildPolicy(place, r.opts.System, r.opts.Settings)
	if err != nil {
		return kube.Stalled(v1alpha1.ReasonBuildsNotInstalled, "Builds are not set up well here: %s; an administrator corrects it with 'heddle install --builds'", err)
	}
	if err := r.applier.Apply(ctx, nil, np); err != nil {
		return err
	}
	if err := r.applier.Volume(ctx, specs.BuildCacheVolume(place)); err != nil {
		return err
	}
	var ca corev1.ConfigMap
	err = r.opts.Reader.Get(ctx, client.ObjectKey{Namespace: r.opts.System, Name: specs.RegistryCAConfigMap}, &ca)
	if apierrors.IsNotFound(err) {
		return kube.Stalled(v1alpha1.ReasonBuildsNotInstalled, "ConfigMap %q in namespace %q is missing: an administrator makes it anew with 'heddle install --builds'",
			specs.RegistryCAConfigMap, r.opts.System)
	}
	if err != nil {
		return fmt.Errorf("read the registry's certificate: %w", err)
	}
	return r.applier.Apply(ctx, s.build, specs.BuildTrustConfigMap(s.build, ca.Data[specs.KeyRegistryCA]))
}

// ensureJob makes the Job once: a Job cannot be changed, and a build runs with what it was started with.
func (r *Reconciler) ensureJob(ctx context.Context, s *scope) error {
	var job batchv1.Job
	err := r.opts.Client.Get(ctx, client.ObjectKey{Namespace: s.build.Namespace, Name: specs.BuildName(s.build.Name)}, &job)
	switch {
	case err == nil && former(&job, s.build):
		return kube.Waiting(v1alpha1.ReasonDeleting, time.Second, "Job %q of the former build %q is still being collected", job.Name, s.build.Name)
	case err == nil && !metav1.IsControlledBy(&job, s.build):
		return kube.Stalled(v1alpha1.ReasonInvalidOwnership, "Job %q exists and belongs to somebody else: delete it", job.Name)
	case err == nil:
		s.job = &job
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("read Job: %w", err)
	case s.build.Status.StartedAt != nil && r.opts.Now().Sub(s.build.Status.StartedAt.Time) > graceOfCache:
		// It was there and is gone: nobody knows any more what came of it.
		return r.end(s, "The Job of the build was deleted before it ended")
	default:
		if err := r.applier.Apply(ctx, s.build, specs.BuildJob(s.build, r.opts.Settings)); err != nil {
			return err
		}
	}
	if s.build.Status.StartedAt == nil {
		s.build.Status.StartedAt = ptr.To(metav1.NewTime(r.opts.Now()))
	}
	return nil
}

// former tells whether a Job is that of a build of the same name that is gone.
func former(job *batchv1.Job, b *v1alpha1.ChaincodeBuild) bool {
	ctl := metav1.GetControllerOf(job)
	return ctl != nil && ctl.UID != b.UID && ctl.Name == b.Name && ctl.Kind == "ChaincodeBuild"
}

// graceOfCache is how long a Job that was just made may be missing from the cache.
const graceOfCache = 10 * time.Second
