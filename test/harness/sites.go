package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
)

// GatewayPort is the one port that a lab's site opens to the others.
const GatewayPort = 30443

// InitSite makes a lab's cluster a site with a gateway, by the command that people use.
func (c *Cluster) InitSite(ctx context.Context, siteID string) error {
	if c.Site == nil {
		return fmt.Errorf("%w: several sites take a lab", ErrUnavailable)
	}
	if err := c.LoadImage(ctx, "heddle-nginx"); err != nil {
		return err
	}
	address, err := c.Site.NodeAddress(c.Site.NodeNames()[0])
	if err != nil {
		return err
	}
	out, err := c.Heddle(ctx, "site", "init", "--site-id", siteID, "--endpoint", fmt.Sprintf("%s:%d", address, GatewayPort),
		"--node-port", strconv.Itoa(GatewayPort), "-q")
	if err != nil {
		return fmt.Errorf("make site %q: %w\n%s", siteID, err, out)
	}
	return nil
}

// JoinSites has site a invite site b, and a person approve it; it returns when both say that the other is Up. nameOfB is
// what a calls b, and nameOfA what b calls a.
func JoinSites(ctx context.Context, a, b *Cluster, nameOfA, nameOfB string) error {
	out, err := a.Heddle(ctx, "site", "invite", nameOfB, "-o", "json", "-q")
	if err != nil {
		return fmt.Errorf("invite %q: %w\n%s", nameOfB, err, out)
	}
	var invite struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal([]byte(out), &invite); err != nil {
		return fmt.Errorf("invite %q: %w", nameOfB, err)
	}
	if out, err := b.Heddle(ctx, "site", "join", invite.Token, "--name", nameOfA, "-q"); err != nil {
		return fmt.Errorf("join %q: %w\n%s", nameOfA, err, out)
	}
	l := &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: nameOfA}}
	if err := b.Until(ctx, l, func() bool { return l.Status.Check != "" }); err != nil {
		return err
	}
	if out, err := a.Heddle(ctx, "site", "approve", nameOfB, l.Status.Check, "-q"); err != nil {
		return fmt.Errorf("approve %q: %w\n%s", nameOfB, err, out)
	}
	for c, name := range map[*Cluster]string{a: nameOfB, b: nameOfA} {
		l := &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := c.Until(ctx, l, func() bool { return l.Status.State == v1alpha1.LinkUp }); err != nil {
			return err
		}
	}
	return nil
}

// CPU is how long the processes of a container that run now have used processors. It needs a lab.
func (c *Cluster) CPU(pod *corev1.Pod, container string) (time.Duration, error) {
	if c.Lab == nil {
		return 0, fmt.Errorf("%w: seeing processes needs a lab", ErrUnavailable)
	}
	pids, err := processesOf(containerID(pod, container))
	if err != nil {
		return 0, err
	}
	if len(pids) == 0 {
		return 0, fmt.Errorf("container %q of pod %q has no process", container, pod.Name)
	}
	var sum time.Duration
	for _, pid := range pids {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil {
			return 0, err
		}
		for _, task := range tasks {
			raw, err := os.ReadFile(task)
			if err != nil { // a thread that has ended meanwhile
				continue
			}
			first, _, _ := strings.Cut(string(raw), " ")
			spent, err := strconv.ParseInt(first, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read time of process %d: %w", pid, err)
			}
			sum += time.Duration(spent)
		}
	}
	return sum, nil
}
