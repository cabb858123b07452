"""Brings a single-node cluster up and takes it down.

One cluster per machine: it owns a bridge, an address and iptables chains. Pods, ClusterIP services, DNS, probes, logs,
volumes and RBAC are real; there is no load balancer.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pricecast_testbed import cache
from pricecast_testbed.kubernetes import binaries, config, firewall, images, pki
from pricecast_testbed.server import alive, start_process, stop_process, wait_until
from pricecast_testbed.shell import TestbedError, find, run

_BRIDGE = "kn0"
_READY_SECONDS = 120.0


class Cluster:
    """The cluster of this machine.

    Attributes:
        layout: Where it keeps what; `layout.address` is the machine's address as pods see it.
    """

    def __init__(self, home: Path | None = None) -> None:
        """Describes the cluster in a folder; starts nothing."""
        self.layout = config.Layout(home or cache.root() / "run" / "kubernetes", binaries.folder())

    @property
    def running(self) -> bool:
        """Whether all of its parts run."""
        processes = self._processes()
        return bool(processes) and all(alive(processes.get(name)) for name in config.commands(self.layout))

    def up(self) -> None:
        """Starts what does not run and returns when the node takes pods.

        Raises:
            TestbedError: A part did not start; with the end of its log.
        """
        if os.geteuid() != 0:
            raise TestbedError("a kubelet needs root: run as root, or let KUBECONFIG name a cluster to test on")
        binaries.build()
        binaries.runtime_packages()
        with _alone():
            self._up()

    def _up(self) -> None:
        at = self.layout
        if not any(map(alive, self._processes().values())):
            self._foreign_chains.parent.mkdir(parents=True, exist_ok=True)
            self._foreign_chains.write_text(json.dumps(sorted(firewall.chains())))
        pki.create(at.pki, at.address, config.API_SERVICE, at.node)
        self._write_files()
        _prepare_network(at.address)
        for name in config.commands(at):
            self._start(name, self._checks().get(name))
        images.import_pause(at)
        run([*self._kubectl, "apply", "-f", "-"], stdin=json.dumps(config.STORAGE_CLASS))
        self._wait("the node", self._node_ready)

    def down(self) -> None:
        """Stops every pod and every part; what is stored stays, and so do images."""
        with _alone():
            self._down()

    def _down(self) -> None:
        self._stop_pods()
        processes = self._processes()
        for name in reversed(config.commands(self.layout)):
            stop_process(processes.get(name))
        self._save({})
        if (self.layout.kube / "kube").exists():
            cleanup: list[str | Path] = [self.layout.kube / "kube", "kube-proxy", "--cleanup"]
            subprocess.run(cleanup, capture_output=True, check=False, env=_environment())
        self._remove_chains()
        for link in ("cni0", _BRIDGE):
            subprocess.run([find("ip") or "true", "link", "delete", link], capture_output=True, check=False)

    def wipe(self) -> None:
        """Takes it down and deletes all that it stored, but for its images."""
        with _alone():
            self._down()
            for mount in _mounts_below(self.layout.home / "kubelet"):
                subprocess.run(["umount", "--lazy", mount], capture_output=True, check=False)
            for folder in ("data", "leases", "kubelet", "kubelet-pki", "pki", "apiserver"):
                shutil.rmtree(self.layout.home / folder, ignore_errors=True)

    @property
    def _foreign_chains(self) -> Path:
        return self.layout.home / "chains-of-others.json"

    def _remove_chains(self) -> None:
        """Deletes the iptables chains that came with the cluster; kube-proxy's cleanup leaves most of them."""
        try:
            others = {tuple(each) for each in json.loads(self._foreign_chains.read_text())}
        except FileNotFoundError:
            return  # nobody knows whose they are
        firewall.remove(firewall.chains() - others)
        if left := firewall.chains() - others:
            raise TestbedError(f"iptables chains are left: {', '.join(' '.join(each) for each in sorted(left))}")
        self._foreign_chains.unlink()

    @property
    def _kubectl(self) -> list[str | Path]:
        return [self.layout.kube / "kubectl", f"--kubeconfig={self.layout.admin}"]

    def _write_files(self) -> None:
        at = self.layout
        server = at.server
        texts = config.files(at, snapshotter="native" if _is_overlay(at.home) else "overlayfs")
        texts["kubeconfig"] = pki.kubeconfig(at.pki, "admin", server)
        texts["kubelet.kubeconfig"] = pki.kubeconfig(at.pki, "kubelet", server)
        for name, text in texts.items():
            path = at.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o600)

    def _start(self, name: str, ready: Callable[[], bool] | None) -> None:
        processes = self._processes()
        if alive(processes.get(name)):
            return
        log = self.layout.home / "log" / f"{name}.log"
        process = start_process(config.commands(self.layout)[name], log, env=_environment())
        self._save({**processes, name: process})
        if ready is not None:
            wait_until(ready, process, log, _READY_SECONDS)

    def _checks(self) -> dict[str, Callable[[], bool]]:
        address = f"--address={self.layout.socket}"
        return {
            "kube-apiserver": lambda: _succeeds([*self._kubectl, "get", "--raw", "/readyz"]),
            "containerd": lambda: _succeeds(["ctr", address, "version"]),
        }

    def _node_ready(self) -> bool:
        wanted = 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'
        done = subprocess.run(
            [*self._kubectl, "get", "nodes", "-o", wanted], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() == "True" and _succeeds(
            [*self._kubectl, "--namespace=default", "get", "serviceaccount", "default"]
        )

    def _wait(self, what: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not ready():
            if time.monotonic() > deadline:
                raise TestbedError(f"{what} was not ready in {_READY_SECONDS:.0f} s: see {self.layout.home}/log")
            time.sleep(0.2)

    def _stop_pods(self) -> None:
        """Lets the kubelet end the pods and their networks, then ends what it left: containers outlive containerd."""
        processes = self._processes()
        for name in ("kube-controller-manager", "kube-scheduler"):  # they would make new ones
            stop_process(processes.get(name))
        if alive(processes.get("kube-apiserver")) and alive(processes.get("kubelet")):
            words = ["delete", "pods", "--all", "--all-namespaces", "--grace-period=1", "--timeout=30s"]
            subprocess.run([*self._kubectl, *words], capture_output=True, check=False)
        stop_process(processes.get("kubelet"))
        if not alive(processes.get("containerd")):
            return
        tool: list[str | Path] = ["ctr", f"--address={self.layout.socket}", "--namespace=k8s.io"]
        for task in run([*tool, "tasks", "list", "--quiet"]).split():
            subprocess.run([*tool, "tasks", "delete", "--force", task], capture_output=True, check=False)
        for container in run([*tool, "containers", "list", "--quiet"]).split():
            subprocess.run([*tool, "containers", "delete", container], capture_output=True, check=False)

    def _processes(self) -> dict[str, Any]:
        try:
            processes: dict[str, Any] = json.loads((self.layout.home / "processes.json").read_text())
        except FileNotFoundError:
            return {}
        return processes

    def _save(self, processes: dict[str, Any]) -> None:
        self.layout.home.mkdir(parents=True, exist_ok=True)
        (self.layout.home / "processes.json").write_text(json.dumps(processes))


def _alone() -> AbstractContextManager[None]:
    """Holds off other processes that start, stop or wipe the machine's one cluster."""
    return cache.locked("cluster")


def _environment() -> dict[str, str]:
    """Returns the environment with administrators' commands on its path: iptables, runc."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}


def _succeeds(command: list[str | Path]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _prepare_network(address: str) -> None:
    """Gives the machine the node's address, on a bridge of its own, and lets it forward for pods."""
    ip = find("ip") or "ip"
    if not _succeeds([ip, "link", "show", _BRIDGE]):
        run([ip, "link", "add", _BRIDGE, "type", "bridge"])
        run([ip, "address", "add", f"{address}/32", "dev", _BRIDGE])
        run([ip, "link", "set", _BRIDGE, "up"])
    for switch in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"):
        path = Path("/proc/sys") / switch
        if path.exists():
            path.write_text("1")


def _is_overlay(folder: Path) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    return run(["stat", "--file-system", "--format=%T", folder]).strip() == "overlayfs"


def _mounts_below(folder: Path) -> list[str]:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return sorted((mount for mount in mounts if Path(mount).is_relative_to(folder)), reverse=True)
