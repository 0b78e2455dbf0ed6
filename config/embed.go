// Package config carries the manifests that install Heddle (CRDs, rights, admission, operator) and the samples,
// so that one binary can install a platform without any file beside it. The YAML files are the truth;
// kubectl apply -f works on them as well.
package config

import "embed"

// Files holds every manifest by its path below this folder, such as "crd/heddle.dev_networks.yaml".
//
//go:embed */*.yaml
var Files embed.FS
