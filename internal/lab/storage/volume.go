package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	namePrefix = "pvc-"
	// finalizer keeps a volume's object until its folder is gone.
	finalizer = "heddle.dev/lab-folder"
	// provisionedBy makes Kubernetes leave the deletion of a volume to its provisioner.
	provisionedBy = "pv.kubernetes.io/provisioned-by"
	// wanted is set by Kubernetes on a claim once it knows that no existing volume fits
	// and, where the class says so, that a pod needs it.
	wanted = "volume.kubernetes.io/storage-provisioner"

	reasonProvisioned = "VolumeProvisioned"
	reasonRefused     = "ProvisioningFailed"
)

// volumeName depends on nothing but the claim, so a provisioner that was
// killed half-way finds its own work again.
func volumeName(uid types.UID) string { return namePrefix + string(uid) }

// provision makes folder and volume for a claim. Each step may have been done before.
func (p *provisioner) provision(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	if claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil || claim.Annotations[wanted] != p.name {
		return nil
	}
	class := p.classOf(claim)
	if class == nil {
		return nil
	}
	name := volumeName(claim.UID)
	if _, err := p.volumes.Get(name); err == nil {
		return nil
	}
	if why := refusal(claim, class); why != "" {
		p.events.Eventf(claim, nil, corev1.EventTypeWarning, reasonRefused, "Provision", "%s", why)
		return nil
	}
	if err := p.makeFolder(name); err != nil {
		return err
	}
	if err := p.announce(ctx, claim); err != nil {
		return err
	}
	_, err := p.api.CoreV1().PersistentVolumes().Create(ctx, p.volume(claim, class), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("make volume of claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	if err == nil {
		p.events.Eventf(claim, nil, corev1.EventTypeNormal, reasonProvisioned, "Provision", "Made volume %s", name)
		log.FromContext(ctx).V(1).Info("Made volume", "volume", name, "claim", claim.Namespace+"/"+claim.Name)
	}
	return nil
}

// announce marks a claim Bound just before it is. Kubernetes writes a claim's volume first and its phase a moment later;
// in between the scheduler places the pod and the kubelet finds the claim unbound, and looks again after ten seconds.
func (p *provisioner) announce(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	bound := fmt.Appendf(nil, `{"metadata":{"uid":%q},"status":{"phase":%q}}`, claim.UID, corev1.ClaimBound)
	_, err := p.api.CoreV1().PersistentVolumeClaims(claim.Namespace).Patch(ctx, claim.Name, types.MergePatchType, bound,
		metav1.PatchOptions{}, "status")
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("mark claim %s/%s as bound: %w", claim.Namespace, claim.Name, err)
	}
	return nil
}

// refusal says in a sentence why a claim cannot be served, or nothing. Silence
// would look like a volume that is still on its way.
func refusal(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) string {
	switch {
	case len(class.Parameters) > 0:
		return fmt.Sprintf("StorageClass %q has parameters, and the lab's volumes know none: remove them", class.Name)
	case len(class.MountOptions) > 0:
		return fmt.Sprintf("StorageClass %q has mountOptions, and a folder is not mounted with any: remove them", class.Name)
	case ptr.Deref(claim.Spec.VolumeMode, corev1.PersistentVolumeFilesystem) != corev1.PersistentVolumeFilesystem:
		return "The lab has no block volumes: set volumeMode to Filesystem"
	case claim.Spec.Selector != nil:
		return "The lab makes new volumes, so a claim cannot select one by label: remove spec.selector, or set volumeName"
	case claim.Spec.DataSource != nil || claim.Spec.DataSourceRef != nil:
		return "The lab cannot clone volumes or restore snapshots: remove spec.dataSource and spec.dataSourceRef"
	}
	for _, mode := range claim.Spec.AccessModes {
		if mode != corev1.ReadWriteOnce && mode != corev1.ReadWriteOncePod {
			return fmt.Sprintf("The lab's volumes have one writer: access mode %s must be ReadWriteOnce or ReadWriteOncePod", mode)
		}
	}
	return ""
}

// volume is bound to the claim from the start. It has no node affinity, so the pods of a drained node can move.
func (p *provisioner) volume(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) *corev1.PersistentVolume {
	name := volumeName(claim.UID)
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Annotations: map[string]string{provisionedBy: p.name},
			Finalizers:  []string{finalizer},
		},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName:              class.Name,
			PersistentVolumeReclaimPolicy: ptr.Deref(class.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete),
			AccessModes:                   slices.Clone(claim.Spec.AccessModes),
			VolumeMode:                    ptr.To(corev1.PersistentVolumeFilesystem),
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{
				Path: filepath.Join(p.dir, name),
				Type: ptr.To(corev1.HostPathDirectory),
			}},
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
		},
	}
}

// makeFolder lets everybody write: the kubelet does not apply fsGroup to such volumes,
// and pods run as users that the machine does not know.
func (p *provisioner) makeFolder(name string) error {
	if err := p.root.Mkdir(name, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make folder of volume %q: %w", name, err)
	}
	if err := p.root.Chmod(name, 0o777); err != nil { // the umask took some bits
		return fmt.Errorf("open up folder of volume %q: %w", name, err)
	}
	return nil
}

// reclaim removes the folder of a volume that nobody claims any more, if its policy says so.
func (p *provisioner) reclaim(ctx context.Context, pv *corev1.PersistentVolume) error {
	if pv.Annotations[provisionedBy] != p.name {
		return nil
	}
	deleted := pv.DeletionTimestamp != nil
	if !deleted && pv.Status.Phase != corev1.VolumeReleased {
		return nil
	}
	if deleted && inUse(pv) {
		return nil
	}
	if pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
		if err := p.removeFolder(pv); err != nil {
			return err
		}
	} else if !deleted {
		return nil
	}
	return p.forget(ctx, pv)
}

// inUse says that Kubernetes itself still protects the volume because a claim is bound to it.
func inUse(pv *corev1.PersistentVolume) bool {
	return slices.Contains(pv.Finalizers, "kubernetes.io/pv-protection")
}

// removeFolder removes only what a volume of ours can have: a direct child of our folder with a name of ours.
func (p *provisioner) removeFolder(pv *corev1.PersistentVolume) error {
	if pv.Spec.HostPath == nil || pv.Spec.HostPath.Path != filepath.Join(p.dir, pv.Name) || !strings.HasPrefix(pv.Name, namePrefix) {
		return nil
	}
	if err := p.root.RemoveAll(pv.Name); err != nil {
		return fmt.Errorf("remove folder of volume %q: %w", pv.Name, err)
	}
	return nil
}

// forget deletes the volume's object and then lets it go.
func (p *provisioner) forget(ctx context.Context, pv *corev1.PersistentVolume) error {
	volumes := p.api.CoreV1().PersistentVolumes()
	if pv.DeletionTimestamp == nil {
		err := volumes.Delete(ctx, pv.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pv.UID}})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete volume %q: %w", pv.Name, err)
		}
		return nil // the deletion mark brings it back here
	}
	i := slices.Index(pv.Finalizers, finalizer)
	if i < 0 {
		return nil
	}
	out := pv.DeepCopy()
	out.Finalizers = slices.Delete(out.Finalizers, i, i+1)
	_, err := volumes.Update(ctx, out, metav1.UpdateOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("release volume %q: %w", pv.Name, err)
	}
	log.FromContext(ctx).V(1).Info("Deleted volume", "volume", pv.Name)
	return nil
}

// sweep removes folders that a killed provisioner made for claims that are gone. Only empty
// ones: a folder with data and no volume is one that somebody retained.
func (p *provisioner) sweep() error {
	claims, err := p.claims.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list claims: %w", err)
	}
	claimed := map[string]bool{}
	for _, c := range claims {
		claimed[volumeName(c.UID)] = true
	}
	d, err := p.root.Open(".")
	if err != nil {
		return fmt.Errorf("list folders of volumes: %w", err)
	}
	defer d.Close()
	entries, err := d.ReadDir(-1)
	if err != nil {
		return fmt.Errorf("list folders of volumes: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		if _, err := p.volumes.Get(name); err == nil || claimed[name] || !e.IsDir() || !strings.HasPrefix(name, namePrefix) {
			continue
		}
		_ = p.root.Remove(name) // fails on a folder that holds anything, as it should
	}
	return nil
}
