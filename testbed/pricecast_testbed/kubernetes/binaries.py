"""Builds Kubernetes, helm and the pause program, once for each state of their sources."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pricecast_testbed import cache, golang
from pricecast_testbed.shell import apt_install, find, say

VERSION = "v1.34.4"
SOURCES = Path(__file__).with_name("go")
_PACKAGES = ["./cmd/kube", "./cmd/pause", "helm.sh/helm/v3/cmd/helm"]
_DEBIAN = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "openssl": "openssl",
}


def folder() -> Path:
    """Returns where `kube`, `kubectl`, `pause` and `helm` are once they are built."""
    digest = hashlib.sha256()
    for path in sorted(path for path in SOURCES.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(SOURCES)).encode() + b"\0" + path.read_bytes())
    return cache.root() / f"kubernetes-{VERSION}-{digest.hexdigest()[:12]}"


def tool(name: str) -> str:
    """Returns the command `kubectl` or `helm`: the machine's own for a cluster that KUBECONFIG names, else what we build."""
    own = find(name) if "KUBECONFIG" in os.environ else None
    return own or str(build() / name)


def build() -> Path:
    """Builds them where that was not done yet (six minutes on two quiet cores, half an hour on busy ones) and returns their folder."""
    return cache.made(folder().name, _build)


def runtime_packages() -> None:
    """Installs what a node needs from Debian: the container runtime, its network plugins, iptables."""
    apt_install(*_DEBIAN.values(), "containernetworking-plugins", provides=list(_DEBIAN))


def _build(target: Path) -> None:
    say(f"building Kubernetes {VERSION} and helm: six minutes on two quiet cores, up to half an hour on busy ones")
    major, minor, _ = VERSION.removeprefix("v").split(".")
    facts = {"gitVersion": VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    facts["buildDate"] = "1970-01-01T00:00:00Z"  # the same sources give the same binary
    stamps = [
        f"-X {package}.{name}={value}"
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for name, value in facts.items()
    ]
    golang.build(SOURCES, _PACKAGES, target, flags=["-ldflags", " ".join(["-s", "-w", *stamps])])
    (target / "kubectl").symlink_to("kube")
