package watch

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/specs"
)

// Secrets tells controllers of Secrets that were made, changed or deleted. The operator may look at Secrets in its networks'
// namespaces only, so there is a watch for each of those: it begins when the operator's RoleBinding appears there, and
// ends when that goes. Names and labels are all that it receives and keeps; no key gets into memory this way.
type Secrets struct {
	namespaces []string
	client     metadata.Interface
	bindings   cache.Informers

	mu sync.Mutex
	// watched are the namespaces with a watch, and how to end it.
	watched map[string]context.CancelFunc
	told    []chan event.GenericEvent
}

// NewSecrets watches the Secrets of the given namespaces; without any, of those that have the operator's RoleBinding.
// It has to be registered with a manager like a controller.
func NewSecrets(namespaces []string) *Secrets {
	return &Secrets{namespaces: namespaces, watched: map[string]context.CancelFunc{}}
}

// Register adds the watches to a manager.
func (s *Secrets) Register(mgr ctrl.Manager) error {
	var err error
	if s.client, err = metadata.NewForConfigAndClient(metadata.ConfigFor(mgr.GetConfig()), mgr.GetHTTPClient()); err != nil {
		return fmt.Errorf("make client for metadata: %w", err)
	}
	s.bindings = mgr.GetCache()
	return mgr.Add(s)
}

// Wake lets a controller that is being built hear of Secrets; with no Secrets to watch it leaves the builder as it is.
func (s *Secrets) Wake(b *builder.Builder, h handler.EventHandler) *builder.Builder {
	if s == nil {
		return b
	}
	events := make(chan event.GenericEvent)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, events)
	return b.WatchesRawSource(source.Channel(events, h))
}

// Start watches until ctx ends.
func (s *Secrets) Start(ctx context.Context) error {
	for _, namespace := range s.namespaces {
		s.begin(ctx, namespace)
	}
	if len(s.namespaces) == 0 {
		informer, err := s.bindings.GetInformer(ctx, &rbacv1.RoleBinding{})
		if err != nil {
			return fmt.Errorf("watch role bindings: %w", err)
		}
		registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: func(obj any) {
				if namespace, name := place(obj); name == specs.RoleBindingOperator {
					s.begin(ctx, namespace)
				}
			},
			DeleteFunc: func(obj any) {
				if namespace, name := place(obj); name == specs.RoleBindingOperator {
					s.end(namespace)
				}
			},
		})
		if err != nil {
			return fmt.Errorf("watch role bindings: %w", err)
		}
		defer func() { _ = informer.RemoveEventHandler(registration) }()
	}
	<-ctx.Done()
	return nil
}

// place is where an object stands that an informer tells of, if only by its last known state.
func place(obj any) (namespace, name string) {
	key, err := toolscache.DeletionHandlingMetaNamespaceKeyFunc(obj)
	if err != nil {
		return "", ""
	}
	namespace, name, _ = toolscache.SplitMetaNamespaceKey(key)
	return namespace, name
}

func (s *Secrets) begin(ctx context.Context, namespace string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watched[namespace] != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	s.watched[namespace] = cancel
	informer := metadatainformer.NewFilteredMetadataInformer(s.client, corev1.SchemeGroupVersion.WithResource("secrets"), namespace, 0, nil,
		func(o *metav1.ListOptions) { o.LabelSelector = v1alpha1.LabelNetwork }).Informer()
	// Neither of the two can fail before the informer runs.
	_ = informer.SetTransform(cache.TransformStripManagedFields())
	_, _ = informer.AddEventHandler(toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(obj any, atFirst bool) {
			if !atFirst {
				s.tell(ctx, obj)
			}
		},
		UpdateFunc: func(_, obj any) { s.tell(ctx, obj) },
		DeleteFunc: func(obj any) { s.tell(ctx, obj) },
	})
	go informer.RunWithContext(ctx)
}

func (s *Secrets) end(namespace string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel := s.watched[namespace]; cancel != nil {
		cancel()
		delete(s.watched, namespace)
	}
}

func (s *Secrets) tell(ctx context.Context, obj any) {
	if last, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
		obj = last.Obj
	}
	secret, ok := obj.(client.Object)
	if !ok {
		return
	}
	s.mu.Lock()
	told := s.told
	s.mu.Unlock()
	for _, events := range told {
		select {
		case events <- event.GenericEvent{Object: secret}:
		case <-ctx.Done():
			return
		}
	}
}
