// Package image makes container images without a container engine, and carries
// them: files to layers, images to OCI archives, archives to their contents,
// registries to archives.
//
// What it builds depends on its inputs alone: no clock, no order of a file system,
// no compressor, so that the same files give the same digest on every machine. It
// starts no program and knows no Kubernetes; the lab above it loads what it makes.
package image
