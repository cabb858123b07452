"""What a test asks of a cluster, in words: apply, get, delete, wait until."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient

T = TypeVar("T")
API_VERSIONS = {
    "PricePipeline": "pricecast.dev/v1alpha1",
    "FinetuneJob": "pricecast.dev/v1alpha1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "Deployment": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
    "PodDisruptionBudget": "policy/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
}


SUITE = {"pricecast.dev/suite": "e2e"}  # on every namespace of the tests


class Kube:
    """A cluster."""

    def __init__(self, client: DynamicClient) -> None:
        self.client = client

    def resource(self, kind: str, api_version: str = "") -> Any:
        return self.client.resources.get(api_version=api_version or API_VERSIONS.get(kind, "v1"), kind=kind)

    def apply(self, manifest: dict[str, Any], namespace: str | None = None, dry_run: bool = False) -> dict[str, Any]:
        """Applies a manifest as `kubectl apply --server-side` does; unknown fields are refused."""
        resource = self.resource(manifest["kind"], manifest["apiVersion"])
        result = resource.server_side_apply(
            body=manifest,
            name=manifest["metadata"]["name"],
            namespace=namespace or manifest["metadata"].get("namespace"),
            field_manager="e2e",
            force_conflicts=True,
            query_params=[("fieldValidation", "Strict")],
            **({"dry_run": "All"} if dry_run else {}),
        )
        return dict(result.to_dict())

    def create(self, manifest: dict[str, Any], namespace: str, dry_run: bool = False) -> None:
        """Creates an object as `kubectl create` does; unknown fields are refused."""
        resource = self.resource(manifest["kind"], manifest["apiVersion"])
        self.client.request(
            "POST",
            resource.path(namespace=namespace),
            body=manifest,
            query_params=[("fieldValidation", "Strict"), *([("dryRun", "All")] if dry_run else [])],
        )

    def create_namespace(self, name: str) -> None:
        """Creates a namespace that enforces Pod Security `restricted`."""
        labels = {**SUITE, "pod-security.kubernetes.io/enforce": "restricted"}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        try:
            return dict(self.resource(kind).get(name=name, namespace=namespace).to_dict())
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: str, namespace: str | None = None, labels: str = "") -> list[dict[str, Any]]:
        found = self.resource(kind).get(namespace=namespace, label_selector=labels or None)
        return [dict(item) for item in found.to_dict()["items"]]

    def patch(self, kind: str, name: str, namespace: str, patch: dict[str, Any]) -> dict[str, Any]:
        result = self.resource(kind).patch(
            name=name, namespace=namespace, body=patch, content_type="application/merge-patch+json"
        )
        return dict(result.to_dict())

    def delete(self, kind: str, name: str, namespace: str | None = None, **options: Any) -> None:
        try:
            self.resource(kind).delete(name=name, namespace=namespace, **options)
        except ApiException as error:
            if error.status != 404:
                raise

    def condition(self, kind: str, name: str, type_: str, namespace: str | None = None) -> bool:
        found = self.get(kind, name, namespace) or {}
        conditions = (found.get("status") or {}).get("conditions") or []
        return any(each["type"] == type_ and each["status"] == "True" for each in conditions)

    def wait(self, what: str, check: Callable[[], T], seconds: float) -> T:
        """Returns the first true answer of `check`; fails after so long, saying what was waited for."""
        deadline = time.monotonic() + seconds
        while True:
            answer = check()
            if answer:
                return answer
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:.0f} s: {what}; last answer: {answer!r}")
            time.sleep(0.25)
