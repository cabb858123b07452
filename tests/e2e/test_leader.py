"""Two operators never fight: one holds the Lease, the other waits, and takes over when the first is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import SYSTEM, Stack, until

SPEC: dict[str, Any] = {
    "pairs": ["BTC/USD"],
    "source": {"kind": "Simulated", "since": "10m"},
    "training": {"lookback": "1d", "minRows": 700, "trials": 0},
    "suspend": True,
}
OPERATOR = "app.kubernetes.io/name=operator"


@pytest.fixture
def two(stack: Stack) -> Iterator[None]:
    """The operator with two replicas."""
    stack.install(**{"operator.replicaCount": "2"})
    yield
    stack.install()


def test_the_second_takes_over_when_the_leader_is_killed(stack: Stack, namespace: str, two: None) -> None:
    name = f"led-{uuid.uuid4().hex[:6]}"
    stack.storage_secret(namespace)
    manifest = stack.pipeline(name, SPEC)
    stack.kube.apply(manifest, namespace)
    until("made", lambda: len(stack.kube.list("Deployment", namespace)) == 5, 60)
    assert len(stack.kube.list("Pod", SYSTEM, OPERATOR)) == 2
    leader = holder(stack)
    kill(stack, leader)
    stack.kube.patch("PricePipeline", name, namespace, {"spec": {"suspend": False}})
    until("another leads", lambda: holder(stack) not in ("", leader), 40)
    until(
        "it reconciles",
        lambda: all(each["spec"]["replicas"] == 1 for each in stack.kube.list("Deployment", namespace)),
        40,
    )
    stack.kube.delete("PricePipeline", name, namespace)


def test_an_operator_on_a_laptop_waits_and_names_the_leader(stack: Stack, tmp_path: Path) -> None:
    until("led", lambda: holder(stack), 60)
    with started(stack, tmp_path / "waits.log", {"NAMESPACE": SYSTEM}) as process:
        told = until("told", lambda: _line(tmp_path / "waits.log", "waits for the operator that leads"), 60)
        assert holder(stack) in told
        assert process.poll() is None
        process.terminate()
        assert process.wait(20) == 0
    with started(stack, tmp_path / "refuses.log", {"NAMESPACE": "default"}) as process:
        assert process.wait(60) == 1
        assert holder(stack) in _line(tmp_path / "refuses.log", "another operator serves the same")


def started(stack: Stack, log: Path, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "KUBECONFIG": str(stack.kubeconfig), "HTTP_PORT": "0", **settings}
    with log.open("wb") as output:
        command = [str(Path(sys.executable).with_name("pricecast-operator"))]
        return subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)


def holder(stack: Stack) -> str:
    lease = stack.kubectl("-n", SYSTEM, "get", "lease", "pricecast-operator", "-o", "jsonpath={.spec.holderIdentity}")
    return lease.strip()


def kill(stack: Stack, leader: str) -> None:
    """Kills the leader with SIGKILL, if its process is one of this machine's, else deletes its pod without a wait."""
    pod = leader.rpartition("_")[0]
    killed = False
    for process in Path("/proc").glob("[0-9]*"):
        try:
            hostname = f"HOSTNAME={pod}".encode() in (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if hostname:
            os.kill(int(process.name), signal.SIGKILL)
            killed = True
    if not killed:
        stack.kubectl("-n", SYSTEM, "delete", "pod", pod, "--force", "--grace-period=0")


def _line(log: Path, words: str) -> str:
    return next((line for line in log.read_text().splitlines() if words in line), "") if log.exists() else ""
