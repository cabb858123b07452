"""The cluster under test: any that KUBECONFIG names, else the testbed's own (`make test-e2e` brings it up)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from kubernetes import config
from kubernetes.dynamic import DynamicClient

from pricecast_operator.api.crd import RESOURCES, custom_resource_definition
from tests.e2e.kube import Kube


@pytest.fixture(scope="session")
def kube() -> Kube:
    """A client of the cluster that KUBECONFIG names."""
    if not os.environ.get("KUBECONFIG"):
        pytest.fail("KUBECONFIG is not set; run `make test-e2e`, or name a cluster that may be tested on")
    return Kube(DynamicClient(config.new_client_from_config()))


@pytest.fixture(scope="session")
def crds(kube: Kube) -> None:
    """Our CRDs, established."""
    for resource in RESOURCES:
        kube.apply(custom_resource_definition(resource))
    for resource in RESOURCES:
        kube.wait(
            f"{resource.plural} is served",
            lambda plural=resource.plural: kube.condition(
                "CustomResourceDefinition", f"{plural}.pricecast.dev", "Established"
            ),
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
