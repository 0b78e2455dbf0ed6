package kube_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"heddle.dev/heddle/internal/kube"
)

// TestControllersEnd stops controllers while work comes in: each has to end, or the operator waits out its grace.
func TestControllersEnd(t *testing.T) {
	for range 50 {
		// No object is watched, so no API server is asked.
		mgr, err := ctrl.NewManager(&rest.Config{Host: "https://127.0.0.1:1"}, ctrl.Options{
			Metrics: metricsserver.Options{BindAddress: "0"}, Logger: logr.Discard(),
			Controller:              config.Controller{SkipNameValidation: ptr.To(true)},
			GracefulShutdownTimeout: ptr.To(10 * time.Second),
		})
		if err != nil {
			t.Fatal(err)
		}
		events := make(chan event.GenericEvent)
		err = ctrl.NewControllerManagedBy(mgr).Named("busy").WithOptions(kube.ControllerOptions()).
			WatchesRawSource(source.Channel(events, &handler.EnqueueRequestForObject{})).
			Complete(reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) {
				return reconcile.Result{}, nil
			}))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for i := 0; ctx.Err() == nil; i++ {
				select {
				case events <- event.GenericEvent{Object: &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: strconv.Itoa(i)}}}:
				case <-ctx.Done():
				}
			}
		}()
		time.AfterFunc(20*time.Millisecond, cancel)
		if err := mgr.Start(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}
