package link

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

func request(namespace, link string) ctrl.Request {
	return ctrl.Request{NamespacedName: client.ObjectKey{Namespace: namespace, Name: link}}
}

// ofLabel wakes the link that an object was made for.
func ofLabel(_ context.Context, obj client.Object) []ctrl.Request {
	if link := obj.GetLabels()[v1alpha1.LabelLink]; link != "" {
		return []ctrl.Request{request(obj.GetNamespace(), link)}
	}
	return nil
}

func ofImport(_ context.Context, obj client.Object) []ctrl.Request {
	if i, ok := obj.(*v1alpha1.NodeImport); ok {
		return []ctrl.Request{request(i.Namespace, i.Spec.Link)}
	}
	return nil
}

// ofExport wakes the links that an export names, and those that run beside it: it may have named them before.
func (r *Reconciler) ofExport(ctx context.Context, obj client.Object) []ctrl.Request {
	e, ok := obj.(*v1alpha1.NodeExport)
	if !ok {
		return nil
	}
	out := r.living(ctx, client.InNamespace(e.Namespace))
	for _, link := range e.Spec.Links {
		out = append(out, request(e.Namespace, link))
	}
	return out
}

// ofSiteLink wakes the link in every namespace that has to do with it.
func (r *Reconciler) ofSiteLink(ctx context.Context, obj client.Object) []ctrl.Request {
	out := r.living(ctx, client.MatchingLabels{v1alpha1.LabelLink: obj.GetName()})
	for _, one := range r.named(ctx) {
		if one.Name == obj.GetName() {
			out = append(out, one)
		}
	}
	return out
}

// ofSite wakes all links: the site's name and image are in each.
func (r *Reconciler) ofSite(ctx context.Context, _ client.Object) []ctrl.Request {
	return append(r.living(ctx), r.named(ctx)...)
}

// living are the links that have a Deployment.
func (r *Reconciler) living(ctx context.Context, opts ...client.ListOption) []ctrl.Request {
	var list appsv1.DeploymentList
	if err := r.client.List(ctx, &list, append(opts, client.HasLabels{v1alpha1.LabelLink})...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list links")
		return nil
	}
	var out []ctrl.Request
	for i := range list.Items {
		out = append(out, request(list.Items[i].Namespace, list.Items[i].Labels[v1alpha1.LabelLink]))
	}
	return out
}

// named are the links that exports and imports name.
func (r *Reconciler) named(ctx context.Context) []ctrl.Request {
	var exports v1alpha1.NodeExportList
	var imports v1alpha1.NodeImportList
	for _, list := range []client.ObjectList{&exports, &imports} {
		if err := r.client.List(ctx, list); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "list exports and imports")
			return nil
		}
	}
	var out []ctrl.Request
	for i := range exports.Items {
		for _, link := range exports.Items[i].Spec.Links {
			out = append(out, request(exports.Items[i].Namespace, link))
		}
	}
	for i := range imports.Items {
		out = append(out, request(imports.Items[i].Namespace, imports.Items[i].Spec.Link))
	}
	return out
}
