package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Network policies as iptables rules, pure: from what the API server knows to the text for iptables-restore.
//
// A packet that starts a connection passes entryChain. There it goes to the chain of its source pod, if a policy
// isolates that pod's egress, and to the chain of its target pod, if a policy isolates that one's ingress. A pod's
// chain returns what a policy allows and refuses the rest.

const (
	entryChain   = "TESTBED-POLICY"
	egressChain  = "TB-OUT-"
	ingressChain = "TB-IN-"
)

var anywhere = netip.MustParsePrefix("0.0.0.0/0")

// cluster is what the rules follow from.
type cluster struct {
	pods       []*corev1.Pod
	namespaces map[string]labels.Set
	policies   []*networkingv1.NetworkPolicy
}

// side is a direction of traffic, seen from the pod that a policy selects.
type side struct {
	chain, podFlag, peerFlag string
	kind                     networkingv1.PolicyType
}

var sides = []side{
	{egressChain, "-s", "-d", networkingv1.PolicyTypeEgress},
	{ingressChain, "-d", "-s", networkingv1.PolicyTypeIngress},
}

// peer is somewhere that a rule names: addresses, and the pod that has them, if it is one.
type peer struct {
	prefixes []netip.Prefix
	pod      *corev1.Pod
}

// rules returns each chain's rules, without their chain's name.
func (c cluster) rules() map[string][]string {
	chains := map[string][]string{entryChain: {"-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"}}
	for _, pod := range c.pods {
		if !reachable(pod) {
			continue
		}
		for _, s := range sides {
			isolated, allowed := c.allowed(pod, s)
			if !isolated {
				continue
			}
			chain := s.chain + pod.Status.PodIP
			// Refused rather than dropped, so that a test sees it at once.
			chains[chain] = append(allowed, "-j REJECT")
			jump := fmt.Sprintf("%s %s/32 -j %s", s.podFlag, pod.Status.PodIP, chain)
			chains[entryChain] = append(chains[entryChain], jump)
		}
	}
	slices.Sort(chains[entryChain][1:])
	return chains
}

// allowed says whether a policy isolates the pod on this side, and what is allowed all the same.
func (c cluster) allowed(pod *corev1.Pod, s side) (isolated bool, lines []string) {
	for _, policy := range c.policies {
		if policy.Namespace != pod.Namespace || !applies(policy, s.kind) ||
			!matches(&policy.Spec.PodSelector, pod.Labels) {
			continue
		}
		isolated = true
		if s.kind == networkingv1.PolicyTypeEgress {
			for _, rule := range policy.Spec.Egress {
				lines = append(lines, c.lines(pod, policy.Namespace, s, rule.To, rule.Ports)...)
			}
		} else {
			for _, rule := range policy.Spec.Ingress {
				lines = append(lines, c.lines(pod, policy.Namespace, s, rule.From, rule.Ports)...)
			}
		}
	}
	slices.Sort(lines)
	return isolated, slices.Compact(lines)
}

// lines returns the rules for each pair of a peer and a port.
func (c cluster) lines(
	pod *corev1.Pod, namespace string, s side,
	wanted []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort,
) (lines []string) {
	peers := []peer{{prefixes: []netip.Prefix{anywhere}}}
	if len(wanted) > 0 {
		peers = nil
		for _, each := range wanted {
			peers = append(peers, c.peers(namespace, each)...)
		}
	}
	for _, peer := range peers {
		server := pod // whose ports the rule's port names are
		if s.kind == networkingv1.PolicyTypeEgress {
			server = peer.pod
		}
		for _, prefix := range peer.prefixes {
			for _, match := range portMatches(ports, server) {
				lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s", s.peerFlag, prefix, match))+" -j RETURN")
			}
		}
	}
	return lines
}

// peers returns where a rule's peer is now.
func (c cluster) peers(namespace string, wanted networkingv1.NetworkPolicyPeer) (found []peer) {
	if wanted.IPBlock != nil {
		block, err := netip.ParsePrefix(wanted.IPBlock.CIDR)
		if err != nil || !block.Addr().Is4() {
			return nil
		}
		prefixes := []netip.Prefix{block.Masked()}
		for _, text := range wanted.IPBlock.Except {
			if hole, err := netip.ParsePrefix(text); err == nil {
				prefixes = subtract(prefixes, hole.Masked())
			}
		}
		return []peer{{prefixes: prefixes}}
	}
	for _, pod := range c.pods {
		inNamespace := pod.Namespace == namespace
		if wanted.NamespaceSelector != nil {
			inNamespace = matches(wanted.NamespaceSelector, c.namespaces[pod.Namespace])
		}
		if !inNamespace || !reachable(pod) || wanted.PodSelector != nil && !matches(wanted.PodSelector, pod.Labels) {
			continue
		}
		address := netip.MustParseAddr(pod.Status.PodIP)
		found = append(found, peer{[]netip.Prefix{netip.PrefixFrom(address, address.BitLen())}, pod})
	}
	return found
}

// subtract returns the prefixes without the hole, splitting those around it.
func subtract(prefixes []netip.Prefix, hole netip.Prefix) (rest []netip.Prefix) {
	for _, prefix := range prefixes {
		switch {
		case !prefix.Overlaps(hole):
			rest = append(rest, prefix)
		case hole.Bits() > prefix.Bits():
			low := netip.PrefixFrom(prefix.Addr(), prefix.Bits()+1)
			bytes := prefix.Addr().As4()
			bytes[prefix.Bits()/8] |= 0x80 >> (prefix.Bits() % 8)
			high := netip.PrefixFrom(netip.AddrFrom4(bytes), prefix.Bits()+1)
			rest = append(rest, subtract([]netip.Prefix{low, high}, hole)...)
		}
	}
	return rest
}

// portMatches returns iptables' matches of a rule's ports; one empty match where it allows all.
func portMatches(ports []networkingv1.NetworkPolicyPort, server *corev1.Pod) (found []string) {
	if len(ports) == 0 {
		return []string{""}
	}
	for _, port := range ports {
		protocol := corev1.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		match := "-p " + strings.ToLower(string(protocol))
		switch {
		case port.Port == nil:
			found = append(found, match)
		case port.Port.Type == intstr.String:
			if number := namedPort(server, port.Port.StrVal, protocol); number != 0 {
				found = append(found, fmt.Sprintf("%s --dport %d", match, number))
			}
		case port.EndPort != nil:
			found = append(found, fmt.Sprintf("%s --dport %d:%d", match, port.Port.IntVal, *port.EndPort))
		default:
			found = append(found, fmt.Sprintf("%s --dport %d", match, port.Port.IntVal))
		}
	}
	return found
}

func namedPort(pod *corev1.Pod, name string, protocol corev1.Protocol) int32 {
	if pod == nil {
		return 0
	}
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == name && port.Protocol == protocol {
				return port.ContainerPort
			}
		}
	}
	return 0
}

// reachable says whether the pod has an address of its own.
func reachable(pod *corev1.Pod) bool {
	ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	return pod.Status.PodIP != "" && !pod.Spec.HostNetwork && !ended
}

// applies says whether the policy has rules, or the lack of them, for this kind of traffic.
func applies(policy *networkingv1.NetworkPolicy, kind networkingv1.PolicyType) bool {
	return slices.Contains(policy.Spec.PolicyTypes, kind)
}

func matches(selector *metav1.LabelSelector, set labels.Set) bool {
	compiled, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && compiled.Matches(set)
}

// restoreText returns what iptables-restore needs to replace the chains of before by those of now, at once.
func restoreText(before []string, now map[string][]string) string {
	names := make([]string, 0, len(now))
	for name := range now {
		names = append(names, name)
	}
	slices.Sort(names)
	var text strings.Builder
	text.WriteString("*filter\n")
	var gone []string
	for _, name := range before {
		if _, stays := now[name]; !stays {
			gone = append(gone, name)
		}
	}
	for _, name := range append(slices.Clone(names), gone...) {
		fmt.Fprintf(&text, ":%s - [0:0]\n", name)
	}
	for _, name := range names {
		for _, rule := range now[name] {
			fmt.Fprintf(&text, "-A %s %s\n", name, rule)
		}
	}
	for _, name := range gone {
		fmt.Fprintf(&text, "-X %s\n", name)
	}
	text.WriteString("COMMIT\n")
	return text.String()
}
