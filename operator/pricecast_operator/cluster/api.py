"""The one module that writes to the API server.

Objects are applied server-side under one field manager, so that what others own stays theirs. Calls block, so they
run in a few threads; the event loop goes on.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from kubernetes import dynamic
from kubernetes.client import ApiClient
from kubernetes.dynamic.resource import Resource, Subresource

from pricecast_operator import metrics
from pricecast_operator.cluster.errors import ClusterError, translated
from pricecast_operator.cluster.objects import Ref, fields_as_applied
from pricecast_operator.render.labels import MANAGER
from pricecast_operator.render.pods import Manifest
from pricecast_resources.base import API_VERSION

T = TypeVar("T")

_dynamic: Any = dynamic  # untyped
_THREADS = 8
_RAW: dict[str, Any] = {"serialize": False, "_request_timeout": (10, 60)}
"""Answers as they come, and no waiting for ever: seconds for a connection and for each part of an answer."""
_PAGE = 100
"""Objects in a page of a list: parsed, a page of Deployments takes some megabytes."""
API_VERSIONS = {
    "ConfigMap": "v1",
    "CronJob": "batch/v1",
    "Deployment": "apps/v1",
    "Event": "v1",
    "FinetuneJob": API_VERSION,
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "Job": "batch/v1",
    "Lease": "coordination.k8s.io/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "PersistentVolumeClaim": "v1",
    "Pod": "v1",
    "PodDisruptionBudget": "policy/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
    "PricePipeline": API_VERSION,
    "ScaledObject": "keda.sh/v1alpha1",
    "Secret": "v1",
    "Service": "v1",
    "ServiceAccount": "v1",
    "TriggerAuthentication": "keda.sh/v1alpha1",
}


def group_and_version(kind: str) -> tuple[str, str]:
    """Returns the API group of a kind, empty for the core's, and its version."""
    group, _, version = API_VERSIONS[kind].rpartition("/")
    return group, version


class Cluster:
    """The API server, for those who write to it.

    Args:
        client: A configured client of the `kubernetes` package.
    """

    def __init__(self, client: ApiClient) -> None:
        self._client: Any = _dynamic.DynamicClient(client)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="cluster")
        self._resources: dict[str, Resource] = {}

    def close(self) -> None:
        """Gives up the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def serves(self, kind: str) -> bool:
        """Returns whether the API server knows a kind now. Blocks.

        Raises:
            ClusterError: If it doesn't answer.
        """
        path = f"/apis/{API_VERSIONS[kind]}"
        try:
            response = translated("discover", lambda: self._client.request("get", path, **_RAW))
        except ClusterError as error:
            if error.status == 404:
                return False
            raise
        return any(each["kind"] == kind for each in json.loads(response.data)["resources"])

    def find(self, ref: Ref) -> Manifest | None:
        """Returns an object, or None if there is none. Blocks.

        Raises:
            ClusterError: If the API server doesn't say.
        """
        try:
            return self._now(f"read {ref}", "get", ref)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    def find_all(self, kind: str, labels: str) -> list[Manifest]:
        """Returns the objects of a kind in all namespaces. Blocks.

        Raises:
            ClusterError: If they can't be read.
        """
        return list(self._now(f"list {kind}", "get", Ref(kind, "", ""), label_selector=labels)["items"])

    def put(self, manifest: Manifest) -> Manifest:
        """Creates an object, or replaces the version that the manifest is of; returns it as it is now. Blocks.

        Raises:
            ClusterError: If it is refused; status 409 if there is another version by now.
        """
        ref = Ref.of(manifest)
        verb = "replace" if "resourceVersion" in manifest["metadata"] else "create"
        return self._now(f"{verb} {ref}", verb, ref, body=manifest, field_manager=MANAGER)

    def _now(self, what: str, verb: str, ref: Ref, **options: Any) -> Manifest:
        names = {"name": ref.name or None} if verb != "create" else {}
        call = getattr(self._client, verb)
        answer = translated(
            what,
            lambda: call(self._resource(ref.kind), namespace=ref.namespace or None, **names, **_RAW, **options),
        )
        return cast("Manifest", json.loads(answer.data))

    async def create(self, manifest: Manifest) -> Manifest:
        """Creates an object; returns it as it is now.

        Raises:
            ClusterError: If it is refused; with `is_taken` where there is one of that name.
        """
        ref = Ref.of(manifest)
        return await self._call(
            "create",
            ref,
            lambda: self._client.create(
                self._resource(ref.kind), body=manifest, namespace=ref.namespace, field_manager=MANAGER, **_RAW
            ),
        )

    async def apply(self, manifest: Manifest, uid: str = "") -> Manifest:
        """Changes an object so that it holds the manifest; returns it as it is now.

        Args:
            manifest: What it is to hold.
            uid: Identity of the object that is to be changed; without it, one that is absent is created.

        Raises:
            ClusterError: If it is refused, also because the object is another one by now.
        """
        ref = Ref.of(manifest)
        body = {**manifest, "metadata": {**manifest["metadata"], "uid": uid}} if uid else manifest
        return await self._call("apply", ref, lambda: self._apply(self._resource(ref.kind), ref, body))

    async def own_as_applied(self, ref: Ref) -> None:
        """Turns the fields that we own by having created an object into fields that we have applied.

        Raises:
            ClusterError: If it is refused.
        """
        metadata = (await self._get(ref))["metadata"]
        fields = fields_as_applied(metadata.get("managedFields") or ())
        if fields is not None:
            version = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
            await self.patch(ref, {"metadata": {**version, "managedFields": fields}})

    async def get(self, ref: Ref) -> Manifest | None:
        """Returns an object, or None if there is none.

        Raises:
            ClusterError: If it can't be read.
        """
        found = await self._found(ref)
        return None if found is None else {"kind": ref.kind, **found}

    async def apply_status(self, ref: Ref, status: Mapping[str, Any]) -> Manifest:
        """Sets the status of one of our resources; returns the resource as it is now.

        Raises:
            ClusterError: If it is refused; status 404 where the resource is gone.
        """
        body = {
            "apiVersion": API_VERSION,
            "kind": ref.kind,
            "metadata": {"name": ref.name, "namespace": ref.namespace},
            "status": status,
        }

        def call() -> Any:
            subresource = cast("Mapping[str, Subresource]", self._resource(ref.kind).subresources)["status"]
            return self._apply(subresource, ref, body)

        return await self._call("apply_status", ref, call)

    async def patch(self, ref: Ref, patch: Manifest) -> Manifest:
        """Merges a patch into an object; returns it as it is now.

        Raises:
            ClusterError: If it is refused.
        """
        return await self._call(
            "patch",
            ref,
            lambda: self._client.patch(
                self._resource(ref.kind),
                body=patch,
                name=ref.name,
                namespace=ref.namespace,
                content_type="application/merge-patch+json",
                field_manager=MANAGER,
                **_RAW,
            ),
        )

    async def delete(self, ref: Ref, uid: str) -> None:
        """Deletes an object and what it owns, if it still is the one of that identity.

        Raises:
            ClusterError: If it is refused. One that is gone already is no error.
        """
        options = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            await self._call(
                "delete",
                ref,
                lambda: self._client.delete(
                    self._resource(ref.kind), name=ref.name, namespace=ref.namespace, body=options, **_RAW
                ),
            )
        except ClusterError as error:
            if error.status not in (404, 409):
                raise

    async def secret(self, namespace: str, name: str) -> tuple[str, dict[str, str]]:
        """Returns a Secret's version, which no other has ever had, and its values; empty if there is none.

        Raises:
            ClusterError: If it can't be read.
        """
        found = await self._found(Ref("Secret", namespace, name))
        if found is None:
            return "", {}
        metadata, data = found["metadata"], found.get("data") or {}
        values = {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}
        return f"{metadata['uid']}.{metadata['resourceVersion']}", values

    async def exists(self, ref: Ref) -> bool:
        """Returns whether there is such an object.

        Raises:
            ClusterError: If the API server doesn't say.
        """
        return await self._found(ref) is not None

    async def pages(self, kind: str, namespaces: Iterable[str], labels: str = "") -> AsyncIterator[list[Manifest]]:
        """Yields all objects of a kind in these namespaces, page by page; in all namespaces if none are given.

        Raises:
            ClusterError: If they can't be read.
        """
        for namespace in list(namespaces) or [""]:
            token: str | None = ""
            while token is not None:
                options = {"limit": _PAGE, **({"_continue": token} if token else {})}
                found = await self._get(Ref(kind, namespace, ""), label_selector=labels or None, **options)
                yield [{"kind": kind, **item} for item in found["items"]]
                token = found["metadata"].get("continue") or None

    async def pods(self, namespace: str, labels: Mapping[str, str]) -> list[Manifest]:
        """Returns pods by their labels.

        Raises:
            ClusterError: If they can't be read.
        """
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        found = await self._get(Ref("Pod", namespace, ""), label_selector=selector)
        return list(found["items"])

    async def warnings(self, ref: Ref, uid: str) -> list[str]:
        """Returns the messages of the warnings about an object, the newest first.

        Raises:
            ClusterError: If they can't be read.
        """
        selector = f"involvedObject.uid={uid},type=Warning"
        found = await self._get(Ref("Event", ref.namespace, ""), field_selector=selector)
        events = sorted(found["items"], key=lambda each: int(each["metadata"]["resourceVersion"]), reverse=True)
        return [str(each.get("message") or "") for each in events]

    async def config_map(self, namespace: str, name: str) -> dict[str, str]:
        """Returns the data of a ConfigMap; empty if there is none.

        Raises:
            ClusterError: If it can't be read.
        """
        found = await self._found(Ref("ConfigMap", namespace, name))
        return dict((found or {}).get("data") or {})

    async def _found(self, ref: Ref) -> Manifest | None:
        """Returns an object, or None if there is none."""
        try:
            return await self._get(ref)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    async def _get(self, ref: Ref, **options: Any) -> Manifest:
        return await self._call(
            "",
            ref,
            lambda: self._client.get(
                self._resource(ref.kind),
                name=ref.name or None,
                namespace=ref.namespace or None,
                **_RAW,
                **options,
            ),
        )

    def _apply(self, resource: Resource, ref: Ref, manifest: Manifest) -> Any:
        return self._client.server_side_apply(
            resource,
            body=manifest,
            name=ref.name,
            namespace=ref.namespace,
            field_manager=MANAGER,
            force_conflicts=True,
            **_RAW,
        )

    def _resource(self, kind: str) -> Resource:
        if kind not in self._resources:
            self._resources[kind] = self._client.resources.get(api_version=API_VERSIONS[kind], kind=kind)
        return self._resources[kind]

    async def _call(self, verb: str, ref: Ref, call: Callable[[], Any]) -> Manifest:
        """Runs a call in a thread; `verb` names a write, for the count of them."""
        if verb:
            metrics.API_WRITES.labels(verb, ref.kind).inc()
        response = await self._in_thread(lambda: translated(f"{verb or 'read'} {ref}", call))
        return cast("Manifest", json.loads(response.data))

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)
