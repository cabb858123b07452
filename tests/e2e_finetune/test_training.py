"""A FinetuneJob that really trains: killed, suspended, resumed, published to Ollama, taken up by a running pipeline.

One job goes through it all, in the order of the tests, on the CPU with a real model of 135 million parameters. Run by
`make test-finetune-e2e`: its image takes some 25 GB of disk while it is built, which CI has not. Another dataset than
the package's own is given by FINETUNE_DATASET, a running Ollama by E2E_OLLAMA_URL.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import ollama
import pytest
from confluent_kafka import Producer

from pricecast_core import topics
from pricecast_core.messages import NewsSignal, decode, encode
from pricecast_core.news import lexicon
from pricecast_core.streaming import tail
from pricecast_core.topics import topic_name
from pricecast_news.source import headline, parse_time
from pricecast_testbed import Ollama, finetune_environment
from pricecast_testbed.kubernetes import Cluster, binaries, images
from pricecast_testbed.shell import say
from tests.e2e.stack import ROOT, Stack, until

JOB, PIPELINE = "news", "moving"
STEPS, KILLED_AT, SUSPENDED_AT = 24, 6, 13
SAVE_STEPS = 4
pytestmark = pytest.mark.timeout(1_500, func_only=True)


class Bench:
    """A namespace with a base model, a dataset, a pipeline that reads news, and news that never ends."""

    def __init__(self, stack: Stack, namespace: str, ollama_url: str) -> None:
        self.stack, self.namespace, self.ollama_url = stack, namespace, ollama_url
        self.sent: list[str] = []
        self._ended = threading.Event()
        self._feed = threading.Thread(target=self._send_forever, daemon=True)

    def status(self) -> dict[str, Any]:
        return dict((self.stack.kube.get("FinetuneJob", JOB, self.namespace) or {}).get("status") or {})

    def condition(self, kind: str) -> str:
        found = [each for each in self.status().get("conditions", []) if each["type"] == kind]
        return f"{found[0]['status']} {found[0]['reason']}: {found[0]['message']}" if found else ""

    def pods(self) -> list[str]:
        """Names of the job's pods that run."""
        found = self.stack.kube.list("Pod", self.namespace, f"pricecast.dev/finetune-job={JOB}")
        return [pod["metadata"]["name"] for pod in found if pod["status"].get("phase") == "Running"]

    def reaches(self, step: int) -> None:
        def reached() -> bool:
            assert not self.condition("Failed").startswith("True"), self.condition("Failed")
            return int(self.status().get("step", 0)) >= step

        until(f"step {step}", reached, 900)

    def resumed_from(self) -> str:
        """What the running pod says it went on from; empty as long as it says nothing."""
        for pod in self.pods():
            for line in self.stack.kubectl("-n", self.namespace, "logs", pod).splitlines():
                if line.startswith("{") and (told := json.loads(line)).get("event") == "training":
                    return str(told["resumed_from"])
        return ""

    def signals(self) -> list[NewsSignal]:
        values = tail(self.stack.brokers, topic_name(PIPELINE, topics.NEWS_SIGNALS), 100_000)
        return [decode(NewsSignal, value) for value in values]

    def start_news(self) -> None:
        self._feed.start()

    def stop_news(self) -> None:
        self._ended.set()
        self._feed.join()

    def _send_forever(self) -> None:
        producer = Producer({"bootstrap.servers": self.stack.brokers})
        topic = topic_name(PIPELINE, topics.NEWS)
        while not self._ended.wait(2):
            number = len(self.sent)
            news = headline(
                identity=f"test:{number}",
                title=f"Bitcoin rallies {number % 90 + 5}% as bank {number} announces support",
                source="test",
                published=parse_time("2024-05-01T00:00:00Z"),
            )
            producer.produce(topic, key=news.id, value=encode(news))
            producer.flush()
            self.sent.append(news.id)


@pytest.fixture(scope="module")
def bench(stack: Stack) -> Iterator[Bench]:
    cluster = Cluster()
    if "E2E_IMAGES" not in os.environ:
        images.build(cluster.layout, ROOT, ("news", "news-signal", "finetune"), tag=stack.tag)
    server = None
    url = os.environ.get("E2E_OLLAMA_URL", "")
    if not url:
        server = Ollama(Path(tempfile.mkdtemp(prefix="e2e-ollama-")), node_address=cluster.layout.address)
        server.start()
        url = server.node_url
    bench = Bench(stack, f"finetune-{uuid.uuid4().hex[:6]}", url)
    stack.kube.create_namespace(bench.namespace)
    try:
        stack.storage_secret(bench.namespace)
        _put_base_model(stack, bench.namespace)
        _put_dataset(stack, bench.namespace)
        yield bench
    finally:
        stack.kube.delete("Namespace", bench.namespace)
        if server is not None:
            server.wipe()


def _put_base_model(stack: Stack, namespace: str) -> None:
    """Copies the base model into a volume, by a pod that does nothing else."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "models"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "porter"},
        "spec": {
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "porter",
                    "image": f"{stack.registry}/news-signal:{stack.tag}",
                    "command": ["python3", "-c", "import time; time.sleep(3600)"],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "models", "mountPath": "/model"}],
                }
            ],
            "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
        },
    }
    for manifest in (claim, pod):
        stack.kube.apply(manifest, namespace)
    until(
        "the porter runs",
        lambda: (stack.kube.get("Pod", "porter", namespace) or {})["status"]["phase"] == "Running",
        120,
    )
    program = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, open('/model/smollm2.gguf', 'wb'))"
    command = [
        str(binaries.folder() / "kubectl"),
        "-n",
        namespace,
        "exec",
        "-i",
        "porter",
        "--",
        "python3",
        "-c",
        program,
    ]
    with finetune_environment.smollm2().open("rb") as file:
        subprocess.run(
            command, stdin=file, check=True, timeout=300, env={**os.environ, "KUBECONFIG": str(stack.kubeconfig)}
        )
    stack.kube.delete("Pod", "porter", namespace)


def _put_dataset(stack: Stack, namespace: str) -> None:
    given = os.environ.get("FINETUNE_DATASET")
    own = resources.files("pricecast_finetune").joinpath("data", "headlines.jsonl")
    text = Path(given).read_text("utf-8") if given else own.read_text("utf-8")
    data = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "headlines"}, "data": {"dataset.jsonl": text}}
    stack.kube.apply(data, namespace)


def test_a_pipeline_reads_its_news_by_the_lexicon_until_the_model_is_there(bench: Bench) -> None:
    manifest = {
        "apiVersion": "pricecast.dev/v1alpha1",
        "kind": "PricePipeline",
        "metadata": {"name": PIPELINE},
        "spec": {
            "pairs": ["BTC/USD"],
            "source": {"kind": "Simulated", "since": "1h", "simulated": {"tradesPerSecond": 1}},
            "news": {
                "rss": {"urls": ["http://feed.invalid/rss"]},  # the test writes the news itself
                "signals": {"provider": "Ollama", "url": bench.ollama_url, "finetuneJob": JOB},
            },
            "services": {"news": {"replicas": 0}},
            "topics": {"deletionPolicy": "Delete"},
            "storage": bench.stack.storage(),
        },
    }
    bench.stack.kube.apply(manifest, bench.namespace)
    until(
        "the reader is there",
        lambda: (bench.stack.kube.get("Deployment", f"{PIPELINE}-news-signal", bench.namespace) or {"status": {}})[
            "status"
        ].get("readyReplicas"),
        240,
    )
    bench.start_news()
    found = until("signals", bench.signals, 120)
    assert {signal.model_name for signal in found} == {lexicon.MODEL_NAME}


def test_killed_in_the_middle_of_training_it_goes_on_from_its_checkpoint(bench: Bench) -> None:
    manifest = {
        "apiVersion": "pricecast.dev/v1alpha1",
        "kind": "FinetuneJob",
        "metadata": {"name": JOB},
        "spec": {
            "baseModel": {"name": "smollm2.gguf", "volumeClaim": "models"},
            "dataset": {"configMap": {"name": "headlines"}},
            "evaluation": {"fraction": 0.1, "requiredF1": 0.3},
            "trainer": {
                "maxSteps": STEPS,
                "learningRate": 5e-4,
                "maxSequenceLength": 256,
                "saveSteps": SAVE_STEPS,
            },
            "gpu": {"count": 0},
            "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "6Gi"}},
            "outputs": {"ollama": {"url": bench.ollama_url, "model": "pricecast-news", "quantization": "q8_0"}},
        },
    }
    bench.stack.kube.apply(manifest, bench.namespace)
    bench.reaches(KILLED_AT)
    status = bench.status()
    assert status["totalSteps"] == STEPS
    assert {"loss", "before"} <= status.keys()
    (pod,) = bench.pods()
    bench.stack.kubectl("-n", bench.namespace, "delete", "pod", pod, "--grace-period=0", "--force")
    resumed = until("another pod goes on", lambda: pod not in bench.pods() and bench.resumed_from(), 300)
    assert int(resumed.rpartition("-")[2]) >= SAVE_STEPS


def test_suspended_it_stops_and_resumed_it_goes_on(bench: Bench) -> None:
    bench.reaches(SUSPENDED_AT)
    bench.stack.kube.patch("FinetuneJob", JOB, bench.namespace, {"spec": {"suspend": True}})
    until("suspended", lambda: bench.condition("Suspended").startswith("True SuspendedByUser"), 180)
    until("its pod is gone", lambda: not bench.pods(), 180)
    assert bench.status()["step"] < STEPS
    bench.stack.kube.patch("FinetuneJob", JOB, bench.namespace, {"spec": {"suspend": False}})
    resumed = until("it goes on", bench.resumed_from, 300)
    assert int(resumed.rpartition("-")[2]) >= SUSPENDED_AT  # saved when it was told to stop, not only each few steps


def test_it_ends_at_the_step_that_was_asked_for_with_a_better_model_in_ollama(bench: Bench) -> None:
    def ended() -> bool:
        assert not bench.condition("Failed").startswith("True"), bench.condition("Failed")
        return bench.condition("Complete").startswith("True Published")

    until("published", ended, 900)
    status = bench.status()
    say(f"F1 on held-out headlines: {status['before']['f1']} before, {status['after']['f1']} after {STEPS} steps")
    assert (status["step"], status["totalSteps"]) == (STEPS, STEPS)
    assert status["after"]["f1"] > status["before"]["f1"]
    names = {model.model for model in ollama.Client(host=bench.ollama_url).list().models}
    assert status["publishedModel"] in names


def test_the_running_pipeline_moves_to_it_and_loses_no_news(bench: Bench) -> None:
    model = bench.status()["publishedModel"]
    until(
        "the new model reads on and on",
        lambda: len({signal.news_id for signal in bench.signals() if signal.model_name == model}) > 5,
        300,
    )
    bench.stop_news()
    wanted = set(bench.sent)
    until("every headline has a signal", lambda: wanted <= {signal.news_id for signal in bench.signals()}, 180)
    readers = {signal.model_name for signal in bench.signals()}
    assert readers == {lexicon.MODEL_NAME, model}


def test_a_model_below_its_bar_ends_the_job_for_good(bench: Bench) -> None:
    manifest = bench.stack.kube.get("FinetuneJob", JOB, bench.namespace)
    assert manifest is not None
    spec = {
        **manifest["spec"],
        "evaluation": {"fraction": 0.1, "requiredF1": 1.0},
        "trainer": {**manifest["spec"]["trainer"], "maxSteps": 1},
    }
    low = {"apiVersion": manifest["apiVersion"], "kind": "FinetuneJob", "metadata": {"name": "low"}, "spec": spec}
    bench.stack.kube.apply(low, bench.namespace)

    def failed() -> dict[str, Any] | None:
        found = (bench.stack.kube.get("FinetuneJob", "low", bench.namespace) or {}).get("status") or {}
        return next(
            (each for each in found.get("conditions", []) if (each["type"], each["status"]) == ("Failed", "True")), None
        )

    condition = until("failed", failed, 600)
    assert (condition["reason"], "1.000 is required" in condition["message"]) == ("F1TooLow", True)
    job = bench.stack.kube.get("Job", "low", bench.namespace)
    assert job is not None
    assert job["status"]["failed"] == 1  # no second try
