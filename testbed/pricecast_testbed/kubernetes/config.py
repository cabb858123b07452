"""What the parts of the cluster are told: command lines and files, as plain text from plain values.

Everything listens on loopback or on the node's address, which only this machine and its pods can reach.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PODS = "10.244.0.0/16"
POD_RANGE = "10.244.0.0/24"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
PAUSE_IMAGE = "localhost/pause:1"
STORAGE_CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": "pricecast.dev/host-directory",
    "reclaimPolicy": "Delete",
}


@dataclass(frozen=True)
class Layout:
    """Where a cluster keeps what, and under which address and name its node is known."""

    home: Path
    kube: Path
    address: str = "10.250.0.1"
    node: str = "node-1"

    @property
    def pki(self) -> Path:
        """Folder of certificates and keys."""
        return self.home / "pki"

    @property
    def admin(self) -> Path:
        """The administrator's kubeconfig."""
        return self.home / "kubeconfig"

    @property
    def socket(self) -> Path:
        """Socket of containerd."""
        return self.home / "containerd" / "containerd.sock"

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://{self.address}:6443"


def commands(at: Layout) -> dict[str, list[str | Path]]:
    """Returns the command line of each part, in the order of their start; containerd comes from Debian."""
    pki = at.pki
    etcd, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    as_admin = f"--kubeconfig={at.admin}"
    parts: dict[str, list[str]] = {
        "etcd": [
            f"--data-dir={at.home}/data/etcd",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ],
        "kube-apiserver": [
            f"--etcd-servers={etcd}",
            f"--bind-address={at.address}",
            f"--advertise-address={at.address}",
            "--secure-port=6443",
            f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            f"--service-cluster-ip-range={SERVICES}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--kubelet-client-certificate={pki}/admin.crt",
            f"--kubelet-client-key={pki}/admin.key",
            "--kubelet-preferred-address-types=InternalIP",
            "--allow-privileged",
            f"--cert-dir={at.home}/apiserver",
        ],
        "kube-controller-manager": [
            as_admin,
            f"--service-account-private-key-file={pki}/sa.key",
            f"--root-ca-file={pki}/ca.crt",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            "--use-service-account-credentials",
            "--allocate-node-cidrs",
            f"--cluster-cidr={PODS}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        ],
        "kube-scheduler": [as_admin, "--leader-elect=false", "--bind-address=127.0.0.1"],
        "containerd": [f"--config={at.home}/containerd.toml"],
        "kubelet": [
            f"--config={at.home}/kubelet.json",
            f"--kubeconfig={at.home}/kubelet.kubeconfig",
            f"--hostname-override={at.node}",
            f"--node-ip={at.address}",
            f"--root-dir={at.home}/kubelet",
            f"--cert-dir={at.home}/kubelet-pki",
        ],
        "kube-proxy": [
            as_admin,
            f"--hostname-override={at.node}",
            f"--cluster-cidr={PODS}",
            "--proxy-mode=iptables",
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0s",
            "--conntrack-tcp-timeout-close-wait=0s",
            "--healthz-bind-address=127.0.0.1:10256",
            "--nodeport-addresses=primary",
        ],
        "coredns": [f"-conf={at.home}/Corefile"],
        "network-policies": [as_admin],
        "host-directory-provisioner": [as_admin, f"--root={at.home}/data/volumes"],
    }
    return {
        name: ["containerd", *words] if name == "containerd" else [at.kube / "kube", name, *words]
        for name, words in parts.items()
    }


def files(at: Layout, *, snapshotter: str) -> dict[str, str]:
    """Returns the configuration files, by their names in the cluster's folder."""
    return {
        "containerd.toml": _containerd(at, snapshotter),
        "cni/10-pods.conflist": json.dumps(_network(at), indent=1),
        "kubelet.json": json.dumps(_kubelet(at), indent=1),
        "Corefile": _names(at),
    }


def _containerd(at: Layout, snapshotter: str) -> str:
    # restrict_oom_score_adj: some machines grant no CAP_SYS_RESOURCE, and then containers would not start.
    return f"""version = 2
root = "{at.home}/containerd/root"
state = "{at.home}/containerd/state"
[grpc]
  address = "{at.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{at.home}/cni"
"""


def _network(at: Layout) -> dict[str, Any]:
    addresses: dict[str, Any] = {"type": "host-local", "dataDir": f"{at.home}/leases", "routes": [{"dst": "0.0.0.0/0"}]}
    addresses["ranges"] = [[{"subnet": POD_RANGE}]]
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [{**bridge, "ipam": addresses}, ports]}


def _kubelet(at: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{at.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{at.pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{at.pki}/kubelet.key",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "address": at.address,
        "healthzBindAddress": "127.0.0.1",
        "containerRuntimeEndpoint": f"unix://{at.socket}",
        "clusterDNS": [at.address],
        "clusterDomain": "cluster.local",
        "resolvConf": "/etc/resolv.conf",
        # No image is ever collected, however full the disk: none could be pulled again, not even the pause image, which
        # Debian's containerd can't pin. A full disk fails a test by itself.
        "evictionHard": {"memory.available": "200Mi"},
        "imageGCHighThresholdPercent": 100,
        "maxPods": 200,
    }


def _names(at: Layout) -> str:
    return f""".:53 {{
  bind {at.address}
  errors
  ready 127.0.0.1:8181
  cache 5
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {at.admin}
  }}
  forward . /etc/resolv.conf
}}
"""
