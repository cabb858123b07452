"""NetworkPolicies: nothing but what a service names. Pure.

Kubernetes policies know addresses, pods and namespaces, not host names. A host `NAME.NAMESPACE.svc` becomes that
namespace (so does `NAME.NAMESPACE`), a plain `NAME` the pipeline's own, an address itself, and any other name the
internet without the private ranges. A policy sees the pod's port, so a Service must listen on the same one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from pricecast_core.addresses import Address, of_url
from pricecast_core.settings.base import ServiceSettings

Manifest = dict[str, Any]

PRIVATE_RANGES = ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
_DNS: Manifest = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}


def of_settings(settings: ServiceSettings) -> list[Address]:
    """Returns the addresses of the servers that a process talks to, as its settings say.

    Raises:
        SettingsError: If one is no URL of a server; it names the setting.
    """
    return [of_server(url, _name(settings, url)) for url in settings.addresses if url]


def of_server(url: str, setting: str) -> Address:
    """Returns the address in the URL of a server.

    Raises:
        SettingsError: If it is none; it names the setting.
    """
    return of_url(url, setting, ("http", "https", "ws", "wss"))


def _name(settings: ServiceSettings, url: str) -> str:
    """Returns the setting that a URL stands in; the URLs of some are made from others."""
    return next((name for name, value in settings if value == url or (isinstance(value, list) and url in value)), "URL")


def egress(destinations: Iterable[Address]) -> list[Manifest]:
    """Returns egress rules for these destinations and for DNS."""
    rules = [_DNS]
    for each in sorted(set(destinations)):
        peers = _peers(each.host)
        rules.append({"ports": [{"port": each.port, "protocol": "TCP"}], **({"to": peers} if peers else {})})
    return rules


def _peers(host: str) -> list[Manifest]:
    if not host:
        return []
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}]
    labels = host.removesuffix(".").removesuffix(".cluster.local").split(".")
    if len(labels) == 1:
        return [{"podSelector": {}}]
    if labels[-1] == "svc":
        return [_namespace(labels[-2])]
    return [
        *([_namespace(labels[-1])] if len(labels) == 2 else []),  # NAME.NAMESPACE and example.com look alike
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(PRIVATE_RANGES)}},
        {"ipBlock": {"cidr": "::/0", "except": ["fc00::/7", "fe80::/10"]}},
    ]


def _namespace(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def metrics_ingress(port: int, namespaces: Iterable[str]) -> list[Manifest]:
    """Returns the ingress rule for health and metrics: from these namespaces, or from anywhere if there are none."""
    names = sorted(namespaces)
    selector = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": names}]}
    return [
        {
            "ports": [{"port": port, "protocol": "TCP"}],
            **({"from": [{"namespaceSelector": selector}]} if names else {}),
        }
    ]


def policy(metadata: Manifest, pods: dict[str, str], outgoing: list[Manifest], incoming: list[Manifest]) -> Manifest:
    """Returns a NetworkPolicy that allows no more than this."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {
            "podSelector": {"matchLabels": pods},
            "policyTypes": ["Ingress", "Egress"],
            **({"ingress": incoming} if incoming else {}),
            **({"egress": outgoing} if outgoing else {}),
        },
    }
