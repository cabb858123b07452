package main

import (
	// The server types and plugins that a cluster's DNS needs, and no others: the cloud ones cost minutes to build.
	_ "github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
)

// runDNS serves the cluster's names as the Corefile named by -conf says, until it is terminated.
func runDNS() int {
	coremain.Run()
	return 0
}
