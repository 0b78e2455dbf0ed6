package specs

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/nginx"
)

// How Prometheus is commonly told what to ask.
const (
	annotationScrape     = "prometheus.io/scrape"
	annotationScrapePort = "prometheus.io/port"
)

// LinkSettings are what gateways and links of this installation have in common.
type LinkSettings struct {
	// Image with nginx and heddle-link.
	Image string
	// DNS are the addresses of the cluster's DNS servers.
	DNS []string
	// Domain of the cluster, such as cluster.local.
	Domain string
}

// ServiceHost is the full name of a Service: nginx knows no search paths.
func (s LinkSettings) ServiceHost(service, namespace string) string {
	return service + "." + namespace + ".svc." + s.Domain
}

// NginxPod is a pod of nginx for streams, of a gateway or of a link.
type NginxPod struct {
	// Image with nginx and heddle-link.
	Image string
	// Labels of the pod.
	Labels map[string]string
	// Link and Network are what its metrics are named by; a gateway's have neither.
	Link, Network string
	// ConfigMap with nginx.conf.
	ConfigMap string
	// Secret with keys, mounted at nginx.KeyFolder; empty: none.
	Secret string
	// Keys of the Secret that nginx reads.
	Keys []string
	// Ports by name.
	Ports []corev1.ContainerPort
}

// Template of the pod. Beside nginx runs heddle-link, which sees nginx's process and tells it of changed files, and counts its connections, so that
// nothing of the content of ConfigMap and Secret is in the template: only another template replaces the pod and cuts
// what goes through it.
func (p NginxPod) Template() corev1.PodTemplateSpec {
	folders := []corev1.VolumeMount{mountReadOnly("config", nginx.ConfigFolder)}
	volumes := []corev1.Volume{
		projected("config", fromConfigMap(p.ConfigMap, []corev1.KeyToPath{{Key: nginx.ConfigFile, Path: nginx.ConfigFile}})),
		scratch("tmp", corev1.StorageMediumMemory, "4Mi"),
	}
	watched := []string{"heddle-link", "reload"}
	if p.Link != "" {
		watched = append(watched, "-link="+p.Link, "-network="+p.Network)
	}
	watched = append(watched, nginx.ConfigFolder)
	if p.Secret != "" {
		var pairs []string
		for _, k := range p.Keys {
			pairs = append(pairs, k, k)
		}
		folders = append(folders, mountReadOnly("keys", nginx.KeyFolder))
		volumes = append(volumes, projected("keys", fromSecret(p.Secret, pairs...)))
		watched = append(watched, nginx.KeyFolder)
	}
	health := corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(nginx.PortHealth)}}
	proxy := corev1.Container{
		Name: "nginx", Image: p.Image, Command: []string{"nginx", "-e", "/dev/stderr", "-c", nginx.ConfigFolder + "/" + nginx.ConfigFile},
		Ports:          append(p.Ports, containerPort("health", nginx.PortHealth)),
		Resources:      resources(nil, "20m", "32Mi", "512Mi"),
		VolumeMounts:   append([]corev1.VolumeMount{mount("tmp", "/tmp")}, folders...),
		ReadinessProbe: &corev1.Probe{ProbeHandler: health, PeriodSeconds: 1, TimeoutSeconds: 5, FailureThreshold: 3},
		LivenessProbe:  &corev1.Probe{ProbeHandler: health, PeriodSeconds: 10, TimeoutSeconds: 5, FailureThreshold: 6},
	}
	reload := corev1.Container{
		Name: "reload", Image: p.Image, Command: watched, Resources: resources(nil, "5m", "16Mi", "64Mi"),
		Ports:        []corev1.ContainerPort{containerPort("metrics", nginx.PortMetrics)},
		VolumeMounts: append([]corev1.VolumeMount{mountReadOnly("tmp", "/tmp")}, folders...),
	}
	harden(&proxy)
	harden(&reload)
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: p.Labels},
		Spec: corev1.PodSpec{
			EnableServiceLinks: ptr.To(false), AutomountServiceAccountToken: ptr.To(false),
			ShareProcessNamespace: ptr.To(true),
			// nginx ends at once when it is told to; callers connect anew.
			TerminationGracePeriodSeconds: ptr.To[int64](5),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To(userID), RunAsGroup: ptr.To(userID), FSGroup: ptr.To(userID),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{proxy, reload}, Volumes: volumes,
		},
	}
	template.Annotations = map[string]string{annotationScrape: "true", annotationScrapePort: port(nginx.PortMetrics)}
	template.Annotations[v1alpha1.AnnotationConfigHash] = templateHash(template, "")
	return template
}

// Deployment runs the pod, so many at a time; a new template takes over without a moment in which none serves.
func (p NginxPod) Deployment(meta metav1.ObjectMeta, selector map[string]string, replicas int32) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: meta,
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To(replicas), RevisionHistoryLimit: ptr.To[int32](2),
			Strategy: appsv1.DeploymentStrategy{
				Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{
					MaxUnavailable: ptr.To(intstr.FromInt32(0)), MaxSurge: ptr.To(intstr.FromInt32(1)),
				},
			},
			Selector: &metav1.LabelSelector{MatchLabels: selector}, Template: p.Template(),
		},
	}
}
