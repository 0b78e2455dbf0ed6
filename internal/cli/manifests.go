package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"heddle.dev/heddle/config"
	"heddle.dev/heddle/internal/image"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/internal/version"
)

// installation is what install applies, in its order.
type installation struct {
	crds      []*unstructured.Unstructured
	namespace []*unstructured.Unstructured
	// rights and admission stand before the operator starts.
	rights    []*unstructured.Unstructured
	admission []*unstructured.Unstructured
	// registry is empty where there are no builds.
	registry []*unstructured.Unstructured
	operator []*unstructured.Unstructured
	// unwanted objects belong to the other mode and are removed.
	unwanted []*unstructured.Unstructured
}

// installSettings change the manifests.
type installSettings struct {
	operatorImage string
	builderImage  string
	nginxImage    string
	// namespaces of the mode without rights in the cluster as a whole; empty is the whole cluster.
	namespaces []string
	buildSettings
}

// manifestsFor reads the embedded manifests and fills the settings in.
func manifestsFor(s installSettings) (*installation, error) {
	s.buildSettings = s.withDefaults()
	in := &installation{}
	for folder, list := range map[string]*[]*unstructured.Unstructured{
		"crd": &in.crds, "rbac": &in.rights, "admission": &in.admission, "operator": &in.operator, "registry": &in.registry,
	} {
		objects, err := readManifests(config.Files, folder)
		if err != nil {
			return nil, err
		}
		*list = objects
	}
	in.namespace, in.operator = in.operator[:1:1], in.operator[1:]
	if !s.builds {
		in.registry = nil
	}
	if err := s.fillRegistry(in.registry); err != nil {
		return nil, err
	}
	for _, o := range in.operator {
		if o.GetKind() == "Deployment" && o.GetName() == specs.OperatorName {
			if err := s.fill(o); err != nil {
				return nil, err
			}
		}
	}
	if len(s.namespaces) > 0 {
		return in, s.narrow(in)
	}
	return in, nil
}

// all lists the objects in the order in which they are applied.
func (in *installation) all() []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, list := range [][]*unstructured.Unstructured{in.crds, in.namespace, in.rights, in.admission, in.registry, in.operator} {
		out = append(out, list...)
	}
	return out
}

// kinds are those of the custom resources.
func (in *installation) kinds() []string {
	var out []string
	for _, crd := range in.crds {
		if kind, ok, err := unstructured.NestedString(crd.Object, "spec", "names", "kind"); ok && err == nil {
			out = append(out, kind)
		}
	}
	return out
}

// readManifests reads every document of every file of a folder.
func readManifests(files fs.FS, folder string) ([]*unstructured.Unstructured, error) {
	names, err := fs.Glob(files, path.Join(folder, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("list manifests: %w", err)
	}
	var out []*unstructured.Unstructured
	for _, name := range names {
		b, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read manifest: %w", err)
		}
		objects, err := parseManifests(b)
		if err != nil {
			return nil, fmt.Errorf("parse manifest %s: %w", name, err)
		}
		out = append(out, objects...)
	}
	return out, nil
}

func parseManifests(b []byte) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	d := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(b), 4096)
	for {
		u := &unstructured.Unstructured{}
		err := d.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if len(u.Object) > 0 {
			out = append(out, u)
		}
	}
}

// images that the operator runs from and gives to peers: those of this version unless given.
func (s installSettings) images() (operator, builder string) {
	operator, builder = s.operatorImage, s.builderImage
	if operator == "" {
		operator = image.OperatorRepository + ":" + version.Version
	}
	if builder == "" {
		builder = image.BuilderRepository + ":" + version.Version
	}
	return operator, builder
}

// fill writes images and namespaces into the operator's Deployment.
func (s installSettings) fill(deployment *unstructured.Unstructured) error {
	operator, builder := s.images()
	env := map[string]string{envBuilder: builder, envNginx: cmp.Or(s.nginxImage, image.NginxRepository+":"+version.Version)}
	maps.Copy(env, s.env())
	err := editContainer(deployment, func(c map[string]any) {
		c["image"] = operator
		list, _ := c["env"].([]any)
		for _, e := range list {
			v, _ := e.(map[string]any)
			name, _ := v["name"].(string)
			if value, ok := env[name]; ok {
				v["value"] = value
			}
		}
		if len(s.namespaces) > 0 {
			args, _ := c["args"].([]any)
			c["args"] = append(args, "--namespaces="+strings.Join(s.namespaces, ","))
		}
	})
	if err != nil {
		return fmt.Errorf("fill in the operator's Deployment: %w", err)
	}
	return nil
}

// editContainer changes the first container of a Deployment.
func editContainer(deployment *unstructured.Unstructured, edit func(map[string]any)) error {
	path := []string{"spec", "template", "spec", "containers"}
	containers, _, err := unstructured.NestedSlice(deployment.Object, path...)
	if err != nil || len(containers) == 0 {
		return fmt.Errorf("it has no container: %w", err)
	}
	c, ok := containers[0].(map[string]any)
	if !ok {
		return errors.New("its container is not an object")
	}
	edit(c)
	return unstructured.SetNestedSlice(deployment.Object, containers, path...)
}

// clusterRoleNamespaced is what the operator may look at in the namespaces it is kept to.
const clusterRoleNamespaced = "heddle-operator-namespaced"

// roleSite is what the operator may do in its own namespace for this site, which is cluster-wide.
const roleSite = specs.OperatorName + "-site"

// narrow takes the rights in the cluster as a whole away and binds those in the namespaces instead.
func (s installSettings) narrow(in *installation) error {
	var kept []*unstructured.Unstructured
	for _, o := range in.rights {
		if (o.GetKind() == "ClusterRoleBinding" || o.GetKind() == "ClusterRole") && o.GetName() == specs.OperatorName || o.GetName() == roleSite {
			in.unwanted = append(in.unwanted, o)
			continue
		}
		kept = append(kept, o)
	}
	for _, ns := range s.namespaces {
		for name, role := range map[string]string{
			specs.RoleBindingOperator:            specs.ClusterRoleNetwork,
			specs.RoleBindingOperator + "-kinds": clusterRoleNamespaced,
		} {
			b := &rbacv1.RoleBinding{
				TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"},
				ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns, Labels: map[string]string{labelPartOf: partOf}},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
				Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: specs.OperatorName, Namespace: specs.SystemNamespace}},
			}
			object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(b)
			if err != nil {
				return fmt.Errorf("make RoleBinding of namespace %q: %w", ns, err)
			}
			kept = append(kept, &unstructured.Unstructured{Object: object})
		}
	}
	in.rights = kept
	return nil
}

// Labels on everything that install makes.
const (
	labelPartOf = "app.kubernetes.io/part-of"
	partOf      = "heddle"
)
