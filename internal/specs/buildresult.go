package specs

// BuildResult is what a build's last container leaves as its termination message, as JSON of at most 4096 bytes: the
// image with all that stands beside it, or why there is none.
type BuildResult struct {
	// Name of the image, without digest.
	Name string `json:"name,omitempty"`
	// Digest of the image.
	Digest string `json:"digest,omitempty"`
	// SBOM, Provenance, Meta and Log are digests of blobs in the image's repository; Meta (the source's META-INF folder
	// as a tar archive) is empty where the source has none.
	SBOM       string `json:"sbom,omitempty"`
	Provenance string `json:"provenance,omitempty"`
	Meta       string `json:"meta,omitempty"`
	Log        string `json:"log,omitempty"`
	// Failure holds the last lines of the log of a build that made no image: at most 3000 bytes.
	Failure string `json:"failure,omitempty"`
}

// Paths in the pod of a build.
const (
	// BuildWork holds src (the unpacked source) and out (what compile leaves for push).
	BuildWork = "/work"
	// BuildCache holds what is kept between builds of a namespace, a folder for each tool.
	BuildCache = "/cache"
	// BuildKey holds username and password for pushing; only the container that pushes has it.
	BuildKey = "/etc/heddle/push"
	// BuildTrust holds ca.crt, which verifies the registry.
	BuildTrust = "/etc/heddle/registry"
)
