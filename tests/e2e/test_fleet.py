"""Twenty pipelines are moved to new images in waves, and one of them fails: it alone is harmed, and the others wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.hollow import HollowNode, Pod
from tests.e2e.stack import Stack, until
from tests.e2e.test_waves import SPEC, candles, condition

PIPELINES, WAVE = 20, 3
NEW = f"sha256:{'1' * 64}"


@pytest.fixture
def node(stack: Stack) -> Iterator[HollowNode]:
    with HollowNode(stack.kube) as node:
        yield node
        stack.install()


def test_one_of_twenty_fails_on_the_new_images(stack: Stack, namespace: str, node: HollowNode) -> None:
    stack.storage_secret(namespace)
    names = [f"fleet-{number:02}" for number in range(PIPELINES)]
    for name in names:
        manifest: dict[str, Any] = stack.pipeline(name, SPEC, pods=node.pods)
        stack.kube.apply(manifest, namespace)

    def settled(name: str) -> bool:
        held = {kind: condition(stack, namespace, name, kind).get("status") for kind in ("Ready", "Progressing")}
        return held == {"Ready": "True", "Progressing": "False"}

    until("all are ready", lambda: all(map(settled, names)), 300)
    before = {name: candles(stack, namespace, name) for name in names}
    victims: list[str] = []

    def can_pull(pod: Pod) -> bool:
        """The first pipeline that is moved can't have the new image."""
        if not pod["spec"]["containers"][0]["image"].endswith(NEW):
            return True
        victims[:] = victims or [pod["metadata"]["labels"]["pricecast.dev/pipeline"]]
        return bool(pod["metadata"]["labels"]["pricecast.dev/pipeline"] != victims[0])

    node.can_pull = can_pull
    stack.install(**{"operator.upgradeWave": str(WAVE), "image.digests.candles": NEW})

    def reasons() -> Counter[str]:
        return Counter(str(condition(stack, namespace, name, "Upgraded").get("reason")) for name in names)

    def stopped() -> bool:
        now = reasons()
        assert now["Upgrading"] <= WAVE
        return now["UpgradeFailed"] == 1 and now["UpgradeWaits"] > 0 and not now["Upgrading"]

    until("one has failed, the others wait", stopped, 300)
    [victim] = victims
    assert condition(stack, namespace, victim, "Upgraded")["reason"] == "UpgradeFailed"
    assert condition(stack, namespace, victim, "Degraded")["reason"] == "ImagePullFailed"
    for name in names:
        assert stack.kube.condition("PricePipeline", name, "Ready", namespace), name  # the victim by its pods of before
        if condition(stack, namespace, name, "Upgraded").get("reason") == "UpgradeWaits":
            assert candles(stack, namespace, name) == before[name]
            message = lambda name=name: condition(stack, namespace, name, "Upgraded")["message"]  # noqa: E731
            until("told for whom", lambda message=message: victim in message(), 30)

    node.can_pull = lambda _: True
    moved = lambda: all(settled(name) and candles(stack, namespace, name).endswith(NEW) for name in names)  # noqa: E731
    until("mended, all arrive", moved, 300)
