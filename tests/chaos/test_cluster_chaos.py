"""Pods killed at random, each service at least once, the operator too: nothing is lost or doubled, and it heals."""

from __future__ import annotations

import os
import random
import time

from tests.e2e.accounts import assert_nothing_lost_or_doubled
from tests.e2e.stack import SYSTEM, Stack, until

SECONDS = float(os.environ.get("CHAOS_SECONDS", "180"))
PROCESSES = ("trades", "candles", "technical-indicators", "to-feature-store", "price-predictor")


def test_killed_pods_lose_and_double_nothing(stack: Stack, live: tuple[str, str]) -> None:
    namespace, name = live
    rng = random.Random(11)
    until("ready", lambda: stack.kube.condition("PricePipeline", name, "Ready", namespace), 180)
    victims = [*PROCESSES, "operator"]
    rng.shuffle(victims)
    started = time.monotonic()
    killed: list[str] = []
    while time.monotonic() - started < SECONDS or len(killed) < len(PROCESSES) + 1:
        victim = victims.pop() if victims else rng.choice([*PROCESSES, "operator"])
        kill(stack, namespace, name, victim, gracefully=rng.random() < 0.3)
        killed.append(victim)
        time.sleep(rng.uniform(3, 10))
    until("ready again by itself", lambda: stack.kube.condition("PricePipeline", name, "Ready", namespace), 240)
    time.sleep(15)  # a few more candles
    assert_nothing_lost_or_doubled(stack, f"{namespace}.{name}", candle_seconds=5)


def kill(stack: Stack, namespace: str, pipeline: str, victim: str, *, gracefully: bool) -> None:
    where, labels = namespace, f"pricecast.dev/pipeline={pipeline},pricecast.dev/process={victim}"
    if victim == "operator":
        where, labels = SYSTEM, "app.kubernetes.io/name=operator"
    options = ["--wait=false"] if gracefully else ["--grace-period=0", "--force"]
    stack.kubectl("-n", where, "delete", "pods", "-l", labels, *options)
