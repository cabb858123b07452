"""How a new version of the resources comes, at the real API server: no object is lost or changed.

See docs/decisions/0010-resource-versions.md.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from pricecast_operator.crds.schema import PRICE_PIPELINE, RESOURCES, Resource, custom_resource_definition
from pricecast_testbed.kubernetes import binaries
from tests.contracts.manifests import FINETUNE, PIPELINE
from tests.e2e.kube import Kube

GROUP = "versions.pricecast.dev"
"""A group of its own: what other tests have is not migrated along."""
OLD, NEW = "v1alpha1", "v1beta1"
MANIFESTS = {"PricePipeline": PIPELINE, "FinetuneJob": FINETUNE}


def define(kube: Kube, resource: Resource, *versions: str, stored: str) -> None:
    kube.apply(custom_resource_definition(resource, group=GROUP, versions=versions, stored=stored))
    name = f"{resource.plural}.{GROUP}"

    def served() -> bool:
        found = kube.get("CustomResourceDefinition", name) or {}
        written = {each["name"]: (each["served"], each["storage"]) for each in found["spec"]["versions"]}
        established = kube.condition("CustomResourceDefinition", name, "Established")
        return established and written.get(stored) == (True, True)

    kube.wait(f"{name} is served", served, seconds=30)


@pytest.fixture(params=RESOURCES, ids=lambda resource: resource.kind)
def resource(request: pytest.FixtureRequest, kube: Kube) -> Iterator[Resource]:
    yield request.param
    kube.delete("CustomResourceDefinition", f"{request.param.plural}.{GROUP}")


def test_a_new_version_comes_and_the_old_one_goes(
    kube: Kube, kubeconfig: Path, namespace: str, resource: Resource
) -> None:
    plural = f"{resource.plural}.{GROUP}"

    def kubectl(*arguments: str, given: str = "") -> str:
        command = [str(binaries.tool("kubectl")), "--kubeconfig", str(kubeconfig), *arguments]
        return subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout

    def read(version: str) -> dict[str, Any]:
        found = kubectl("get", f"{resource.plural}.{version}.{GROUP}", "old", "-n", namespace, "-o", "json")
        return dict(json.loads(found))

    def tell_stored() -> None:
        told = json.dumps({"status": {"storedVersions": [NEW]}})
        kubectl("patch", "crd", plural, "--subresource=status", "--type=merge", "-p", told)

    define(kube, resource, OLD, stored=OLD)
    manifest = {**MANIFESTS[resource.kind], "apiVersion": f"{GROUP}/{OLD}", "metadata": {"name": "old"}}
    kubectl("create", "-n", namespace, "-f", "-", given=json.dumps(manifest))
    before = read(OLD)

    define(kube, resource, OLD, NEW, stored=OLD)
    assert read(NEW)["apiVersion"] == f"{GROUP}/{NEW}"
    assert read(NEW)["spec"] == read(OLD)["spec"] == before["spec"]
    if resource is PRICE_PIPELINE:  # the new one has the rules of the old one
        bad = {**manifest, "apiVersion": f"{GROUP}/{NEW}", "metadata": {"name": "1inch"}}
        with pytest.raises(subprocess.CalledProcessError) as refused:
            kubectl("create", "-n", namespace, "-f", "-", given=json.dumps(bad))
        assert "write at most 40 of a-z, 0-9 and -" in refused.value.stderr

    define(kube, resource, OLD, NEW, stored=NEW)
    with pytest.raises(ApiException, match="storedVersions"):  # objects of the old one may still be there
        define(kube, resource, NEW, stored=NEW)
    kubectl("replace", "-f", "-", given=kubectl("get", plural, "-A", "-o", "json"))
    tell_stored()
    define(kube, resource, NEW, stored=NEW)
    after = read(NEW)
    assert after["spec"] == before["spec"]
    assert (after["metadata"]["uid"], after["metadata"]["generation"]) == (before["metadata"]["uid"], 1)
    with pytest.raises(subprocess.CalledProcessError):
        read(OLD)
