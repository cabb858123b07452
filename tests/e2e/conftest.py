"""The cluster under test: any that KUBECONFIG names, else the testbed's own for the session."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from kubernetes import config
from kubernetes.dynamic import DynamicClient

from pricecast_operator.api.crd import RESOURCES, custom_resource_definition
from pricecast_testbed.fixtures import kubeconfig
from tests.e2e.kube import Kube

__all__ = ["kubeconfig"]


@pytest.fixture(scope="session")
def kube(kubeconfig: Path) -> Kube:
    """A client of the cluster."""
    return Kube(DynamicClient(config.new_client_from_config(str(kubeconfig))))


@pytest.fixture(scope="session")
def crds(kube: Kube) -> None:
    """Our CRDs, established."""
    for resource in RESOURCES:
        kube.apply(custom_resource_definition(resource))
    for resource in RESOURCES:
        kube.wait(
            f"{resource.plural} is served",
            partial(kube.condition, "CustomResourceDefinition", f"{resource.plural}.pricecast.dev", "Established"),
            seconds=30,
        )


@pytest.fixture
def namespace(kube: Kube, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, with Pod Security `restricted` enforced; deleted at the end."""
    name = f"test-{abs(hash(request.node.nodeid)) % 10**8}"
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        }
    )
    yield name
    kube.delete("Namespace", name)
