// Command kube is a whole Kubernetes in one binary: etcd, every component, kubectl, cluster DNS, a volume
// provisioner and an enforcer of network policies. The part to run is the first argument, or the name that the binary is called by. One binary builds in
// little more time than its largest part, since the parts share most of their packages.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	_ "time/tzdata"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// parts maps each name to what runs it, with os.Args as its own program would see them; the result is the exit status.
var parts = map[string]func() int{
	"etcd":                       func() int { etcdmain.Main(os.Args); return 0 },
	"kube-apiserver":             component(apiserver.NewAPIServerCommand),
	"kube-controller-manager":    component(controllers.NewControllerManagerCommand),
	"kube-scheduler":             component(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kubelet":                    component(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
	"kube-proxy":                 component(proxy.NewProxyCommand),
	"kubectl":                    runKubectl,
	"coredns":                    runDNS,
	"host-directory-provisioner": runVolumes,
	"network-policies":           runPolicies,
}

func component(command func() *cobra.Command) func() int {
	return func() int { return cli.Run(command()) }
}

func runKubectl() int {
	_, _ = logs.GlogSetter(kubectl.GetLogVerbosity(os.Args))
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
	return 0
}

func main() {
	run, ok := parts[filepath.Base(os.Args[0])]
	if !ok && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		run, ok = parts[os.Args[0]]
	}
	if !ok {
		names := make([]string, 0, len(parts))
		for name := range parts {
			names = append(names, name)
		}
		slices.Sort(names)
		fmt.Fprintln(os.Stderr, "usage: kube", strings.Join(names, "|"), "...")
		os.Exit(2)
	}
	os.Exit(run())
}
