package specs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/msp"
)

// mspFolders are the folders of an MSP that hold public material; a file of one is kept under the key FOLDER_FILE.
var mspFolders = []string{"cacerts", "intermediatecerts", "tlscacerts", "tlsintermediatecerts", "crls"} //nolint:gochecknoglobals // a constant

// MSPConfigMapFor holds an organization's public MSP material: the bundles for people and clients, and one key for
// each file of the folder that a node mounts, because Fabric reads no more than one certificate of a file. caChain is
// the chain of the application CA, from its own certificate to the root.
func MSPConfigMapFor(o *v1alpha1.Organization, material msp.Material, caChain []byte) *corev1.ConfigMap {
	data := map[string]string{
		KeyMSPID:            o.Spec.MSPID,
		KeyCACerts:          join(material.CACerts),
		KeyIntermediates:    join(material.IntermediateCerts),
		KeyTLSCACerts:       join(material.TLSCACerts),
		KeyTLSIntermediates: join(material.TLSIntermediates),
		KeyTLSRoots:         join(material.TLSRoots()),
		KeyCAChain:          string(caChain),
	}
	if len(material.CRLs) > 0 {
		data[KeyCRLs] = join(material.CRLs)
	}
	for path, content := range material.Files() {
		data[strings.ReplaceAll(path, "/", "_")] = string(content)
	}
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: MSPConfigMap(o.Name), Namespace: o.Namespace, Labels: PlaceOf(o.Namespace, o.Labels).Labels(o.Name, "", ""),
		},
		Data: data,
	}
}

// MSPMaterial reads what MSPConfigMapFor wrote.
func MSPMaterial(cm *corev1.ConfigMap) (mspID string, material msp.Material, err error) {
	mspID = cm.Data[KeyMSPID]
	if mspID == "" || cm.Data[KeyCACerts] == "" {
		return "", msp.Material{}, fmt.Errorf("read ConfigMap %q: %w", cm.Name, errIncomplete)
	}
	return mspID, msp.Material{
		CACerts:           split(cm.Data[KeyCACerts]),
		IntermediateCerts: split(cm.Data[KeyIntermediates]),
		TLSCACerts:        split(cm.Data[KeyTLSCACerts]),
		TLSIntermediates:  split(cm.Data[KeyTLSIntermediates]),
		CRLs:              split(cm.Data[KeyCRLs]),
		NodeOUs:           msp.DefaultNodeOUs(),
	}, nil
}

var errIncomplete = errors.New("it lacks MSP ID or root certificates")

// MSPHash identifies an organization's public MSP material.
func MSPHash(cm *corev1.ConfigMap) string {
	sum := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(cm.Data)) {
		fmt.Fprintf(sum, "%s %d\n%s", key, len(cm.Data[key]), cm.Data[key])
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// mspItems maps the keys of an organization's ConfigMap to the files of a node's MSP folder.
func mspItems(keys []string) []corev1.KeyToPath {
	var items []corev1.KeyToPath
	for _, key := range slices.Sorted(slices.Values(keys)) {
		if key == KeyNodeOUs {
			items = append(items, corev1.KeyToPath{Key: key, Path: key})
			continue
		}
		folder, file, ok := strings.Cut(key, "_")
		if ok && slices.Contains(mspFolders, folder) {
			items = append(items, corev1.KeyToPath{Key: key, Path: folder + "/" + file})
		}
	}
	return items
}

func join(blocks [][]byte) string { return string(bytes.Join(blocks, nil)) }

// split cuts a bundle into its PEM blocks.
func split(bundle string) [][]byte {
	var out [][]byte
	block, rest := pem.Decode([]byte(bundle))
	for ; block != nil; block, rest = pem.Decode(rest) {
		out = append(out, pem.EncodeToMemory(block))
	}
	return out
}
