package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
)

const (
	appImage = "heddle.dev/e2e-app:dev"
	caImage  = "docker.io/hyperledger/fabric-ca:1.5.15"
)

// TestApplicationUser: in a permitted namespace the real fabric-ca-client registers and enrols a user with the
// organization's CA, and a fabric-gateway client submits as that user; an Identity there does the same by declaration.
// The same pods in another namespace reach neither CA nor peer, and an Identity there is refused.
func TestApplicationUser(t *testing.T) {
	ctx, c := start(t, 10*time.Minute)
	if err := c.LoadProgram(ctx, "test/e2e/app", appImage); err != nil {
		t.Fatal(err)
	}
	s := raft3("users")
	s.Orgs[0].CA, s.Clients = "Managed", []string{"users-apps"}
	for _, ns := range []string{"users-apps", "users-strangers"} {
		space(ctx, t, c, ns)
	}
	up(ctx, t, c, s)
	for _, ns := range []string{"users-apps", "users-strangers"} {
		handOut(ctx, t, c, s.Name, "banka", ns)
	}

	ok, log := runPod(ctx, t, c, enrolAndSubmit("users-apps", s.Name, "enrolled"))
	progress("permitted namespace: %v: %s", ok, log)
	if !ok {
		t.Errorf("an application in a permitted namespace failed: %s", log)
	}
	submitAsIdentity(ctx, t, c, s.Name)

	stranger := enrolAndSubmit("users-strangers", s.Name, "stranger")
	patience := int64(30) // fabric-ca-client's own is minutes
	stranger.Spec.ActiveDeadlineSeconds = &patience
	if ok, log := runPod(ctx, t, c, stranger); ok {
		t.Errorf("an application in a namespace that is not permitted got through: %s", log)
	}
	for _, target := range []string{"ca-banka.users:7054", "peer0-banka.users:7051", "orderer0-ord.users:7050"} {
		if !connects(ctx, t, c, "users-apps", "", target) {
			t.Errorf("a pod in a permitted namespace does not connect to %s", target)
		}
		if connects(ctx, t, c, "users-strangers", "", target) {
			t.Errorf("a pod in a namespace that is not permitted connects to %s", target)
		}
	}
	apply(ctx, t, c, identityManifest("users-strangers", s.Name))
	reason, message, err := c.WaitStalled(ctx, identityObject("users-strangers"))
	if err != nil {
		t.Fatal(err)
	}
	if reason != v1alpha1.ReasonForbidden || !strings.Contains(message, "clientNamespaces") {
		t.Errorf("an Identity in a namespace that is not permitted: got %s: %s", reason, message)
	}
}

// submitAsIdentity lets an Identity make a user and submits with what its Secret holds.
func submitAsIdentity(ctx context.Context, t *testing.T, c *harness.Cluster, network string) {
	t.Helper()
	apply(ctx, t, c, identityManifest("users-apps", network))
	ready(ctx, t, c, identityObject("users-apps"))
	pod := probe("users-apps")
	pod.Spec.Containers[0].Image = appImage
	pod.Spec.Containers[0].Args = []string{
		"-peer", "peer0-banka." + network + ":7051", "-roots", "/alice/ca.pem", "-cert", "/alice/cert.pem", "-key", "/alice/key.pem",
		"-msp-id", "BankAMSP", "-asset", "declared",
	}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "alice", MountPath: "/alice", ReadOnly: true}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "alice", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "alice"}}}}
	ok, log := runPod(ctx, t, c, pod)
	progress("identity: %v: %s", ok, log)
	if !ok {
		t.Errorf("an application with an Identity's Secret failed: %s", log)
	}
}

func identityManifest(namespace, network string) string {
	return fmt.Sprintf(`
apiVersion: heddle.dev/v1alpha1
kind: Identity
metadata: {name: alice, namespace: %s}
spec: {networkRef: %s, organization: banka, attributes: [{name: role, value: teller}]}
`, namespace, network)
}

func identityObject(namespace string) *v1alpha1.Identity {
	return &v1alpha1.Identity{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "alice"}}
}

// space makes a namespace as restricted as a network's and removes it after the test.
func space(ctx context.Context, t *testing.T, c *harness.Cluster, name string) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	if err := c.Create(ctx, ns); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Delete(context.WithoutCancel(ctx), ns); err != nil {
			t.Errorf("delete namespace %q: %v", name, err)
		}
	})
}

// handOut does what a person does who gives an application what it needs: the registrar's password and the TLS roots.
func handOut(ctx context.Context, t *testing.T, c *harness.Cluster, network, organization, namespace string) {
	t.Helper()
	var registrar corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: network, Name: organization + "-ca-admin"}, &registrar); err != nil {
		t.Fatal(err)
	}
	roots, err := c.TLSRoots(ctx, network, organization)
	if err != nil {
		t.Fatal(err)
	}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "registrar"},
		Data:       map[string][]byte{"username": registrar.Data["username"], "password": registrar.Data["password"], "roots.pem": roots},
	}
	if err := c.Create(ctx, s); err != nil {
		t.Fatal(err)
	}
}

// enrolAndSubmit is a pod in which fabric-ca-client enrols the registrar, registers a user and enrols that, and the
// application then submits as the user.
func enrolAndSubmit(namespace, network, user string) *corev1.Pod {
	pod := probe(namespace)
	ca := "https://%s@ca-banka." + network + ":7054"
	fromRegistrar := func(name, key string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "registrar"}, Key: key,
		}}}
	}
	mounts := []corev1.VolumeMount{{Name: "home", MountPath: "/home/app"}, {Name: "registrar", MountPath: "/registrar", ReadOnly: true}}
	step := func(name string, args ...string) corev1.Container {
		return corev1.Container{
			Name: name, Image: caImage, ImagePullPolicy: corev1.PullNever, Command: []string{"fabric-ca-client"},
			Args:            append(args, "--tls.certfiles", "/registrar/roots.pem"),
			Env:             []corev1.EnvVar{fromRegistrar("REGISTRAR", "username"), fromRegistrar("PASSWORD", "password")},
			SecurityContext: restricted(), VolumeMounts: mounts,
		}
	}
	pod.Spec.InitContainers = []corev1.Container{
		step("enrol-registrar", "enroll", "-u", fmt.Sprintf(ca, "$(REGISTRAR):$(PASSWORD)"), "-H", "/home/app/registrar"),
		step("register", "register", "-u", "https://ca-banka."+network+":7054", "-H", "/home/app/registrar",
			"--id.name", user, "--id.secret", user+"pw", "--id.type", "client"),
		step("enrol", "enroll", "-u", fmt.Sprintf(ca, user+":"+user+"pw"), "-H", "/home/app/user"),
	}
	main := &pod.Spec.Containers[0]
	main.Image, main.VolumeMounts = appImage, mounts
	main.Args = []string{
		"-peer", "peer0-banka." + network + ":7051", "-roots", "/registrar/roots.pem", "-cert", "/home/app/user/msp/signcerts/cert.pem",
		"-key", "/home/app/user/msp/keystore", "-msp-id", "BankAMSP", "-asset", user,
	}
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "home", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "registrar", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "registrar"}}},
	}
	return pod
}
