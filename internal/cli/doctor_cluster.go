package cli

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/config"
	"heddle.dev/heddle/internal/lab"
	"heddle.dev/heddle/internal/specs"
)

// oldestKubernetes is the oldest version that Heddle is made for.
const oldestKubernetes = "1.32.0"

func (d *doctor) checkAPI(ctx context.Context) bool {
	const check = "API server"
	info, err := d.cluster.clientset.Discovery().ServerVersion()
	if err != nil {
		d.problem(check, "check that the cluster runs, and KUBECONFIG and --context", "%s does not answer: %v", d.cluster.config.Host, err)
		return false
	}
	have, err := version.ParseGeneric(info.GitVersion)
	if err == nil && have.LessThan(version.MustParseGeneric(oldestKubernetes)) {
		d.warn(check, "upgrade the cluster", "%s runs Kubernetes %s, older than %s", d.cluster.config.Host, info.GitVersion, oldestKubernetes)
		return true
	}
	d.ok(check, "%s answers (Kubernetes %s)", d.cluster.config.Host, info.GitVersion)
	return ctx.Err() == nil
}

func (d *doctor) checkCRDs(ctx context.Context) bool {
	const check = "custom resources"
	remedy := fmt.Sprintf("run '%s install'", d.app.program)
	crds, err := readManifests(config.Files, "crd")
	if err != nil {
		d.unknown(check, err)
		return false
	}
	var missing []string
	for _, want := range crds {
		var have apiextensionsv1.CustomResourceDefinition
		err := d.cluster.Get(ctx, client.ObjectKeyFromObject(want), &have)
		switch {
		case apierrors.IsForbidden(err):
			d.unknown(check, err)
			return true
		case apierrors.IsNotFound(err):
			missing = append(missing, want.GetName()+" is missing")
		case err != nil:
			d.problem(check, "check the connection to the cluster", "%v", err)
			return false
		case !established(&have):
			missing = append(missing, want.GetName()+" is not served")
		}
	}
	if len(missing) > 0 {
		d.problem(check, remedy, "%s", joined(missing...))
		return false
	}
	d.ok(check, "all %d are served", len(crds))
	return true
}

func (d *doctor) checkOperator(ctx context.Context) {
	const check = "operator"
	var dep appsv1.Deployment
	err := d.cluster.Get(ctx, client.ObjectKey{Namespace: specs.SystemNamespace, Name: specs.OperatorName}, &dep)
	if apierrors.IsNotFound(err) {
		d.problem(check, fmt.Sprintf("run '%s install'", d.app.program), "there is no Deployment %s/%s", specs.SystemNamespace, specs.OperatorName)
		return
	}
	if err != nil {
		d.unknown(check, err)
		return
	}
	if rolledOut(&dep) {
		d.ok(check, "runs (%s)", dep.Spec.Template.Spec.Containers[0].Image)
		return
	}
	var pods corev1.PodList
	err = d.cluster.List(ctx, &pods, client.InNamespace(specs.SystemNamespace), client.MatchingLabels(dep.Spec.Selector.MatchLabels))
	if err != nil {
		d.unknown(check, err)
		return
	}
	if len(pods.Items) == 0 {
		cause := d.eventOf(ctx, specs.SystemNamespace, "ReplicaSet", specs.OperatorName)
		d.problem(check, "look at the events of the namespace: a quota or a policy may refuse the pod", "has no pod: %s", dash(cause))
		return
	}
	for i := range pods.Items {
		d.checkPod(ctx, check, &pods.Items[i])
	}
}

// annotationDefaultClass marks the default StorageClass.
const annotationDefaultClass = "storageclass.kubernetes.io/is-default-class"

func (d *doctor) checkStorage(ctx context.Context) {
	const check = "default StorageClass"
	var list storagev1.StorageClassList
	if err := d.cluster.List(ctx, &list); err != nil {
		d.unknown(check, err)
		return
	}
	var defaults, others []string
	for i := range list.Items {
		c := &list.Items[i]
		if c.Annotations[annotationDefaultClass] == "true" {
			defaults = append(defaults, c.Name)
			continue
		}
		others = append(others, c.Name)
	}
	switch len(defaults) {
	case 1:
		d.ok(check, "%s", defaults[0])
	case 0:
		d.warn(check, "mark one as default, or name one in organizations[].peers.template.storage and .orderers.template.storage",
			"there is none (there are: %s): nodes that name no class wait for their volume", orNone(others))
	default:
		d.warn(check, "leave the mark on one of them", "there are several: %s", joined(defaults...))
	}
}

// enforcers are programs that enforce NetworkPolicies, by a word in their DaemonSet's name.
func enforcers() []string {
	return []string{"calico", "cilium", "antrea", "kube-router", "weave", "canal", "ovn", "azure-npm", "aws-node", "anetd", "policy"}
}

// checkPolicies looks for a program that enforces NetworkPolicies: the API server accepts them either way.
func (d *doctor) checkPolicies(ctx context.Context) {
	const check = "NetworkPolicy enforcement"
	if d.inLab() {
		d.ok(check, "the lab's agent enforces policies ('%s lab policy' shows it)", d.app.program)
		return
	}
	var list appsv1.DaemonSetList
	if err := d.cluster.List(ctx, &list); err != nil {
		d.unknown(check, err)
		return
	}
	for i := range list.Items {
		for _, word := range enforcers() {
			if strings.Contains(list.Items[i].Name, word) {
				d.ok(check, "%s/%s is there", list.Items[i].Namespace, list.Items[i].Name)
				return
			}
		}
	}
	d.warn(check, "without one, pods of other namespaces can reach the nodes: check what the cluster's network plugin does",
		"no program that is known to enforce policies was found")
}

// inLab says that the cluster is a site of a lab on this machine.
func (d *doctor) inLab() bool {
	names, err := lab.List()
	if err != nil {
		return false
	}
	for _, name := range names {
		l, err := lab.Open(name)
		if err != nil {
			continue
		}
		for _, s := range l.Sites() {
			if s.Endpoint() == d.cluster.config.Host {
				return true
			}
		}
	}
	return false
}
