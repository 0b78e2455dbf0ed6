// Package v1alpha1 holds the types of the API group heddle.dev: a Fabric network and what it is made of.
// It owns names, fields, conditions and reasons; it knows nothing of how they are brought about.
// The comments on types and fields are user documentation: `kubectl explain` shows them.
// Fields are added, never renamed, removed or tightened once a release has shipped them.
//
// +kubebuilder:object:generate=true
// +groupName=heddle.dev
package v1alpha1
