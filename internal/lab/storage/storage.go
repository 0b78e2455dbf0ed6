// Package storage is the lab's volume provisioner: one folder of the machine per volume.
//
// It owns the StorageClass heddle-lab, the folders below one directory and the
// PersistentVolumes that point there. A volume is not tied to a node, because every node of
// a site sees the directory at the same path. Who may write is Kubernetes' business.
package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// ClassName is the default class of a lab.
	ClassName = "heddle-lab"
	// Provisioner is what a StorageClass names to get its volumes from here.
	Provisioner = "heddle.dev/lab"

	workers = 2
	// firstRetry and lastRetry bound the pauses before a claim or volume is tried again.
	firstRetry = 100 * time.Millisecond
	lastRetry  = 10 * time.Second
	// apiPause is the pause between two attempts to reach an API server that is starting.
	apiPause = 100 * time.Millisecond
)

// Server provisions volumes for the claims of one cluster.
type Server struct {
	// Config reaches the API server.
	Config *rest.Config
	// Dir holds the folders; it is at the same path on every node.
	Dir string
	// Class is the default StorageClass that the server makes; default ClassName.
	Class string
	// Provisioner is the name that classes know the server by; default Provisioner.
	Provisioner string
}

// provisioner is a running server.
type provisioner struct {
	name    string
	api     kubernetes.Interface
	root    *os.Root
	dir     string
	events  events.EventRecorder
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	classes storagelisters.StorageClassLister
	queue   workqueue.TypedRateLimitingInterface[item]
}

// item is one thing to look at: a claim, or a volume if it has no namespace.
type item struct{ namespace, name string }

// Run serves claims of class ClassName with folders below dir until ctx ends.
func Run(ctx context.Context, cfg *rest.Config, dir string) error {
	return (&Server{Config: cfg, Dir: dir}).Run(ctx)
}

// Run serves claims until ctx ends and then returns nil. It waits for an API server that
// is not up yet; an error means that it could not start.
func (s *Server) Run(ctx context.Context) error {
	api, err := kubernetes.NewForConfig(rest.AddUserAgent(rest.CopyConfig(s.Config), "heddle-lab-storage"))
	if err != nil {
		return fmt.Errorf("make a client for the volume provisioner: %w", err)
	}
	dir, root, err := openFolder(s.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	name := cmp.Or(s.Provisioner, Provisioner)
	if err := ensureClass(ctx, api, class(cmp.Or(s.Class, ClassName), name)); err != nil {
		return endedOr(ctx, err)
	}
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: api.EventsV1()})
	if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		return fmt.Errorf("start recording events: %w", err)
	}
	defer broadcaster.Shutdown()
	p := &provisioner{
		name: name, api: api, root: root, dir: dir,
		events: broadcaster.NewRecorder(scheme.Scheme, name),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[item](firstRetry, lastRetry)),
	}
	return p.run(ctx)
}

func openFolder(dir string) (string, *os.Root, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", nil, fmt.Errorf("find the folder for volumes: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, fmt.Errorf("make the folder for volumes: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", nil, fmt.Errorf("open the folder for volumes: %w", err)
	}
	return dir, root, nil
}

func endedOr(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}

// class is the lab's default class. Volumes are bound at once, not when a pod comes: that
// takes provisioning out of the time a network needs to start.
func class(name, provisioner string) *storagev1.StorageClass {
	return &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"},
		},
		Provisioner:          provisioner,
		ReclaimPolicy:        ptr.To(corev1.PersistentVolumeReclaimDelete),
		VolumeBindingMode:    ptr.To(storagev1.VolumeBindingImmediate),
		AllowVolumeExpansion: ptr.To(false),
	}
}

// ensureClass makes the class unless there is one; a user may have changed its annotation.
func ensureClass(ctx context.Context, api kubernetes.Interface, class *storagev1.StorageClass) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, apiPause, true, func(ctx context.Context) (bool, error) {
		_, last = api.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{})
		if apierrors.IsForbidden(last) || apierrors.IsInvalid(last) {
			return false, last
		}
		return last == nil || apierrors.IsAlreadyExists(last), nil
	})
	if err != nil {
		return fmt.Errorf("make StorageClass %q: %w", class.Name, errors.Join(err, last))
	}
	return nil
}

func (p *provisioner) run(ctx context.Context) error {
	factory := informers.NewSharedInformerFactoryWithOptions(p.api, 0, informers.WithTransform(trim))
	claims := factory.Core().V1().PersistentVolumeClaims()
	volumes := factory.Core().V1().PersistentVolumes()
	classes := factory.Storage().V1().StorageClasses()
	p.claims, p.volumes, p.classes = claims.Lister(), volumes.Lister(), classes.Lister()
	// A claim may come before its class, so a class brings all claims back.
	handlers := map[cache.SharedIndexInformer]func(obj any){
		claims.Informer():  p.add,
		volumes.Informer(): p.add,
		classes.Informer(): func(any) { p.addClaims(ctx) },
	}
	for informer, handle := range handlers {
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: handle, UpdateFunc: func(_, obj any) { handle(obj) }})
		if err != nil {
			return fmt.Errorf("watch claims and volumes: %w", err)
		}
	}
	factory.StartWithContext(ctx)
	defer factory.Shutdown()
	if res := factory.WaitForCacheSyncWithContext(ctx); res.Err != nil {
		return endedOr(ctx, fmt.Errorf("read claims and volumes: %w", res.Err))
	}
	if err := p.sweep(); err != nil {
		log.FromContext(ctx).Error(err, "Remove empty folders of no volume")
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { p.work(ctx) })
	}
	<-ctx.Done()
	p.queue.ShutDown()
	wg.Wait()
	return nil
}

// trim drops what nobody here reads and makes up half of most objects.
func trim(obj any) (any, error) {
	if o, ok := obj.(metav1.Object); ok {
		o.SetManagedFields(nil)
	}
	return obj, nil
}

func (p *provisioner) add(obj any) {
	if o, ok := obj.(metav1.Object); ok {
		p.queue.Add(item{o.GetNamespace(), o.GetName()})
	}
}

func (p *provisioner) addClaims(ctx context.Context) {
	claims, err := p.claims.List(labels.Everything())
	if err != nil {
		log.FromContext(ctx).Error(err, "List claims")
	}
	for _, c := range claims {
		p.add(c)
	}
}

func (p *provisioner) work(ctx context.Context) {
	for {
		it, stop := p.queue.Get()
		if stop {
			return
		}
		err := p.handle(ctx, it)
		switch {
		case err == nil:
			p.queue.Forget(it)
		case ctx.Err() == nil:
			if !apierrors.IsConflict(err) {
				log.FromContext(ctx).Error(err, "Serve volume", "namespace", it.namespace, "name", it.name)
			}
			p.queue.AddRateLimited(it)
		}
		p.queue.Done(it)
	}
}

func (p *provisioner) handle(ctx context.Context, it item) error {
	if it.namespace == "" {
		volume, err := p.volumes.Get(it.name)
		if err != nil {
			return client.IgnoreNotFound(err)
		}
		return p.reclaim(ctx, volume)
	}
	claim, err := p.claims.PersistentVolumeClaims(it.namespace).Get(it.name)
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	return p.provision(ctx, claim)
}

// classOf finds a class of ours by name; nil means the claim is somebody else's.
func (p *provisioner) classOf(claim *corev1.PersistentVolumeClaim) *storagev1.StorageClass {
	name := cmp.Or(ptr.Deref(claim.Spec.StorageClassName, ""), claim.Annotations[corev1.BetaStorageClassAnnotation])
	if c, err := p.classes.Get(name); err == nil && c.Provisioner == p.name {
		return c
	}
	return nil
}
