"""What the operator made, as it is now, and the work of making it as it should be.

Children come from watches that the server filters by label, after one list of each kind. (kopf's own index would do,
but its barrier costs the square of the number of objects at a start.) Our own writes are known at once, from the
answers: an event that is older than what is known is passed over, so that a reconcile right after another doesn't take
the watch's delay for a difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pricecast_core import logs
from pricecast_operator.cluster.api import Cluster
from pricecast_operator.cluster.errors import ClusterError
from pricecast_operator.cluster.objects import (
    WORKLOADS,
    Child,
    Ref,
    Refusal,
    Wanted,
    is_as_wanted,
    job_patch,
)
from pricecast_operator.render.labels import FINETUNE_JOB, MANAGED_BY, MANAGER, PIPELINE

Key = tuple[str, str, str]
"""Kind, namespace and name of the owner."""

OURS = f"{MANAGED_BY}={MANAGER}"
"""Selects the objects that we make, and their pods."""
_PODS_NEED = ("ConfigMap", "ServiceAccount")
"""Kinds without which, or with someone else's, a pod is not to start."""
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
        """Returns the objects that bear an owner's label, whoever made them."""
        return dict(self._live.get(key, {}))

    def controlled_by(self, key: Key, uid: str) -> dict[Ref, Child]:
        """Returns an owner's own objects."""
        return {ref: child for ref, child in self._live.get(key, {}).items() if child.controller == uid}

    async def load(self, kinds: Iterable[str], namespaces: Sequence[str]) -> None:
        """Lists the objects of these kinds, and forgets those that are no more.

        Raises:
            ClusterError: If they can't be read.
        """
        for kind in kinds:
            uids, newest = set(), 0
            async for page in self._cluster.pages(kind, namespaces, OURS):
                for each in page:
                    uids.add(each["metadata"]["uid"])
                    newest = max(newest, int(each["metadata"]["resourceVersion"]))
                    self.seen(each)
            for key, children in list(self._live.items()):
                for child in list(children.values()):
                    if child.ref.kind == kind and child.uid not in uids and child.version <= newest:
                        self.gone(key, child)

    def seen(self, live: Mapping[str, Any]) -> Key | None:
        """Takes note of an object as a list, a watch or an answer shows it; returns its owner's key if that is news."""
        metadata = live["metadata"]
        key = owner_key(metadata["namespace"], metadata.get("labels") or {})
        if key is None or metadata["uid"] in self._deleted:
            return None
        child = Child.of(live)
        children = self._live.setdefault(key, {})
        known = children.get(child.ref)
        if known is not None and known.version > child.version:
            return None
        children[child.ref] = child
        return None if known is not None and child.says_as_much_as(known) else key

    def gone(self, key: Key, child: Child) -> None:
        """Takes note of a deletion."""
        self._deleted.discard(child.uid)
        self._remove(key, child)

    def forget(self, key: Key) -> None:
        """Forgets an owner that is gone, and what its objects were compared with."""
        for ref in self._live.get(key, {}):
            self._right.pop(ref, None)

    async def sync(self, key: Key, uid: str, wanted: Sequence[Wanted]) -> list[Refusal]:
        """Writes what differs and deletes what is not wanted any more; returns what can't be as it should, and why.

        An object that the owner doesn't control is someone else's, whatever its name and labels: it is neither
        changed nor deleted. Where pods would start with one, their workloads are left as they are.

        Raises:
            ClusterError: If the API server can't be reached, or asks to try again.
        """
        live = self.of(key)
        refused: list[Refusal] = []
        for each in wanted:
            if each.ref.kind in WORKLOADS and any(refusal.ref.kind in _PODS_NEED for refusal in refused):
                continue
            try:
                refusal = await self._ensure(key, each, live.get(each.ref), uid)
            except ClusterError as error:
                if not error.is_final or error.namespace_ends:
                    raise
                refusal = Refusal(each.ref, error.cause, str(error))
            if refusal is not None:
                refused.append(refusal)
        names = {each.ref for each in wanted}
        await self._prune(key, [child for ref, child in live.items() if ref not in names and child.controller == uid])
        return refused

    async def _ensure(self, key: Key, wanted: Wanted, child: Child | None, uid: str) -> Refusal | None:
        if child is None:
            return await self._create(key, wanted, uid)
        if child.controller != uid:
            return _foreign(key, child)
        if child.deleting:
            return None  # its deletion will be seen, and then it is made again
        if self._right.get(wanted.ref) == (wanted.digest, child.digest):
            return None
        if is_as_wanted(wanted, child):
            self._right[wanted.ref] = (wanted.digest, child.digest)
            return None
        await self._change(wanted, child)
        return None

    async def _create(self, key: Key, wanted: Wanted, uid: str) -> Refusal | None:
        try:
            self._made(wanted, await self._cluster.create(wanted.manifest), changed=False)
        except ClusterError as error:
            if not error.is_taken:
                raise
        else:
            return None
        live = await self._cluster.get(wanted.ref)
        if live is None:
            raise ClusterError(f"create {wanted.ref}", 409, "Conflict", "was there and is gone; trying again")
        child = Child.of(live)
        if child.controller != uid:
            return _foreign(key, child)
        if not child.deleting:  # ours, without the labels by which we know it
            await self._change(wanted, child)
        return None

    async def _change(self, wanted: Wanted, child: Child) -> None:
        if wanted.ref.kind == "Job":
            live = await self._cluster.patch(wanted.ref, job_patch(wanted))
        else:
            if child.posted:
                await self._cluster.own_as_applied(wanted.ref)
            live = await self._cluster.apply(wanted.manifest, child.uid)
        self._made(wanted, live, changed=True)

    def _made(self, wanted: Wanted, live: Mapping[str, Any], *, changed: bool) -> None:
        self.seen(live)
        self._right[wanted.ref] = (wanted.digest, Child.of(live).digest)
        log.info("applied", object=str(wanted.ref), changed=changed)

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


def _foreign(key: Key, child: Child) -> Refusal:
    """Returns the refusal of an object that the owner of this key doesn't control."""
    references = json.loads(child.content)["metadata"].get("ownerReferences") or ()
    owner = next((each for each in references if each.get("controller")), None)
    if child.deleting or (owner is not None and (owner["kind"], owner["name"]) == (key[0], key[2])):
        told = f"{child.ref} is left of what was deleted; waits until Kubernetes has deleted it too"
        return Refusal(child.ref, "WaitsForDeletion", told)
    whose = f"belongs to {owner['kind']} {owner['name']}" if owner is not None else "was not made by the operator"
    told = f"{child.ref} exists and {whose}, so it is left alone; rename or delete it, or choose another metadata.name"
    return Refusal(child.ref, "ForeignObject", told)


def owner_key(namespace: str, labels: Any) -> Key | None:
    """Returns whose object this is, by its labels."""
    if PIPELINE in labels:
        return "PricePipeline", namespace, labels[PIPELINE]
    if FINETUNE_JOB in labels:
        return "FinetuneJob", namespace, labels[FINETUNE_JOB]
    return None
