// Command kube is all of Kubernetes that a lab runs, in one program: etcd, the
// control plane, the kubelet, kube-proxy and kubectl. Which one it is, is said
// by its own name or by its first argument.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

const usage = "usage: kube etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubelet|kube-proxy|kubectl ARGUMENTS"

func main() {
	name, args, ok := choose(os.Args)
	if !ok {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	// The components read os.Args by themselves.
	os.Args = args
	os.Exit(run(context.Background(), name, os.Stderr))
}

// choose finds the component: in the program's own name, else in the first
// argument.
func choose(argv []string) (name string, args []string, ok bool) {
	if name := filepath.Base(argv[0]); known(name) {
		return name, argv, true
	}
	if len(argv) > 1 && known(argv[1]) {
		return argv[1], argv[1:], true
	}
	return "", nil, false
}

// known goes by names alone: making a component's command registers metrics,
// which can be done only once.
func known(name string) bool {
	switch name {
	case "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl":
		return true
	}
	return false
}

func component(ctx context.Context, name string) *cobra.Command {
	switch name {
	case "kube-apiserver":
		return apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		return manager.NewControllerManagerCommand()
	case "kube-scheduler":
		return scheduler.NewSchedulerCommand()
	case "kubelet":
		return kubelet.NewKubeletCommand(ctx)
	case "kube-proxy":
		return proxy.NewProxyCommand()
	}
	return nil
}

func run(ctx context.Context, name string, problems io.Writer) int {
	switch name {
	case "etcd":
		etcdmain.Main(os.Args)
		return 0
	case "kubectl":
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
		return 0
	}
	c := component(ctx, name)
	if c == nil {
		fmt.Fprintln(problems, usage)
		return 2
	}
	return cli.Run(c)
}
