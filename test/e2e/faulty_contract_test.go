package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
)

// faulty is the contract that misbehaves as it is told; see testdata/faulty.
const faulty = "faulty"

// TestFaultyContract: whatever a contract does, its caller gets an error and no silence, contracts beside it do not
// notice, the record of launches says why it ended, and the next call works.
func TestFaultyContract(t *testing.T) {
	ctx, c, s := faultyLab(t, 10*time.Minute, "faulty")
	deployFaulty(ctx, t, c, s, "first")

	for _, fault := range []struct {
		call []string
		// caller are words of the caller's error, ended those of the launch's reason; empty: the contract goes on.
		caller, ended string
	}{
		{[]string{"Panic"}, "chaincode stream terminated", "exit code 2"},
		{[]string{"Exit"}, "chaincode stream terminated", "faulty exits as it was told"},
		{[]string{"Deep"}, "chaincode stream terminated", ""},
		{[]string{"Eat"}, "chaincode stream terminated", "spec.resources"},
		{[]string{"NoSuch"}, `there is no transaction "NoSuch"`, ""},
	} {
		t.Run(fault.call[0], func(t *testing.T) {
			before := endedLaunches(ctx, t, c, s)
			out, err := evaluate(ctx, c, s, faulty, fault.call...)
			if err == nil || !strings.Contains(out, fault.caller) {
				t.Errorf("the caller does not learn %q: %v\n%s", fault.caller, err, out)
			}
			pongs(ctx, t, c, s)
			neighbour(ctx, t, c, s)
			if fault.ended == "" {
				return
			}
			eventually(ctx, t, "the record says why the contract ended", func() error {
				for _, l := range deployed(ctx, t, c, s, faulty).Status.Launches {
					if !before[l.Pod] && l.EndedAt != nil && strings.Contains(l.Reason, fault.ended) {
						return nil
					}
				}
				return fmt.Errorf("no launch ended by %q: %s", fault.ended, launchesOf(deployed(ctx, t, c, s, faulty)))
			})
		})
	}
	t.Run("Spin", func(t *testing.T) {
		// Fabric gives an execution up after 30 s; the contract spins on, and answers others beside that.
		out, err := evaluate(ctx, c, s, faulty, "Spin")
		if err == nil || !strings.Contains(out, "timeout expired while executing transaction") {
			t.Errorf("the caller does not learn that the contract did not end: %v\n%s", err, out)
		}
		pongs(ctx, t, c, s)
		neighbour(ctx, t, c, s)
	})
	if cc := deployed(ctx, t, c, s, faulty); !harness.IsReady(cc) {
		t.Errorf("the contract that answers %s", harness.Describe(cc))
	}
}

// faultyLab is a lab with builds and a network of one orderer, two peers and the sample contract as a service.
func faultyLab(t *testing.T, limit time.Duration, name string) (context.Context, *harness.Cluster, shape) {
	t.Helper()
	ctx, c := startBuilds(t, limit)
	s := raft3(name)
	s.Orderers = 1
	up(ctx, t, c, s)
	return ctx, c, s
}

// faultyProgram is compiled once.
var faultyProgram struct {
	once sync.Once
	raw  []byte
	err  error
}

// faultySource is a folder with the faulty contract as a program. Another variant is another source, and another image.
func faultySource(ctx context.Context, t *testing.T, c *harness.Cluster, variant string) string {
	t.Helper()
	p := &faultyProgram
	p.once.Do(func() {
		file := filepath.Join(t.TempDir(), "program")
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, ".") //nolint:gosec // our own source
		cmd.Dir, cmd.Env = c.Path("test", "e2e", "testdata", faulty), append(os.Environ(), "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			p.err = fmt.Errorf("compile the faulty contract: %w\n%s", err, out)
			return
		}
		p.raw, p.err = os.ReadFile(file)
	})
	must(t, p.err)
	folder := filepath.Join(t.TempDir(), faulty)
	must(t, os.Mkdir(folder, 0o755))
	// What stands behind a program does not change what it does.
	must(t, os.WriteFile(filepath.Join(folder, "chaincode"), append(p.raw[:len(p.raw):len(p.raw)], variant...), 0o755))
	return folder
}

func deployFaulty(ctx context.Context, t *testing.T, c *harness.Cluster, s shape, variant string, args ...string) *v1alpha1.Chaincode {
	t.Helper()
	deploy(ctx, t, c, faultySource(ctx, t, c, variant), append([]string{"--channel", demoChannel, "-n", s.Name}, args...)...)
	return deployed(ctx, t, c, s, faulty)
}

// evaluate calls a contract through the first organization's peer.
func evaluate(ctx context.Context, c *harness.Cluster, s shape, contract string, call ...string) (string, error) {
	return c.Heddle(ctx, append([]string{"-q", "tx", "evaluate", s.Name + "/" + demoChannel + "/" + contract}, call...)...)
}

// evaluateAt calls the faulty contract through the peer of an organization, and there alone unless it fails.
func evaluateAt(ctx context.Context, c *harness.Cluster, s shape, org string, call ...string) (string, error) {
	return evaluate(ctx, c, s, faulty, append([]string{"--as", org}, call...)...)
}

// pongs demands an answer of the faulty contract at each peer, at the first call.
func pongs(ctx context.Context, t *testing.T, c *harness.Cluster, s shape) {
	t.Helper()
	for _, o := range s.Orgs {
		if out, err := evaluateAt(ctx, c, s, o.Name, "Ping"); err != nil || strings.TrimSpace(out) != "pong" {
			t.Errorf("the next call at %s: %v\n%s", o.Name, err, out)
		}
	}
}

// neighbour demands an answer of the contract beside the faulty one.
func neighbour(ctx context.Context, t *testing.T, c *harness.Cluster, s shape) {
	t.Helper()
	if out, err := evaluate(ctx, c, s, "asset", "List", "1", ""); err != nil {
		t.Errorf("the contract beside it: %v\n%s", err, out)
	}
}

// launchNames are the pods that run the contract.
func launchNames(ctx context.Context, t *testing.T, c *harness.Cluster, s shape) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, pod := range launched(ctx, t, c, deployed(ctx, t, c, s, faulty)) {
		out[pod.Name] = true
	}
	return out
}

// endedLaunches are the pods of which the record tells the end.
func endedLaunches(ctx context.Context, t *testing.T, c *harness.Cluster, s shape) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, l := range deployed(ctx, t, c, s, faulty).Status.Launches {
		out[l.Pod] = l.EndedAt != nil
	}
	return out
}

func launchesOf(cc *v1alpha1.Chaincode) string {
	var b strings.Builder
	for _, l := range cc.Status.Launches {
		ended := "runs"
		if l.EndedAt != nil {
			ended = "ended"
		}
		fmt.Fprintf(&b, "\n  %s %s: %s", l.Pod, ended, l.Reason)
	}
	return b.String()
}

// deleteAtOnce deletes contracts' pods without grace, as a person does who has no patience.
func deleteAtOnce(ctx context.Context, t *testing.T, c *harness.Cluster, pods []corev1.Pod) {
	t.Helper()
	for i := range pods {
		must(t, client.IgnoreNotFound(c.Delete(ctx, &pods[i], client.GracePeriodSeconds(0))))
	}
}

func faultyChaincode(s shape) *v1alpha1.Chaincode {
	return &v1alpha1.Chaincode{ObjectMeta: metav1.ObjectMeta{Namespace: s.Name, Name: demoChannel + "-" + faulty}}
}

// says tells whether a pod of a contract has said something.
func says(ctx context.Context, c *harness.Cluster, s shape, cc *v1alpha1.Chaincode, words string) error {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(s.Name), client.MatchingLabels{v1alpha1.LabelChaincode: cc.Name}); err != nil {
		return err
	}
	for i := range pods.Items {
		log, err := c.Set.CoreV1().Pods(s.Name).GetLogs(pods.Items[i].Name, &corev1.PodLogOptions{}).DoRaw(ctx)
		if err == nil && strings.Contains(string(log), words) {
			return nil
		}
	}
	return fmt.Errorf("no pod of %s says %q", cc.Name, words)
}
