"""What the operator made, as it is now, and the work of making it as it should be.

Children come from watches that the server filters by label, after one list of each kind. (kopf's own index would do,
but its barrier costs the square of the number of objects at a start.) Our own writes are known at once, from the
answers: an event that is older than what is known is passed over, so that a reconcile right after another doesn't take
the watch's delay for a difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pricecast_core import logs
from pricecast_operator.cluster.api import Cluster, ClusterError
from pricecast_operator.cluster.objects import Child, Ref, Wanted, is_as_wanted, job_patch
from pricecast_operator.render.labels import FINETUNE_JOB, MANAGED_BY, MANAGER, PIPELINE

Key = tuple[str, str, str]
"""Kind, namespace and name of the owner."""

log = logs.get(__name__)


class Children:
    """Objects by their owner.

    Args:
        cluster: Where they are, and where differences are written.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._live: dict[Key, dict[Ref, Child]] = {}
        self._deleted: set[str] = set()
        self._right: dict[Ref, tuple[str, str]] = {}

    def of(self, key: Key) -> dict[Ref, Child]:
        """Returns an owner's objects."""
        return dict(self._live.get(key, {}))

    async def load(self, kinds: Iterable[str], namespaces: Sequence[str]) -> None:
        """Lists the objects of these kinds, and forgets those that are no more.

        Raises:
            ClusterError: If they can't be read.
        """
        for kind in kinds:
            selector = FINETUNE_JOB if kind == "Pod" else f"{MANAGED_BY}={MANAGER}"
            uids, newest = set(), 0
            async for page in self._cluster.pages(kind, namespaces, selector):
                for each in page:
                    uids.add(each["metadata"]["uid"])
                    newest = max(newest, int(each["metadata"]["resourceVersion"]))
                    self.seen(each)
            for key, children in list(self._live.items()):
                for child in list(children.values()):
                    if child.ref.kind == kind and child.uid not in uids and child.version <= newest:
                        self.gone(key, child)

    def seen(self, live: Mapping[str, Any]) -> Key | None:
        """Takes note of an object as a list, a watch or an answer shows it; returns its owner's key."""
        metadata = live["metadata"]
        key = owner_key(metadata["namespace"], metadata.get("labels") or {})
        if key is None or metadata["uid"] in self._deleted:
            return key
        child = Child.of(live)
        children = self._live.setdefault(key, {})
        known = children.get(child.ref)
        if known is None or known.version <= child.version:
            children[child.ref] = child
        return key

    def gone(self, key: Key, child: Child) -> None:
        """Takes note of a deletion."""
        self._deleted.discard(child.uid)
        self._remove(key, child)

    def forget(self, key: Key) -> None:
        """Forgets an owner that is gone, and what its objects were compared with."""
        for ref in self._live.get(key, {}):
            self._right.pop(ref, None)

    async def sync(self, key: Key, uid: str, wanted: Sequence[Wanted]) -> list[str]:
        """Writes what differs and deletes what is not wanted any more; returns what was refused, with the reason.

        Raises:
            ClusterError: If the API server can't be reached, or asks to try again.
        """
        live = self.of(key)
        refused = []
        for each in wanted:
            try:
                await self._ensure(each, live.get(each.ref))
            except ClusterError as error:
                if not error.is_final or error.namespace_ends:
                    raise
                refused.append(str(error))
        names = {each.ref for each in wanted}
        await self._prune(key, [child for ref, child in live.items() if ref not in names and uid in child.owners])
        return refused

    async def _ensure(self, wanted: Wanted, child: Child | None) -> None:
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
        self.seen(live)
        self._right[wanted.ref] = (wanted.digest, Child.of(live).digest)
        log.info("applied", object=str(wanted.ref), changed=child is not None)

    async def _prune(self, key: Key, superfluous: Iterable[Child]) -> None:
        for child in superfluous:
            if child.deleting:
                continue
            await self._cluster.delete(child.ref, child.uid)
            self._deleted.add(child.uid)
            self._remove(key, child)
            log.info("pruned", object=str(child.ref))

    def _remove(self, key: Key, child: Child) -> None:
        children = self._live.get(key, {})
        if child.ref in children and children[child.ref].uid == child.uid:
            del children[child.ref]
            self._right.pop(child.ref, None)
        if not children:
            self._live.pop(key, None)


def owner_key(namespace: str, labels: Any) -> Key | None:
    """Returns whose object this is, by its labels."""
    if PIPELINE in labels:
        return "PricePipeline", namespace, labels[PIPELINE]
    if FINETUNE_JOB in labels:
        return "FinetuneJob", namespace, labels[FINETUNE_JOB]
    return None
