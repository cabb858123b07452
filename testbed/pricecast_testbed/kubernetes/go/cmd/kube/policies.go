package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// A plain bridge network enforces no NetworkPolicy, and no controller that does is to be had from the module proxy.
// This one is enough for a single node: it watches, and after each change it replaces its iptables chains as a whole.

const settle = 100 * time.Millisecond // changes come in bursts

// runPolicies enforces the cluster's network policies until it is terminated; then it takes its chains away.
func runPolicies() int {
	flags := flag.NewFlagSet("network-policies", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the API server")
	_ = flags.Parse(os.Args[1:])
	if err := enforce(*kubeconfig); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func enforce(kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	factory := informers.NewSharedInformerFactory(kubernetes.NewForConfigOrDie(config), 0)
	pods := factory.Core().V1().Pods()
	namespaces := factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()
	changed := make(chan struct{}, 1)
	notice := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { notice() },
		UpdateFunc: func(any, any) { notice() },
		DeleteFunc: func(any) { notice() },
	}
	for _, informer := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())

	snapshot := func() (c cluster, err error) {
		c.namespaces = map[string]labels.Set{}
		if c.pods, err = pods.Lister().List(labels.Everything()); err != nil {
			return c, err
		}
		if c.policies, err = policies.Lister().List(labels.Everything()); err != nil {
			return c, err
		}
		all, err := namespaces.Lister().List(labels.Everything())
		for _, namespace := range all {
			c.namespaces[namespace.Name] = namespace.Labels
		}
		return c, err
	}

	var tables firewall
	if err := tables.adopt(); err != nil {
		return err
	}
	defer tables.remove()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			time.Sleep(settle)
			c, err := snapshot()
			if err != nil {
				return err
			}
			if err := tables.replace(c.rules()); err != nil {
				return err
			}
		}
	}
}

// firewall is the part of the filter table that belongs to this program.
type firewall struct {
	chains []string
	text   string
}

var ownChain = regexp.MustCompile(`(?m)^-N (TB-(?:IN|OUT)-\S+)$`)

// adopt finds what an earlier run left and hooks the entry chain in where packets from and to pods pass.
func (f *firewall) adopt() error {
	listing, err := iptables("-S")
	if err != nil {
		return err
	}
	for _, found := range ownChain.FindAllStringSubmatch(listing, -1) {
		f.chains = append(f.chains, found[1])
	}
	if err := f.replace(map[string][]string{entryChain: nil}); err != nil {
		return err
	}
	for _, hook := range []string{"FORWARD", "INPUT"} {
		if _, err := iptables("-C", hook, "-j", entryChain); err == nil {
			continue
		}
		if _, err := iptables("-I", hook, "-j", entryChain); err != nil {
			return err
		}
	}
	return nil
}

// replace swaps all rules at once, if any changed.
func (f *firewall) replace(rules map[string][]string) error {
	text := restoreText(f.chains, rules)
	if text == f.text {
		return nil
	}
	command := exec.Command("iptables-restore", "--noflush", "--wait")
	command.Stdin = strings.NewReader(text)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("iptables-restore: %w: %s\n%s", err, output, text)
	}
	f.text = text
	f.chains = nil
	for name := range rules {
		if name != entryChain {
			f.chains = append(f.chains, name)
		}
	}
	return nil
}

// remove leaves the table as it was found.
func (f *firewall) remove() {
	_ = f.replace(map[string][]string{entryChain: nil})
	for _, hook := range []string{"FORWARD", "INPUT"} {
		_, _ = iptables("-D", hook, "-j", entryChain)
	}
	_, _ = iptables("-X", entryChain)
}

func iptables(words ...string) (string, error) {
	output, err := exec.Command("iptables", append([]string{"--wait"}, words...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("iptables %s: %w: %s", strings.Join(words, " "), err, output)
	}
	return string(output), nil
}
