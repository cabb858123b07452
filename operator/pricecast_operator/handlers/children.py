"""What the operator made, as it is now, and the work of making it as it should be.

Children come from kopf's index over watches that the server filters by label. Our own writes are known at once, from
the answers, so that a reconcile right after another doesn't take the cache's delay for a difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pricecast_core import logs
from pricecast_operator.apply import Cluster, ClusterError
from pricecast_operator.labels import FINETUNE_JOB, PIPELINE
from pricecast_operator.objects import Child, Ref, Wanted, is_as_wanted, job_patch

Key = tuple[str, str, str]
"""Kind, namespace and name of the owner."""

log = logs.get(__name__)


class Children:
    """Objects by their owner.

    Args:
        cluster: Where differences are written.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._index: Any = {}
        self._written: dict[Key, dict[Ref, Child]] = {}
        self._deleted: set[str] = set()
        self._right: dict[Ref, tuple[str, str]] = {}

    def use(self, index: Any) -> None:
        """Takes kopf's index: owner's key -> children."""
        self._index = index

    def of(self, key: Key) -> dict[Ref, Child]:
        """Returns an owner's objects."""
        found = {child.ref: child for child in self._index.get(key, ())}
        ours = self._written.get(key, {})
        for ref, written in list(ours.items()):
            live = found.get(ref)
            if live is not None and live.version >= written.version:
                del ours[ref]  # the watch has caught up
        found.update(ours)
        return {ref: child for ref, child in found.items() if child.uid not in self._deleted}

    def gone(self, key: Key, child: Child) -> None:
        """Takes note of a deletion that the watch has seen."""
        self._deleted.discard(child.uid)
        self._right.pop(child.ref, None)
        ours = self._written.get(key, {})
        if child.ref in ours and ours[child.ref].uid == child.uid:
            del ours[child.ref]

    def forget(self, key: Key) -> None:
        """Forgets an owner that is gone."""
        self._written.pop(key, None)

    async def sync(self, key: Key, uid: str, wanted: Sequence[Wanted]) -> list[str]:
        """Writes what differs and deletes what is not wanted any more; returns what was refused, with the reason.

        Raises:
            ClusterError: If the API server can't be reached, or asks to try again.
        """
        live = self.of(key)
        refused = []
        for each in wanted:
            try:
                await self._ensure(key, each, live.get(each.ref))
            except ClusterError as error:
                if not error.is_final:
                    raise
                refused.append(str(error))
        names = {each.ref for each in wanted}
        await self._prune(key, [child for ref, child in live.items() if ref not in names and uid in child.owners])
        return refused

    async def _ensure(self, key: Key, wanted: Wanted, child: Child | None) -> None:
        if child is not None and child.deleting:
            return  # its deletion will be seen, and then it is made again
        if child is not None and self._right.get(wanted.ref) == (wanted.digest, child.digest):
            return
        if child is not None and is_as_wanted(wanted, child):
            self._right[wanted.ref] = (wanted.digest, child.digest)
            return
        if child is not None and wanted.ref.kind == "Job":
            live = await self._cluster.patch(wanted.ref, job_patch(wanted))
        else:
            live = await self._cluster.apply(wanted.manifest)
        made = Child.of(live)
        self._written.setdefault(key, {})[wanted.ref] = made
        self._right[wanted.ref] = (wanted.digest, made.digest)
        log.info("applied", object=str(wanted.ref), changed=child is not None)

    async def _prune(self, key: Key, superfluous: Iterable[Child]) -> None:
        for child in superfluous:
            if child.deleting:
                continue
            await self._cluster.delete(child.ref, child.uid)
            self._deleted.add(child.uid)
            self._written.get(key, {}).pop(child.ref, None)
            self._right.pop(child.ref, None)
            log.info("pruned", object=str(child.ref))


def owner_key(namespace: str, labels: Any) -> Key | None:
    """Returns whose object this is, by its labels."""
    if PIPELINE in labels:
        return "PricePipeline", namespace, labels[PIPELINE]
    if FINETUNE_JOB in labels:
        return "FinetuneJob", namespace, labels[FINETUNE_JOB]
    return None
