"""What the cluster tests stand on: a cluster, our images, our chart installed, and real Kafka, Elasticsearch, PostgreSQL.

A cluster that KUBECONFIG names is used as it is, with E2E_IMAGES (registry/path that holds the images, with tag), and
with E2E_KAFKA_BROKERS, E2E_ELASTICSEARCH_URL and E2E_POSTGRES_URL as both the pods and this machine reach them. What
isn't given, the testbed starts: servers on E2E_NODE_ADDRESS, an address of this machine that the pods reach. One stack
serves the whole run of pytest, however many folders it takes tests from.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import functools
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kubernetes import config
from kubernetes.dynamic import DynamicClient

from pricecast_testbed import Elasticsearch, Kafka, Postgres, Server, cache
from pricecast_testbed.kubernetes import Cluster, binaries, images
from pricecast_testbed.shell import say
from tests.e2e.kube import SUITE, Kube

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "pricecast"
SYSTEM = "pricecast-system"
RELEASE = "pricecast"
API = "pricecast-api"
SERVICES = (
    "operator",
    "trades",
    "candles",
    "technical-indicators",
    "to-feature-store",
    "price-predictor",
    "prediction-api",
)
QUICK: dict[str, Any] = {
    "pairs": ["BTC/USD"],
    "source": {"kind": "Simulated", "since": "10m"},
    "candles": {"seconds": 5},
    "training": {"lookback": "1h", "minRows": 700, "trials": 0},
    "prediction": {"horizonsSeconds": [10]},
}
"""The spec of a pipeline that forecasts soon, or would if it could."""


@dataclass(eq=False)
class Stack:
    """Everything a cluster test uses.

    Attributes:
        kube: The cluster.
        kubeconfig: Its file.
        registry: Where images are.
        tag: Tag of the images.
        brokers: Kafka, for pods and for tests.
        elasticsearch: Elasticsearch, likewise.
        postgres: PostgreSQL, likewise.
        endings: What takes back what was put there, run last first when the run ends.
        servers: The servers that the testbed started, by their kind, to be stopped and started.
    """

    kube: Kube
    kubeconfig: Path
    registry: str
    tag: str
    brokers: str
    elasticsearch: str
    postgres: str
    endings: list[Callable[[], Any]]
    servers: dict[type[Server], Server]

    def helm(self, *arguments: str) -> str:
        """Runs helm and returns what it says."""
        return _run([binaries.tool("helm"), *arguments], self.kubeconfig)

    def kubectl(self, *arguments: str) -> str:
        """Runs kubectl and returns what it says."""
        return _run([binaries.tool("kubectl"), *arguments], self.kubeconfig)

    def install(self, *, tag: str = "", **values: str) -> None:
        """Installs the chart, or upgrades it, and waits until all of it is ready."""
        settings = {
            "image.registry": self.registry,
            "image.tag": tag or self.tag,
            "operator.observeSeconds": "5",
            "networkPolicies.operatorEgressPorts": f"{{{','.join(self.ports())}}}",
            "predictionApi.elasticsearch.url": self.elasticsearch,
            **values,
        }
        sets = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        # Definitions of an earlier run, or of a test, may be there already.
        given = ("-n", SYSTEM, *sets, "--take-ownership", "--wait", "--timeout", "240s")
        self.helm("upgrade", "--install", RELEASE, str(CHART), *given)

    @contextlib.contextmanager
    def forward(self, service: str, port: int, namespace: str = SYSTEM) -> Iterator[int]:
        """Makes a Service's port one of this machine's; yields its number."""
        command = [binaries.tool("kubectl"), "-n", namespace, "port-forward", f"service/{service}", f":{port}"]
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            try:
                yield int(process.stdout.readline().split("127.0.0.1:")[1].split()[0])
            finally:
                process.terminate()

    def token(self) -> str:
        """Returns the token that the chart made for the prediction API."""
        secret = self.kube.get("Secret", f"{API}-token", SYSTEM) or {}
        return base64.b64decode(secret["data"]["token"]).decode()

    def storage_secret(self, namespace: str) -> None:
        """Creates the Secret that pipelines find their database by."""
        self.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "pricecast-storage"},
                "stringData": {"sql-url": self.postgres},
            },
            namespace,
        )

    def pipeline(self, name: str, spec: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Returns the manifest of a pipeline on this stack.

        Args:
            name: Its name.
            spec: Its spec, without storage.
            more: Fields of the spec that count instead.
        """
        return {
            "apiVersion": "pricecast.dev/v1alpha1",
            "kind": "PricePipeline",
            "metadata": {"name": name},
            "spec": {**spec, "storage": self.storage(), **more},
        }

    def storage(self) -> dict[str, Any]:
        """Returns the `spec.storage` of a pipeline on this stack."""
        return {"kafka": {"brokers": self.brokers}, "predictions": {"url": self.elasticsearch}}

    def ports(self) -> list[str]:
        """Returns the ports of Kafka, Elasticsearch and PostgreSQL."""
        return [
            self.brokers.rpartition(":")[2],
            *(str(urlsplit(url).port) for url in (self.elasticsearch, self.postgres)),
        ]

    def predictions(self, pipeline: str) -> list[dict[str, Any]]:
        """Returns all predictions of a pipeline in Elasticsearch, by feature time."""
        self._search("POST", "pricecast-predictions/_refresh")
        found: list[dict[str, Any]] = []
        while True:
            query: dict[str, Any] = {
                "size": 2_000,
                "query": {"term": {"pipeline": pipeline}},
                "sort": [{"feature_time_ms": "asc"}, {"horizon_seconds": "asc"}, {"pair": "asc"}],
            }
            if found:
                query["search_after"] = found[-1]["sort"]
            hits = self._search("POST", "pricecast-predictions/_search", query)["hits"]["hits"]
            if not hits:
                return [hit["_source"] for hit in found]
            found += hits

    def _search(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.elasticsearch}/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return {"hits": {"hits": []}}
            raise


_failures: list[BaseException] = []


@functools.cache
def shared() -> Stack:
    """Returns the stack of this run, with the chart installed in a namespace that enforces Pod Security."""
    if _failures:  # what takes minutes is not tried again for each test
        raise _failures[0]
    endings: list[Callable[[], Any]] = []
    atexit.register(_end, endings)
    try:
        return _bring_up(endings)
    except BaseException as error:
        _failures.append(error)
        raise


def _end(endings: list[Callable[[], Any]]) -> None:
    """Takes back what was put there, the last first; one that fails is told of and keeps no other from being done."""
    while endings:
        try:
            endings.pop()()
        except Exception as error:  # any may fail in its own way
            say(f"was not taken back: {error}")


def _bring_up(endings: list[Callable[[], Any]]) -> Stack:
    cluster = Cluster()
    kubeconfig = Path(os.environ.get("KUBECONFIG", cluster.layout.admin))
    registry, _, tag = os.environ.get("E2E_IMAGES", "pricecast:dev").rpartition(":")
    address = os.environ.get("E2E_NODE_ADDRESS", cluster.layout.address)
    if kubeconfig == cluster.layout.admin:
        _prepare(cluster, tag, endings)
    else:
        assert registry != "pricecast", (
            "a cluster of your own needs E2E_IMAGES: where it finds our images, with the tag"
        )
    servers: dict[type[Server], Server] = {}
    stack = Stack(
        kube=Kube(DynamicClient(config.new_client_from_config(str(kubeconfig)))),
        kubeconfig=kubeconfig,
        registry=registry,
        tag=tag,
        brokers=os.environ.get("E2E_KAFKA_BROKERS") or _start(Kafka, address, endings, servers),
        elasticsearch=os.environ.get("E2E_ELASTICSEARCH_URL") or _start(Elasticsearch, address, endings, servers),
        postgres=os.environ.get("E2E_POSTGRES_URL") or _start(Postgres, address, endings, servers),
        endings=endings,
        servers=servers,
    )
    [(label, value)] = SUITE.items()  # of an earlier run, which may have been killed
    stack.kubectl("delete", "namespaces", "-l", f"{label}={value}", "--timeout=180s")
    stack.kube.create_namespace(SYSTEM)
    endings.append(lambda: stack.kube.delete("Namespace", SYSTEM))
    stack.install()
    endings.append(lambda: stack.helm("uninstall", RELEASE, "-n", SYSTEM, "--wait"))
    return stack


def _prepare(cluster: Cluster, tag: str, endings: list[Callable[[], Any]]) -> None:
    """Brings up the testbed's cluster with our images in it, and fetches the servers.

    All at the same time: on a machine that has nothing, Kubernetes keeps the cores busy while the rest waits for
    downloads.
    """

    def up() -> None:
        if not cluster.running:
            if cluster.layout.home.exists():
                cluster.wipe()  # what a run that was killed has stored
            endings.append(cluster.wipe)
        cluster.up()

    with ThreadPoolExecutor() as pool:
        running = pool.submit(up)
        jobs: list[Future[Any]] = [pool.submit(kind(Path()).install) for kind in (Kafka, Elasticsearch, Postgres)]
        if "E2E_IMAGES" not in os.environ:
            jobs.append(
                pool.submit(images.build, cluster.layout, ROOT, SERVICES, tag=tag, before_import=running.result)
            )
    for job in (running, *jobs):
        job.result()


def _start(
    kind: type[Server], address: str, endings: list[Callable[[], Any]], servers: dict[type[Server], Server]
) -> str:
    server = kind(cache.root() / "run" / f"e2e-{kind.name}", node_address=address)

    def remove() -> None:
        server.wipe()
        shutil.rmtree(server.home, ignore_errors=True)

    remove()  # what a run that was killed left running
    endings.append(remove)
    server.start()
    servers[kind] = server
    return server.node_url


def _run(command: list[str], kubeconfig: Path) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:] or done.stdout[-2000:]}"
    return done.stdout


def until(what: str, check: Callable[[], Any], seconds: float, pause: float = 1.0) -> Any:
    """Returns the first true answer of `check`; fails after so long, saying what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}; last answer: {answer!r}"
        time.sleep(pause)
