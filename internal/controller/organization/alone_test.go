package organization_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/controller/organization"
)

func TestOneOrganizationForEachMSPID(t *testing.T) {
	e := start(t, organization.Options{})
	first := withoutCA(e)
	first.Name = "zbank"
	e.Make(t, first)
	e.AwaitReason(t, first, v1alpha1.ReasonReady)

	// Its name goes before the other's, and it may well be of the same second.
	second := banka(e)
	e.Make(t, second)
	c := e.AwaitReason(t, second, v1alpha1.ReasonInvalidSpec)
	if err := controllertest.Contains(c.Message, "spec.mspID", "BankAMSP", `"zbank"`, "delete"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"banka-root", "banka-ops", "banka-app", "banka-admin"} {
		if e.Read(t, &corev1.Secret{}, name) {
			t.Errorf("Secret %s was made all the same", name)
		}
	}
	if e.Read(t, &corev1.ConfigMap{}, "banka-msp") || e.Read(t, &corev1.PersistentVolumeClaim{}, "ca-banka") {
		t.Error("MSP or volume were made all the same")
	}
	other := withoutCA(e)
	other.Name, other.Spec.MSPID = "bankb", "BankBMSP"
	e.Make(t, other)
	e.AwaitReason(t, other, v1alpha1.ReasonReady)

	// A change of the one that has the ID does not cost it the ID.
	controllertest.Change(t, e, first, func(o *v1alpha1.Organization) { o.Annotations = map[string]string{"touched": "yes"} })
	e.AwaitReason(t, first, v1alpha1.ReasonReady)

	if err := e.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	e.AwaitReason(t, second, v1alpha1.ReasonWaitingForPod)
	if !e.Read(t, &corev1.Secret{}, "banka-root") {
		t.Error("the one that waited for the MSP ID has no root")
	}
}
