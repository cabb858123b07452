"""`helm upgrade` to a changed version: every pod is replaced, no trade is lost, predictions are served throughout."""

from __future__ import annotations

import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pricecast_testbed.kubernetes import Cluster
from tests.e2e.accounts import assert_nothing_lost_or_doubled
from tests.e2e.stack import API, SERVICES, SYSTEM, Stack, until


@pytest.fixture(scope="module")
def next_tag(stack: Stack) -> str:
    """Tag of the version to upgrade to: given as E2E_NEXT_TAG, else the same code under another name."""
    given = os.environ.get("E2E_NEXT_TAG")
    if given:
        return given
    tag = f"{stack.tag}-next"
    containerd = ["ctr", f"--address={Cluster().layout.socket}", "--namespace=k8s.io", "images", "tag", "--force"]
    for service in SERVICES:
        image = f"docker.io/{stack.registry}/{service}"
        subprocess.run([*containerd, f"{image}:{stack.tag}", f"{image}:{tag}"], check=True, capture_output=True)
    return tag


def test_upgrade_loses_no_trade_and_serves_throughout(stack: Stack, live: tuple[str, str], next_tag: str) -> None:
    namespace, name = live
    with asking(stack, f"{namespace}.{name}") as answers:
        stack.install(tag=next_tag)
        until("every pod is of the new version", lambda: _tags(stack, namespace) == {next_tag}, 240)
        until("ready again", lambda: stack.kube.condition("PricePipeline", name, "Ready", namespace), 180)
    failures = [answer for answer in answers if answer != "200"]
    assert len(answers) > 20
    assert not failures, failures
    assert_nothing_lost_or_doubled(stack, f"{namespace}.{name}", candle_seconds=5)


def _tags(stack: Stack, namespace: str) -> set[str]:
    return {
        pod["spec"]["containers"][0]["image"].rpartition(":")[2]
        for pod in stack.kube.list("Pod", namespace, "pricecast.dev/kind=stream")
    }


@contextmanager
def asking(stack: Stack, pipeline: str) -> Iterator[list[str]]:
    """Asks for a prediction four times a second, through the Service's address, until the block ends."""
    service = stack.kube.get("Service", API, SYSTEM) or {}
    url = f"http://{service['spec']['clusterIP']}:80/predict?pair=BTC/USD&pipeline={pipeline}"
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {stack.token()}"})
    answers: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    answers.append(str(answer.status))
            except OSError as error:
                answers.append(f"{time.strftime('%X')} {error}")
            done.wait(0.25)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        done.set()
        thread.join()
