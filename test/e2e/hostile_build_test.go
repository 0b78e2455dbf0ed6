package e2e

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/test/harness"
)

// hostileBuild is a build whose script, which its author wrote, does what it should not.
type hostileBuild struct {
	script string
	// spec is changed before the object is made.
	spec func(*v1alpha1.ChaincodeBuildSpec)
	// words of the failure, and words that must not be in it.
	words, never []string
}

// reach tells which addresses answer, and fails, so that what it says is in the failure.
const reach = `
const net = require("net");
const dial = (name, host, port) => new Promise((done) => {
  const s = net.connect({host, port});
  const end = (word) => { console.log(name + ": " + word); s.destroy(); done(); };
  s.setTimeout(3000, () => end("closed (silence)"));
  s.on("connect", () => end("OPEN"));
  s.on("error", (e) => end("closed (" + e.code + ")"));
});
Promise.all([
  dial("api server", "kubernetes.default", 443), dial("kubelet", "MACHINE", 10250), dial("API server on its machine", "MACHINE", 6443),
  dial("peer", "peer0-banka.NETWORK", 7051), dial("orderer", "orderer0-ord.NETWORK", 7050), dial("contract", "cc-demo-asset.NETWORK", 9999),
  dial("another namespace", "heddle-operator.heddle-system", 8443), dial("other network", "peer0-banka.OTHER", 7051),
  dial("internet", "192.0.2.1", 443), dial("metadata", "169.254.169.254", 80),
]).then(() => dial("module proxy", "modules.heddle-lab", 80)).then(() => process.exit(9));
`

// look tells what of the platform's is there to be read or written, and leaves a mark in the cache.
const look = `
const fs = require("fs");
for (const f of ["/var/run/secrets/kubernetes.io/serviceaccount/token", "KEY", "TRUST"]) console.log(f + (fs.existsSync(f) ? " is THERE" : " is absent"));
for (const k of Object.keys(process.env)) if (/token|secret|password|kubernetes/i.test(k)) console.log("environment: " + k);
for (const f of ["/usr/local", "/usr/bin/node", "/etc", "/"]) try { fs.accessSync(f, fs.constants.W_OK); console.log(f + " is WRITABLE"); } catch { }
fs.writeFileSync("CACHE/mark-of-NETWORK", "x");
console.log("marks: " + fs.readdirSync("CACHE").filter((f) => f.startsWith("mark-of-")).join(" "));
process.exit(9);
`

var hostileBuilds = map[string]hostileBuild{
	"reaches out": {script: reach, words: []string{
		"api server: closed", "kubelet: closed", "API server on its machine: closed", "peer: closed", "orderer: closed", "contract: closed",
		"another namespace: closed", "other network: closed", "internet: closed", "metadata: closed", "module proxy: OPEN",
	}},
	"looks about": {
		script: look, never: []string{"THERE", "WRITABLE", "environment:"},
		words: []string{"token is absent", "push is absent", "marks: mark-of-NETWORK\n"},
	},
	"eats memory": {
		script: `const all = []; for (;;) all.push(Buffer.alloc(16 << 20, 1));`,
		spec:   func(s *v1alpha1.ChaincodeBuildSpec) { s.Resources = memory("400Mi") },
		words:  []string{"memory", "spec.resources"},
	},
	"eats disk": {
		script: `const fs = require("fs"), b = Buffer.alloc(64 << 20, 1), f = fs.openSync("large", "w");
for (let i = 0; i < 36; i++) fs.writeSync(f, b);
setTimeout(() => {}, 3600000);`,
		words: []string{"Evicted", `"work"`, "2Gi"},
	},
	"takes an hour": {
		script: `console.log("sleeps"); setTimeout(() => {}, 3600000);`,
		spec:   func(s *v1alpha1.ChaincodeBuildSpec) { s.TimeoutSeconds = new(int32); *s.TimeoutSeconds = 30 },
		words:  []string{"took more than 30 s", "spec.timeoutSeconds"},
	},
	"prints without end": {
		script: `for (let i = 0; i < 200000; i++) console.log("noise ".repeat(20)); console.log("the last word"); process.exitCode = 9;`,
		words:  []string{"the last word", "npm run failed"},
	},
}

func memory(limit string) *corev1.ResourceRequirements {
	return &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(limit)}}
}

// TestHostileBuild: what a build's author has run in it reaches modules and nothing else, sees no key, touches no other
// network's cache, and is stopped by bounds of memory, disk and time, which the status names.
func TestHostileBuild(t *testing.T) {
	ctx, c, s := faultyLab(t, twenty, "hostile")
	other := raft3("hostile-other")
	other.Orderers, other.Orgs = 1, other.Orgs[:1]
	up(ctx, t, c, other)
	// The other network's builds leave a mark in their cache.
	hostileBuilds["looks about"].check(ctx, t, c, other.Name, s.Name, "mark")
	t.Run("all", func(t *testing.T) {
		for _, name := range slices.Sorted(maps.Keys(hostileBuilds)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				hostileBuilds[name].check(ctx, t, c, s.Name, other.Name, strings.ReplaceAll(name, " ", "-"))
			})
		}
	})
	noBuildsAtWork(ctx, t, c, s.Name)
	neighbour(ctx, t, c, s)
}

func (h hostileBuild) check(ctx context.Context, t *testing.T, c *harness.Cluster, ns, other, name string) {
	t.Helper()
	fill := strings.NewReplacer("NETWORK", ns, "OTHER", other, "MACHINE", machine(ctx, t, c), "KEY", specs.BuildKey, "TRUST", specs.BuildTrust, "CACHE", specs.BuildCache)
	folder := t.TempDir()
	for file, content := range map[string]string{
		"package.json":      packageFile(`"start": "node dist/index.js", "build": "node build.cjs"`),
		"package-lock.json": emptyLock, "tsconfig.json": "{}", "build.cjs": fill.Replace(h.script),
	} {
		must(t, os.WriteFile(filepath.Join(folder, file), []byte(content), 0o600))
	}
	content, digest, err := harness.Pack(ctx, folder)
	must(t, err)
	b := &v1alpha1.ChaincodeBuild{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	b.Spec = v1alpha1.ChaincodeBuildSpec{Language: v1alpha1.LanguageTypeScript, Source: v1alpha1.ChaincodeSource{Digest: digest, SizeBytes: int64(len(content))}}
	if h.spec != nil {
		h.spec(&b.Spec)
	}
	must(t, c.Create(ctx, b))
	if code, says, err := c.Upload(ctx, ns, name, bytes.NewReader(content), int64(len(content))); err != nil || code >= 300 {
		t.Fatalf("upload: %d %s %v", code, says, err)
	}
	if err := c.Until(ctx, b, func() bool { return b.Status.FinishedAt != nil }); err != nil {
		t.Fatal(err)
	}
	said := b.Status.Failure + "\n"
	progress("%s: %s", t.Name(), said)
	if b.Status.Image != nil {
		t.Errorf("there is an image: %+v", b.Status.Image)
	}
	for _, w := range h.words {
		wantWords(t, said, []string{fill.Replace(w)})
	}
	for _, w := range h.never {
		if strings.Contains(said, w) {
			t.Errorf("it says %q:\n%s", w, said)
		}
	}
	if r := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionStalled); r == nil || r.Status != metav1.ConditionTrue || r.Reason != v1alpha1.ReasonBuildFailed {
		t.Errorf("the conditions do not tell the failure: %+v", b.Status.Conditions)
	}
}
