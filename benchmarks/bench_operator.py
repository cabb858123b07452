"""The operator at scale: 200 PricePipelines applied at once; their pods fit no node, so that none runs.

    KUBECONFIG=... python benchmarks/bench_operator.py [--pipelines 200] [--python OPERATOR'S] [--json]

The operator's memory is that of its image only with a Python that has its packages alone, as by
`UV_PROJECT_ENVIRONMENT=... uv sync --no-dev --package pricecast-operator`: Elasticsearch's client imports numpy and
pyarrow where they are installed.

Measured: time until every object exists, the operator's CPU and memory, the writes to the API server that it makes in
the minute after things are at rest (aim: 60 s, 200 MiB, none), the longest look at a server (aim: within the 30 s between
two), and time to its end. Topics go to the embedded broker; the first pipeline's Elasticsearch never answers.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
from kubernetes import config
from kubernetes.dynamic import DynamicClient

from pricecast_embedded_broker.broker import running
from pricecast_operator.crds.schema import RESOURCES, custom_resource_definition
from pricecast_resources.pricepipeline import PROCESSES

KINDS = (
    ("apps/v1", "Deployment"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
    ("v1", "ConfigMap"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
)
OBJECTS_EACH = 25
NAMESPACE = "bench-operator"
MANAGED = "app.kubernetes.io/managed-by=pricecast-operator"
PORT = 38180


def pipeline(number: int, brokers: str, hangs: str) -> dict[str, Any]:
    return {
        "apiVersion": "pricecast.dev/v1alpha1",
        "kind": "PricePipeline",
        "metadata": {"name": f"bench-{number}", "namespace": NAMESPACE},
        "spec": {
            "pairs": ["BTC/USD"],
            "source": {"kind": "Simulated"},
            "services": {name: {"nodeSelector": {"bench": "none"}} for name in PROCESSES},
            "storage": {
                "kafka": {"brokers": brokers},
                "predictions": {"url": "http://127.0.0.1:1" if number else hangs},
            },
        },
    }


def count(api: DynamicClient) -> int:
    return sum(
        len(
            json.loads(
                api.resources.get(api_version=version, kind=kind)
                .get(namespace=NAMESPACE, label_selector=MANAGED, serialize=False)
                .data
            )["items"]
        )
        for version, kind in KINDS
    )


def metrics() -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=10) as answer:
        return list(answer.read().decode().splitlines())


def writes() -> float:
    return sum(float(line.split()[-1]) for line in metrics() if line.startswith("pricecast_operator_api_writes_total{"))


def longest_look() -> float:
    """Returns the bound, of those that the operator counts by, that no look has exceeded."""
    counts: dict[str, list[tuple[float, float]]] = {}
    for line in metrics():
        if line.startswith("pricecast_operator_look_seconds_bucket{"):
            at, bound = line.partition('at="')[2].split('"')[0], line.partition('le="')[2].split('"')[0]
            counts.setdefault(at, []).append((float(bound), float(line.split()[-1])))
    return max(next(bound for bound, count in each if count == each[-1][1]) for each in counts.values())


def start_operator(python: str) -> subprocess.Popen[bytes]:
    with Path(os.environ.get("BENCH_LOG", os.devnull)).open("wb") as log:
        return subprocess.Popen(
            [python, "-m", "pricecast_operator"],
            env={
                **os.environ,
                "HTTP_PORT": str(PORT),
                "HTTP_HOST": "127.0.0.1",
                "NAMESPACE": NAMESPACE,
                "MALLOC_ARENA_MAX": "2",  # as in the chart
            },
            stdout=log,
            stderr=log,
        )


def wait(check: Any, seconds: float) -> float:
    started = time.monotonic()
    while not check():
        if time.monotonic() - started > seconds:
            raise SystemExit(f"not within {seconds:.0f} s")
        time.sleep(0.5)
    return time.monotonic() - started


def measure(api: DynamicClient, brokers: str, hangs: str, pipelines: int, operator: psutil.Process) -> dict[str, float]:
    resource = api.resources.get(api_version="pricecast.dev/v1alpha1", kind="PricePipeline")
    cpu = sum(operator.cpu_times()[:2])
    started = time.monotonic()
    for number in range(pipelines):
        resource.create(body=pipeline(number, brokers, hangs), namespace=NAMESPACE)
    applied = time.monotonic() - started
    print(f"applied {pipelines} pipelines in {applied:.1f} s", file=sys.stderr)
    peak = 0.0

    def complete() -> bool:
        nonlocal peak
        peak = max(peak, operator.memory_info().rss / 2**20)
        return writes() >= pipelines * OBJECTS_EACH and count(api) >= pipelines * OBJECTS_EACH

    wait(complete, 300)
    objects_seconds = time.monotonic() - started
    cpu_used = sum(operator.cpu_times()[:2]) - cpu
    at_rest, last = time.monotonic(), writes()
    while time.monotonic() - at_rest < 20:  # at rest: nothing written for 20 s (the controllers go on for a while)
        time.sleep(1)
        peak = max(peak, operator.memory_info().rss / 2**20)
        if writes() != last:
            at_rest, last = time.monotonic(), writes()
    cpu, before = sum(operator.cpu_times()[:2]), writes()
    time.sleep(60)
    return {
        "pipelines": pipelines,
        "objects": count(api),
        "seconds_to_all_objects": round(objects_seconds, 1),
        "cpu_seconds": round(cpu_used, 1),
        "peak_mib": round(max(peak, operator.memory_info().rss / 2**20), 1),
        "writes_in_all": before,
        "writes_in_the_minute_after": writes() - before,
        "longest_look_seconds_at_most": longest_look(),
        "cpu_seconds_in_the_minute_after": round(sum(operator.cpu_times()[:2]) - cpu, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipelines", type=int, default=200)
    parser.add_argument("--python", default=sys.executable, help="the Python that runs the operator")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    api = DynamicClient(config.new_client_from_config())
    definitions = api.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
    for resource in RESOURCES:
        body = custom_resource_definition(resource)
        definitions.server_side_apply(body, name=body["metadata"]["name"], field_manager="bench", force_conflicts=True)
    namespaces = api.resources.get(api_version="v1", kind="Namespace")
    namespaces.server_side_apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, field_manager="bench"
    )
    with running() as brokers, socket.create_server(("127.0.0.1", 0)) as silent:  # it is connected to, and that is all
        hangs = f"http://127.0.0.1:{silent.getsockname()[1]}"
        operator = start_operator(arguments.python)
        try:
            wait(lambda: _ready(operator), 60)
            result = measure(api, brokers, hangs, arguments.pipelines, psutil.Process(operator.pid))
        finally:
            told = time.monotonic()
            operator.send_signal(signal.SIGTERM)
            operator.wait(30)  # the grace period
            ended = time.monotonic() - told
            namespaces.delete(name=NAMESPACE)
    result["seconds_to_end"] = round(ended, 1)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name.replace('_', ' '):36}{value:>10}")
    return 0


def _ready(operator: subprocess.Popen[bytes]) -> bool:
    if operator.poll() is not None:
        raise SystemExit("the operator has ended; see BENCH_LOG")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/healthz", timeout=2):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
