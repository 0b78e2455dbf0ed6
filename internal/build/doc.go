// Package build is what runs inside a build's pod: it fetches the source of a contract, compiles it by the recipe of its
// language, and makes and pushes the image with what stands beside it. Each is a container of its own, and what one leaves
// the next does not trust: compiling runs code of the source's author.
//
// It knows no Kubernetes: the pod is made by the controller of builds. Layers and images are internal/image's.
package build
