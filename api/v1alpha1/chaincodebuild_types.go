package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Language is what a contract is written in.
// +kubebuilder:validation:Enum=Go;JavaScript;TypeScript;Java;Binary
type Language string

const (
	// LanguageGo is a main package with a go.mod; modules come from the proxy or the source's vendor folder.
	LanguageGo Language = "Go"
	// LanguageJavaScript is a package.json with a start script.
	LanguageJavaScript Language = "JavaScript"
	// LanguageTypeScript is a package.json with a build script and a start script.
	LanguageTypeScript Language = "TypeScript"
	// LanguageJava is a Gradle or Maven project.
	LanguageJava Language = "Java"
	// LanguageBinary is one static program named chaincode.
	LanguageBinary Language = "Binary"
)

// ChaincodeSource is what a build is made from. The bytes are uploaded for the object: nothing else fits the digest.
type ChaincodeSource struct {
	// digest of the source archive, as sha256:….
	// +required
	// +kubebuilder:validation:MinLength=71
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:XValidation:rule="self.matches('^sha256:[0-9a-f]{64}$')",message="digest must be sha256: and 64 hexadecimal digits"
	Digest string `json:"digest,omitempty"`
	// sizeBytes of the source archive.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=104857600
	SizeBytes int64 `json:"sizeBytes,omitempty"`
}

// ChaincodeBuildSpec describes a build: a source never changes, so the whole spec is immutable.
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a build is immutable: make another ChaincodeBuild for another source"
type ChaincodeBuildSpec struct {
	// source of the contract.
	// +required
	Source ChaincodeSource `json:"source,omitempty,omitzero"`
	// language of the contract; it chooses the recipe.
	// +required
	Language Language `json:"language,omitempty"`
	// path of the folder in the source that is built; the source's root unless given.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$') && !self.split('/').exists(p, p == '..' || p == '.')",message="path must be relative and must not lead out of the source"
	Path string `json:"path,omitempty"`
	// timeoutSeconds bounds the build, upload included; 900 unless given.
	// +optional
	// +kubebuilder:default=900
	// +kubebuilder:validation:Minimum=30
	// +kubebuilder:validation:Maximum=7200
	TimeoutSeconds *int32 `json:"timeoutSeconds,omitempty"`
	// resources of the container that compiles. Requests of 500m CPU and 512Mi and limits of 2 CPU and 3Gi unless given.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
}

// ChaincodeImage is an image that a build made.
type ChaincodeImage struct {
	// name of the image, without digest.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Name string `json:"name,omitempty"`
	// digest of the image.
	// +required
	// +kubebuilder:validation:MinLength=71
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest,omitempty"`
	// sbom is the digest of the list of components (SPDX) beside the image.
	// +optional
	// +kubebuilder:validation:MaxLength=71
	SBOM string `json:"sbom,omitempty"`
	// provenance is the digest of the statement of how the image came about.
	// +optional
	// +kubebuilder:validation:MaxLength=71
	Provenance string `json:"provenance,omitempty"`
	// meta is the digest of the source's META-INF folder as an archive: indexes for CouchDB, which packages carry.
	// +optional
	// +kubebuilder:validation:MaxLength=71
	Meta string `json:"meta,omitempty"`
	// log is the digest of the whole build log.
	// +optional
	// +kubebuilder:validation:MaxLength=71
	Log string `json:"log,omitempty"`
}

// ChaincodeBuildStatus is what was seen of a build.
type ChaincodeBuildStatus struct {
	// conditions of the build: Ready, Reconciling, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// pushKeyHash is the SHA-256, in hexadecimal digits, of the key with which the running build may push.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	PushKeyHash string `json:"pushKeyHash,omitempty"`
	// image that the build made.
	// +optional
	Image *ChaincodeImage `json:"image,omitempty"`
	// failure holds the last lines of the log of a build that failed, the compiler's own words.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Failure string `json:"failure,omitempty"`
	// startedAt is when the build's pod was made.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// finishedAt is when the build ended.
	// +optional
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`
}

// ChaincodeBuild makes a contract's image from its source.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ccb,categories=heddle
// +kubebuilder:printcolumn:name="Language",type=string,JSONPath=`.spec.language`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Image",type=string,JSONPath=`.status.image.digest`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')",message="metadata.name must be a DNS label of at most 52 characters that starts with a letter"
type ChaincodeBuild struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec is what is built.
	// +required
	Spec ChaincodeBuildSpec `json:"spec,omitempty,omitzero"`
	// status is what was seen of it.
	// +optional
	Status ChaincodeBuildStatus `json:"status,omitempty,omitzero"`
}

// ChaincodeBuildList is a list of ChaincodeBuilds.
// +kubebuilder:object:root=true
type ChaincodeBuildList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ChaincodeBuild `json:"items"`
}
