package build

import (
	"runtime"
	"strings"
)

// recipe says how contracts of one language are built.
type recipe struct {
	// name stands in the provenance; its number changes with what the recipe does.
	name string
	// markers are the files of which one has to be there; they also tell a source of another language.
	markers []string
	// versions are the commands that print the tools' versions. A program that is not there is missing's matter.
	versions [][]string
	// missing is the sentence for when a tool is not in the image; empty: it is the platform's fault.
	missing string
	// env are the tools' settings; {cache} stands for the cache's folder.
	env []string
	// check looks at the source before anything runs.
	check func(*compilation) error
	// commands run in turn.
	commands []command
	// collect puts what came out into layers.
	collect func(*compilation) error
}

// command is one call of a tool. In its arguments {program} stands for where a static program goes.
type command struct {
	args []string
	// when leaves the command out; nil: always.
	when func(*compilation) bool
	// note is printed before it.
	note string
}

// programPath is where a static contract is in its image, appPath where the others are.
const (
	programPath = "usr/local/bin/chaincode"
	appPath     = "opt/contract"
)

func npm(args ...string) []string {
	return append([]string{"npm"}, append(args, "--ignore-scripts", "--no-audit", "--no-fund")...)
}

const withoutLock = "there is no package-lock.json: versions are chosen now, and the next build may choose others. Commit one to make builds reproducible"

func npmEnv() []string {
	return []string{
		"npm_config_cache={cache}/npm", "npm_config_logs_max=0", "npm_config_color=false", "npm_config_progress=false", "npm_config_loglevel=notice",
		"npm_config_update_notifier=false", "npm_config_fetch_retry_mintimeout=1000", "npm_config_fetch_retry_maxtimeout=5000",
	}
}

func nodeVersions() [][]string { return [][]string{{"node", "--version"}, {"npm", "--version"}} }

// recipes are the languages that can be built.
func recipes() map[string]recipe {
	goBuild := func(mod string) []string {
		return []string{
			"go", "build", "-mod=" + mod, "-modcacherw", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", "{program}", ".",
		}
	}
	gradle := func(c *compilation) bool { return !hasPom(c) }
	return map[string]recipe{
		"Go": {
			name: "go/1", markers: []string{"go.mod"}, versions: [][]string{{"go", "version"}},
			env: []string{
				"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + runtime.GOARCH, "GOFLAGS=", "GOTOOLCHAIN=local", "GOENV=off", "GOWORK=off",
				"GOVCS=*:off", "GOCACHE={cache}/go-build", "GOMODCACHE={cache}/go-mod",
			},
			check: checkGo,
			commands: []command{
				{args: goBuild("vendor"), when: hasVendor},
				{args: goBuild("readonly"), when: func(c *compilation) bool { return !hasVendor(c) }},
			},
			collect: collectProgram,
		},
		"JavaScript": {
			name: "javascript/1", markers: []string{"package.json"}, versions: nodeVersions(), env: npmEnv(), check: checkNode,
			commands: []command{
				{args: npm("ci", "--omit=dev"), when: hasLock},
				{args: npm("install", "--omit=dev", "--no-package-lock"), when: hasNoLock, note: withoutLock},
			},
			collect: collectNode,
		},
		"TypeScript": {
			name: "typescript/1", markers: []string{"package.json"}, versions: nodeVersions(), env: npmEnv(), check: checkTypeScript,
			commands: []command{
				{args: npm("ci"), when: hasLock},
				{args: npm("install", "--no-package-lock"), when: hasNoLock, note: withoutLock},
				{args: []string{"npm", "run", "build"}},
				{args: npm("prune", "--omit=dev")},
			},
			collect: collectNode,
		},
		"Java": {
			name: "java/1", markers: []string{"pom.xml", "build.gradle", "build.gradle.kts"}, versions: [][]string{{"javac", "-version"}},
			missing: "Java contracts need an image with a JDK: set --build-image-java",
			env:     []string{"GRADLE_USER_HOME={cache}/gradle"},
			commands: []command{
				{args: []string{"mvn", "--batch-mode", "-Dmaven.repo.local={cache}/maven", "-DskipTests", "package"}, when: hasPom},
				{args: []string{"gradle", "--no-daemon", "--console=plain", "build", "-x", "test"}, when: gradle},
			},
			collect: collectJava,
		},
		"Binary": {name: "binary/1", markers: []string{"chaincode"}, collect: collectBinary},
	}
}

// hint tells what to do about a line that a tool prints; the first that fits is taken.
type hint struct{ printed, sentence string }

func hints() []hint {
	const unreachable = "A module could not be had: the registry or proxy that this platform is set up with does not have it or does not answer"
	return []hint{
		{"no space left on device", "The build ran out of disk space: make the source or its dependencies smaller, or ask for a larger cache"},
		{"missing go.sum entry", `go.sum does not list every module: run "go mod tidy" and upload the source again`},
		{"updates to go.mod needed", `go.mod is not complete: run "go mod tidy" and upload the source again`},
		{"no required module provides package", `go.mod does not name every module that is imported: run "go mod tidy" and upload the source again`},
		{"import lookup disabled", `go.mod does not name every module that is imported: run "go mod tidy" and upload the source again`},
		{"inconsistent vendoring", `The vendor folder does not fit go.mod: run "go mod vendor" and upload the source again`},
		{"GOTOOLCHAIN=local", "go.mod asks for a newer Go than the platform's: lower its go line, or have the platform's build image brought up to date"},
		{"function main is undeclared", "Package main has no function main"},
		{"checksum mismatch", "A module is not what go.sum says: somebody changed it, or go.sum is wrong"},
		{"module lookup disabled", unreachable},
		{"cannot find module", unreachable},
		{"dial tcp", unreachable},
		{"reading https://", unreachable},
		{"reading http://", unreachable},
		{"reading file://", unreachable},
		{"unrecognized import path", unreachable},
		{"can only install packages when your package.json and package-lock.json", `package-lock.json does not fit package.json: run "npm install" and upload the source again`},
		{"code EUSAGE", `npm cannot use package-lock.json: run "npm install" and upload the source again`},
		{"code E404", unreachable},
		{"code E403", unreachable},
		{"code E502", unreachable},
		{"code E503", unreachable},
		{"code E504", unreachable},
		{"code ENOTFOUND", unreachable},
		{"code ECONNREFUSED", unreachable},
		{"code ETARGET", unreachable},
		{"code ETIMEDOUT", unreachable},
		{"code EAI_AGAIN", unreachable},
		{"code ENOTCACHED", unreachable},
		{"SELF_SIGNED_CERT", unreachable},
		{"UNABLE_TO_", unreachable},
		{"x509:", unreachable},
		{"code EINTEGRITY", "A package is not what package-lock.json says: somebody changed it, or package-lock.json is wrong"},
	}
}

func hintFor(output string) string {
	for _, h := range hints() {
		if strings.Contains(output, h.printed) {
			return h.sentence
		}
	}
	return ""
}
