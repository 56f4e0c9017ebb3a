// One binary with every Kubernetes component, etcd and kubectl; the name that it is called by
// chooses, else the first argument.
//
// One link of shared packages builds in minutes what seven separate builds take half an hour for.
package main

import (
	"context"
	"fmt"
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
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

var components = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kube-proxy":              proxy.NewProxyCommand,
	// It panics when given the context that ends at a signal.
	"kubelet": func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
}

func main() {
	if name := filepath.Base(os.Args[0]); isKnown(name) {
		run(name)
		return
	}
	if len(os.Args) < 2 || !isKnown(os.Args[1]) {
		fmt.Fprintln(os.Stderr, "the first argument must name a component")
		os.Exit(2)
	}
	os.Args = os.Args[1:]
	run(os.Args[0])
}

func isKnown(name string) bool {
	_, isComponent := components[name]
	return isComponent || name == "etcd" || name == "kubectl"
}

func run(name string) {
	switch name {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kubectl":
		kubectlutil.CheckErr(cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()))
	default:
		os.Exit(cli.Run(components[name]()))
	}
}
