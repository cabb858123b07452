"""A hollow node, as Kubernetes calls it: pods that are bound to it are said to run, and nothing does.

So a fleet of pipelines takes no more of the machine than its objects; scheduler, controllers and operator are the real ones.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from kubernetes.client.exceptions import ApiException

from tests.e2e.kube import Kube

LABEL = "pricecast.dev/hollow"
_LOOK_SECONDS = 0.5

Pod = dict[str, Any]


class HollowNode:
    """One such node, while the block lasts.

    Args:
        kube: The cluster.
    """

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._name = f"hollow-{uuid.uuid4().hex[:6]}"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.can_pull: Callable[[Pod], bool] = lambda _: True
        """Whether the images of a pod can be pulled."""

    @property
    def pods(self) -> dict[str, Any]:
        """What asks for the node in a `spec.pods`."""
        return {
            "nodeSelector": {LABEL: self._name},
            "tolerations": [{"key": LABEL, "operator": "Exists", "effect": "NoSchedule"}],
        }

    def __enter__(self) -> HollowNode:
        taint = {"key": LABEL, "value": "true", "effect": "NoSchedule"}
        self._kube.apply(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": self._name, "labels": {LABEL: self._name}},
                "spec": {"taints": [taint]},
            }
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._kube.delete("Node", self._name)

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            try:
                self._beat()
                found = self._kube.resource("Pod").get(field_selector=f"spec.nodeName={self._name}")
                for pod in found.to_dict()["items"]:
                    self._tend(pod)
            except ApiException:  # an object has changed meanwhile, or is gone: the next look sees
                continue

    def _beat(self) -> None:
        room = {"cpu": "1000", "memory": "1Ti", "pods": "1000"}
        ready = {"type": "Ready", "status": "True", "reason": "Hollow", "lastHeartbeatTime": _now()}
        self._patch_status("Node", {"capacity": room, "allocatable": room, "conditions": [ready]}, self._name)

    def _tend(self, pod: Pod) -> None:
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp"):
            self._kube.delete("Pod", metadata["name"], metadata["namespace"], body={"gracePeriodSeconds": 0})
            return
        pulls = self.can_pull(pod)
        status = pod.get("status") or {}
        if status.get("phase") == ("Running" if pulls else "Pending") and status.get("containerStatuses"):
            return
        [container] = pod["spec"]["containers"]
        state = {"running": {"startedAt": _now()}} if pulls else {"waiting": {"reason": "ImagePullBackOff"}}
        told = {
            "name": container["name"],
            "image": container["image"],
            "imageID": container["image"],
            "ready": pulls,
            "restartCount": 0,
            "state": state,
        }
        kept = [each for each in status.get("conditions", ()) if each["type"] == "PodScheduled"]
        ready = {"type": "Ready", "status": str(pulls), "lastTransitionTime": _now()}
        made = {
            "phase": "Running" if pulls else "Pending",
            "containerStatuses": [told],
            "conditions": [*kept, ready],
        }
        self._patch_status("Pod", made, metadata["name"], metadata["namespace"])

    def _patch_status(self, kind: str, status: dict[str, Any], name: str, namespace: str | None = None) -> None:
        self._kube.resource(kind).subresources["status"].patch(
            name=name, namespace=namespace, body={"status": status}, content_type="application/merge-patch+json"
        )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
