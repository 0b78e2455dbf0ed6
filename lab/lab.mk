# The programs of the lab: Kubernetes, DNS, the pods' pause. One module, its own go.mod.
# The flags are fixed: other flags would miss the build cache, and a cold build takes minutes.
LAB_VERSION := -X k8s.io/component-base/version.gitVersion=v1.36.3 \
	-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36
LAB_SOURCES := $(wildcard lab/*/*.go lab/go.mod lab/go.sum)
LAB_PROGRAMS := out/bin/kube out/bin/coredns out/bin/pause out/bin/testbox

.PHONY: _lab
_lab: $(LAB_PROGRAMS)

$(LAB_PROGRAMS) &: $(LAB_SOURCES)
	mkdir -p out/bin
	cd lab && CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags '-s -w $(LAB_VERSION)' \
		-o $(CURDIR)/out/bin/ ./kube ./coredns ./pause ./testbox
	touch $(LAB_PROGRAMS)
