"""Topics to delete with their pipeline, remembered where no namespace can hang on it.

A finalizer would do, but a pipeline with a finalizer can't be deleted once the operator is gone, nor can its
namespace. So the operator notes in a ConfigMap of its own namespace which topics go with which pipeline; when it
finds a noted pipeline gone, at once or after its own restart, it deletes them and the note.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pricecast_core import logs
from pricecast_operator.cluster.api import Cluster
from pricecast_operator.render.labels import MANAGED_BY, MANAGER
from pricecast_operator.render.pods import Manifest
from pricecast_resources.storage import KafkaStorage

NAME = "pricecast-topics-to-delete"
Key = tuple[str, str]
log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Note:
    """Whose topics, and where; of credentials only which Secret holds them."""

    uid: str
    kafka: KafkaStorage

    def dumped(self) -> str:
        """Returns it as text."""
        kafka = self.kafka.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return json.dumps({"uid": self.uid, "brokers": self.kafka.brokers, **kafka})

    @classmethod
    def read(cls, text: str) -> Note:
        """Returns a note that was text.

        Raises:
            ValueError: If it is none.
        """
        told = json.loads(text)
        return cls(str(told.pop("uid")), KafkaStorage.model_validate(told))


class Inventory:
    """The notes, in a ConfigMap.

    Args:
        cluster: The API server.
        namespace: The operator's own.
        owners: Owner references of the ConfigMap: it goes with them.
    """

    def __init__(self, cluster: Cluster, namespace: str, owners: Sequence[Manifest] = ()) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._owners = list(owners)
        self._notes: dict[Key, Note] = {}

    async def load(self) -> list[Key]:
        """Reads the notes; returns the pipelines they are about."""
        data = await self._cluster.config_map(self._namespace, NAME)
        for name, text in data.items():
            try:
                self._notes[_key(name)] = Note.read(text)
            except (ValueError, LookupError, AttributeError):
                log.warning("a note of topics to delete can't be read and is passed over", name=name)
        return list(self._notes)

    def get(self, key: Key) -> Note | None:
        """Returns the note about a pipeline."""
        return self._notes.get(key)

    async def note(self, key: Key, note: Note) -> None:
        """Notes that a pipeline's topics go with it; writes only what is new."""
        if self._notes.get(key) != note:
            self._notes[key] = note
            await self._save()

    async def discard(self, key: Key) -> None:
        """Forgets a pipeline."""
        if self._notes.pop(key, None) is not None:
            await self._save()

    async def _save(self) -> None:
        await self._cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": NAME,
                    "namespace": self._namespace,
                    "labels": {MANAGED_BY: MANAGER},
                    "ownerReferences": self._owners,
                },
                "data": {f"{key[0]}.{key[1]}": note.dumped() for key, note in self._notes.items()},
            }
        )


def _key(name: str) -> Key:
    namespace, _, pipeline = name.partition(".")
    return namespace, pipeline
