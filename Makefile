# What people run. Helpers start with an underscore; figures and names are settings on the command line.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := _help
MAKEFLAGS += --no-print-directory

# Fixed for every build: other flags would make other images, and miss the build cache.
export GOFLAGS := -buildvcs=false
export GOTOOLCHAIN := local
export CGO_ENABLED := 0

VERSION    ?= dev
FABRIC_BIN ?= $(HOME)/.cache/heddle/fabric/bin
RUN        ?=
NAME       ?=
FUZZTIME   ?= 60s
export FABRIC_BIN

# Tools and modules with a version of their own: the one place.
GOLANGCI_LINT_VERSION  := v2.15.0
CONTROLLER_GEN_VERSION := v0.21.0
FABRIC_VERSION         := 3.1.5
FABRIC_CA_VERSION      := 1.5.15
COUCHDB_VERSION        := 3.4

BIN   := $(CURDIR)/out/bin
TOOLS := $(CURDIR)/.tools
GO_BUILD := go build -trimpath -ldflags '-s -w -X heddle.dev/heddle/internal/version.Version=$(VERSION)'

.PHONY: _help
_help:
	@echo 'make demo            a Fabric network on this machine, and a transaction on it'
	@echo 'make demo-down       take it away again'
	@echo 'make test            what has to pass: lint, verify, tests, one end-to-end test, fuzzers 5 s each'
	@echo 'make e2e RUN=…       end-to-end tests: a shard, a pattern, or all without RUN'
	@echo 'make fuzz            every fuzzer for FUZZTIME (60s)'
	@echo 'make bench NAME=…    a bench: deploy, throughput, recovery, footprint, contract, fabsim, link'
	@echo 'make lint            formatting and linters'
	@echo 'make verify          generated files are current'
	@echo 'make images          programs and image archives, in out/'
	@echo 'make build-images    images that builds of contracts need, in out/images too'

.PHONY: demo demo-down
demo: _deps _images
	$(BIN)/heddle up --images out/images

demo-down: $(BIN)/heddle
	$(BIN)/heddle down

.PHONY: test e2e fuzz bench
test:
	@tools/test

e2e: _deps images build-images
	HEDDLE_LIBEXEC=$(BIN) HEDDLE_E2E_RUN='$(RUN)' go test -count=1 -v -timeout 240m ./test/e2e/...

fuzz:
	@tools/fuzz $(FUZZTIME)

bench: _deps images $(if $(filter contract,$(NAME)),build-images)
	@test -n '$(NAME)' || { echo 'name a bench: make bench NAME=deploy'; exit 2; }
	@mkdir -p out/bench
	HEDDLE_LIBEXEC=$(BIN) go run ./test/bench -name $(NAME) -out out/bench

.PHONY: lint verify
lint: $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION) $(BIN)/kal
	$< run ./...
	$(BIN)/kal ./api/...
	for module in samples/contracts/*-go samples/clients/go; do (cd $$module && $< run --config $(CURDIR)/.golangci.yml ./...); done
	cd test/differential/contract && $< run --config $(CURDIR)/.golangci.yml ./...
	cd tools/kal && $< run --config $(CURDIR)/.golangci.yml ./...
	cd fabsim && $< run --config $(CURDIR)/.golangci.yml ./cmd/... ./internal/...

# Generated files are made anew; one that comes out different was not current.
verify: $(TOOLS)/controller-gen-$(CONTROLLER_GEN_VERSION)
	@before=$$(cat api/*/zz_generated* config/crd/* | sha256sum); \
	$< object paths=./api/...; \
	$< crd paths=./api/... output:crd:dir=config/crd; \
	[ "$$before" = "$$(cat api/*/zz_generated* config/crd/* | sha256sum)" ] || \
		{ git status --short -- api config; echo 'Generated files were not current. They are now: look at them and commit them.'; exit 1; }
	@echo 'generated files are current'

.PHONY: images _images _programs
MKIMAGES := $(BIN)/mkimages -out out/images -bin $(BIN) -fabric-bin '$(FABRIC_BIN)' -simulated-bin out/fabsim/bin -version '$(VERSION)' \
	-fabric-version $(FABRIC_VERSION) -ca-version $(FABRIC_CA_VERSION) -nginx
images: _programs _couchdb
	$(MKIMAGES) -couchdb-version $(COUCHDB_VERSION) -couchsim out/couchsim

# Those that the demo needs: CouchDB is not among them, and takes a registry or npm.
_images: _programs
	$(MKIMAGES)

_programs: _build _lab _fabsim $(BIN)/fabric-ca-server $(BIN)/fabric-ca-client

# Large ones with the toolchains of this machine: nothing but builds of contracts needs them.
.PHONY: build-images
build-images: _build
	$(BIN)/mkimages -on-demand -out out/images -bin $(BIN) -version '$(VERSION)' -goroot "$$(go env GOROOT)"

# The go command knows what is out of date, so it is asked each time.
.PHONY: _build
_build:
	@mkdir -p $(BIN)
	$(GO_BUILD) -o $(BIN)/ ./cmd/... ./tools/mkimages
	cd samples/contracts/asset-go && $(GO_BUILD) -o $(BIN)/asset-go .

# Simulated nodes, laid out as a release of Fabric: FABRIC_BIN=out/fabsim/bin uses them where real ones are at hand.
.PHONY: _fabsim
_fabsim:
	@mkdir -p out/fabsim/bin out/fabsim/config
	cd fabsim && $(GO_BUILD) -o $(CURDIR)/out/fabsim/bin/fabsim ./cmd/fabsim
	@ln -f out/fabsim/bin/fabsim out/fabsim/bin/peer
	@ln -f out/fabsim/bin/fabsim out/fabsim/bin/orderer
	@cp fabsim/config/*.yaml out/fabsim/config/

# The stand-in for CouchDB, for machines that cannot pull its image: PouchDB's server from npm, behind couchsim.
COUCHSIM := out/couchsim/server/node_modules/.package-lock.json
.PHONY: _couchdb
_couchdb:
	@mkdir -p out/couchsim
	$(GO_BUILD) -o out/couchsim/ ./couchsim
	@if ! { command -v node && command -v npm; } >/dev/null; then echo 'node or npm is not there: no stand-in for CouchDB is made'; \
	else $(MAKE) -s $(COUCHSIM) || echo 'its packages cannot be had from npm: no stand-in for CouchDB is made'; fi

$(COUCHSIM): $(wildcard couchsim/server/*)
	@mkdir -p out/couchsim/server
	cp couchsim/server/*.js* out/couchsim/server/
	cd out/couchsim/server && npm ci --ignore-scripts --omit=optional --no-audit --no-fund --loglevel=error
	@touch $@

$(BIN)/heddle: _build

$(BIN)/kal: $(wildcard tools/kal/*.go tools/kal/*.yaml tools/kal/go.*)
	@mkdir -p $(BIN)
	cd tools/kal && $(GO_BUILD) -o $@ .

# SQLite is C: the one place with cgo. The result is static all the same.
$(BIN)/fabric-ca-server $(BIN)/fabric-ca-client &: fabricca/go.mod fabricca/go.sum
	@mkdir -p $(BIN)
	cd fabricca && CGO_ENABLED=1 go build -trimpath -tags 'sqlite_omit_load_extension netgo osusergo' \
		-ldflags '-s -w -linkmode external -extldflags "-static"' -o $(BIN)/ \
		github.com/hyperledger/fabric-ca/cmd/fabric-ca-server github.com/hyperledger/fabric-ca/cmd/fabric-ca-client
	@touch $(BIN)/fabric-ca-server $(BIN)/fabric-ca-client

include lab/lab.mk

$(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION):
	GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv $(TOOLS)/golangci-lint $@

$(TOOLS)/controller-gen-$(CONTROLLER_GEN_VERSION):
	GOBIN=$(TOOLS) go install sigs.k8s.io/controller-tools/cmd/controller-gen@$(CONTROLLER_GEN_VERSION)
	mv $(TOOLS)/controller-gen $@

# Debian packages of the lab, and a C compiler for fabric-ca.
.PHONY: _deps
_deps:
	@tools/deps
