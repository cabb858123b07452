"""Fixtures of the cluster tests, for tests/e2e and tests/chaos alike."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from pricecast_operator.crds.schema import RESOURCES, custom_resource_definition
from tests.e2e import stack as stacks
from tests.e2e.kube import Kube
from tests.e2e.stack import Stack

__all__ = ["crds", "kube", "kubeconfig", "live", "namespace", "pytest_collection_modifyitems", "stack"]

_TEST_SECONDS = 480


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bounds the tests themselves: what they stand on may have to be built first, which takes as long as it takes.

    Waves go over all pipelines of a cluster, so their tests come before those that keep one alive beside them.
    """
    items.sort(key=lambda item: item.path.name not in ("test_fleet.py", "test_waves.py"))
    for item in items:
        if item.path.parent.name in ("e2e", "chaos"):
            item.add_marker(pytest.mark.timeout(_TEST_SECONDS, func_only=True))


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config) -> Stack:
    """The cluster with our chart installed, and real servers beside it; what is built for it is told as it is built."""
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():  # type: ignore[union-attr]
        return stacks.shared()


@pytest.fixture(scope="session")
def kubeconfig(stack: Stack) -> Path:
    """Kubeconfig of the cluster."""
    return stack.kubeconfig


@pytest.fixture(scope="session")
def kube(stack: Stack) -> Kube:
    """A client of the cluster."""
    return stack.kube


@pytest.fixture(scope="session")
def crds(kube: Kube) -> None:
    """Our CRDs, established: what `kubectl apply -f charts/pricecast/files/crds` does before an upgrade."""
    for resource in RESOURCES:
        kube.apply(custom_resource_definition(resource))
    for resource in RESOURCES:
        name = f"{resource.plural}.pricecast.dev"
        kube.wait(
            f"{name} is served",
            lambda name=name: kube.condition("CustomResourceDefinition", name, "Established"),
            seconds=30,
        )


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    """A namespace of the test's own, with Pod Security `restricted` enforced; deleted at the end."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    kube.create_namespace(name)
    yield name
    kube.delete("Namespace", name)


@pytest.fixture(scope="session")
def live(stack: Stack) -> tuple[str, str]:
    """Namespace and name of a pipeline on a simulated market that goes on and on, ready and predicting."""
    return _live(stack)


@functools.cache
def _live(stack: Stack) -> tuple[str, str]:
    namespace, name = f"live-{uuid.uuid4().hex[:6]}", f"live-{uuid.uuid4().hex[:6]}"
    stack.kube.create_namespace(namespace)
    stack.endings.append(lambda: stack.kube.delete("Namespace", namespace))
    stack.storage_secret(namespace)
    stack.kube.apply(
        {
            "apiVersion": "pricecast.dev/v1alpha1",
            "kind": "PricePipeline",
            "metadata": {"name": name},
            "spec": {
                "pairs": ["BTC/USD"],
                "source": {"kind": "Simulated", "since": "1h", "simulated": {"tradesPerSecond": 5}},
                "candles": {"seconds": 5},
                "training": {"lookback": "1h", "minRows": 400, "trials": 0, "folds": 2},
                # Longer ahead than pods and stores are away: no forecast is too late to be one.
                "prediction": {"horizonsSeconds": [180]},
                "storage": stack.storage(),
            },
        },
        namespace,
    )
    stacks.until("ready", lambda: stack.kube.condition("PricePipeline", name, "Ready", namespace), 240)
    stacks.until("predicting", lambda: stack.kube.condition("PricePipeline", name, "Predicting", namespace), 180)
    return namespace, name
