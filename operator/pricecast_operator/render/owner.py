"""The resource that rendered objects belong to: their owner reference, and the metadata that all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pricecast_operator.render.pods import Manifest
from pricecast_resources.base import API_VERSION


@dataclass(frozen=True, slots=True)
class Owner:
    """The resource that the objects belong to."""

    kind: str
    name: str
    namespace: str
    uid: str

    @property
    def reference(self) -> Manifest:
        """The owner reference: Kubernetes deletes the objects with their owner."""
        return {
            "apiVersion": API_VERSION,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }

    def metadata(self, name: str, object_labels: Mapping[str, str]) -> Manifest:
        """Returns the metadata of an object of this owner."""
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": dict(object_labels),
            "ownerReferences": [self.reference],
        }
