package specs

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/nodeenv"
)

// CouchDBContainer is the container with the state database in the pod of a peer.
const CouchDBContainer = "couchdb"

// CouchDBUsername is the administrator that the peer signs in as.
const CouchDBUsername = "heddle"

const (
	couchDBImage = "docker.io/library/couchdb:3.4"
	// couchDBUser is the user that the files of the stock image belong to.
	couchDBUser int64 = 5984
	// couchDBAddress is the same from both containers: they share the pod's localhost.
	couchDBAddress = "127.0.0.1:5984"
	couchDBHome    = "/opt/couchdb"
	// keyCouchDBSettings is the settings' key in their ConfigMap, and their file.
	keyCouchDBSettings = "heddle.ini"
)

// couchDBSettings take the place of the stock image's own, which listen on every address. A document must take
// whatever a block may carry: a peer that cannot store what the others have stored stands still for good. Nobody but
// the probe asks without the password.
const couchDBSettings = `[couchdb]
single_node = true
max_document_size = 268435456
[chttpd]
bind_address = 127.0.0.1
port = 5984
require_valid_user_except_for_up = true
[log]
writer = stderr
level = warning
`

// couchDBProbe asks CouchDB whether it is up, from inside its container: from outside nobody reaches it. The stock
// image has bash, as its entry point needs it, and nothing else that speaks HTTP for certain.
func couchDBProbe() corev1.ProbeHandler {
	host, port, _ := strings.Cut(couchDBAddress, ":")
	script := `exec 3<>/dev/tcp/` + host + `/` + port + ` && printf 'GET /_up HTTP/1.0\r\n\r\n' >&3 && read -r -t 5 line <&3 && [[ $line == *' 200 '* ]]`
	return corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"bash", "-c", script}}}
}

// HasCouchDB says that the node is a peer with CouchDB as state database.
func (n Node) HasCouchDB() bool {
	return n.State != nil && n.State.StateDatabase == v1alpha1.StateCouchDB
}

func (n Node) couchDB() v1alpha1.CouchDB { return ptr.Deref(n.State.CouchDB, v1alpha1.CouchDB{}) }

// couchDBWorkload is the peer's, under the name of what belongs to its state database.
func (n Node) couchDBWorkload() workload {
	w := n.workload()
	w.name = CouchDBName(n.Name)
	return w
}

// CouchDBVolume holds the peer's world state.
func (n Node) CouchDBVolume() *corev1.PersistentVolumeClaim {
	return n.couchDBWorkload().volume(n.couchDB().Storage, "5Gi")
}

// CouchDBSecret holds what the peer signs in with; without a password it is only the Secret's identity.
func (n Node) CouchDBSecret(password string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: n.couchDBWorkload().meta(), Type: corev1.SecretTypeOpaque}
	if password != "" {
		s.Data = map[string][]byte{KeyUsername: []byte(CouchDBUsername), KeyPassword: []byte(password)}
	}
	return s
}

// CouchDBConfigMap holds the settings of the peer's state database.
func (n Node) CouchDBConfigMap() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: n.couchDBWorkload().meta(), Data: map[string]string{keyCouchDBSettings: couchDBSettings}}
}

// withCouchDB puts the state database into the pod of a peer: it starts before the peer and ends after it.
func (n Node) withCouchDB(w *workload) {
	name := CouchDBName(n.Name)
	want := n.couchDB()
	probe := couchDBProbe()
	c := corev1.Container{
		Name: CouchDBContainer, Image: first(want.Image, couchDBImage),
		ImagePullPolicy: first(want.ImagePullPolicy, n.Settings.ImagePullPolicy),
		RestartPolicy:   ptr.To(corev1.ContainerRestartPolicyAlways),
		Env: []corev1.EnvVar{
			secretVariable("COUCHDB_USER", name, KeyUsername), secretVariable("COUCHDB_PASSWORD", name, KeyPassword),
		},
		Resources: resources(want.Resources, "50m", "128Mi", "2Gi"),
		// Volumes belong to the pod's group, which every container of it is in.
		SecurityContext: &corev1.SecurityContext{RunAsUser: ptr.To(couchDBUser), RunAsGroup: ptr.To(couchDBUser)},
		VolumeMounts: []corev1.VolumeMount{
			mount("couchdb-data", couchDBHome+"/data"), mountReadOnly("couchdb-settings", couchDBHome+"/etc/default.d"),
			// The image's entry point writes the administrator here, and CouchDB the hash of the password.
			mount("couchdb-local", couchDBHome+"/etc/local.d"), mount("couchdb-tmp", "/tmp"),
		},
		StartupProbe:  &corev1.Probe{ProbeHandler: probe, PeriodSeconds: 1, TimeoutSeconds: 6, FailureThreshold: 300},
		LivenessProbe: &corev1.Probe{ProbeHandler: probe, PeriodSeconds: 20, TimeoutSeconds: 6, FailureThreshold: 6},
	}
	w.init = append(w.init, c)
	w.volumes = append(w.volumes,
		claimed("couchdb-data", name), scratch("couchdb-local", "", "1Mi"), scratch("couchdb-tmp", "", "256Mi"),
		corev1.Volume{Name: "couchdb-settings", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: name}, DefaultMode: ptr.To[int32](0o444),
		}}})
	// CouchDB reads its settings at its start.
	w.material += "\n" + couchDBSettings
	w.container.Env = append(w.container.Env,
		secretVariable(nodeenv.CouchDBUsername, name, KeyUsername), secretVariable(nodeenv.CouchDBPassword, name, KeyPassword))
}

func secretVariable(variable, secret, key string) corev1.EnvVar {
	return corev1.EnvVar{Name: variable, ValueFrom: &corev1.EnvVarSource{
		SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: key},
	}}
}
