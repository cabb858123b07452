"""What is known of objects, whatever the order in which lists, watches and answers tell it."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar, cast

import pytest

from pricecast_operator.cluster.api import Cluster
from pricecast_operator.cluster.objects import Child, Ref, Wanted
from pricecast_operator.controllers.children import Children, owner_key

KEY = ("PricePipeline", "prices", "btc")


def live(version: int, uid: str = "1", **spec: Any) -> dict[str, Any]:
    labels = {"pricecast.dev/pipeline": "btc"}
    metadata = {
        "name": "btc-candles",
        "namespace": "prices",
        "uid": uid,
        "resourceVersion": str(version),
        "labels": labels,
    }
    return {"kind": "Deployment", "metadata": metadata, "spec": spec}


@pytest.fixture
def children() -> Children:
    return Children(cast("Cluster", None))  # nothing is written in these tests


def test_an_older_event_than_our_own_write_is_passed_over(children: Children) -> None:
    children.seen(live(10, replicas=2))
    children.seen(live(9, replicas=1))
    assert children.of(KEY)[Ref("Deployment", "prices", "btc-candles")].version == 10
    children.seen(live(11, replicas=3))
    assert children.of(KEY)[Ref("Deployment", "prices", "btc-candles")].version == 11


def test_a_deletion_is_of_one_object_not_of_its_name(children: Children) -> None:
    children.seen(live(10, uid="1"))
    children.seen(live(12, uid="2"))
    children.gone(KEY, Child.of(live(11, uid="1")))
    assert [child.uid for child in children.of(KEY).values()] == ["2"]
    children.gone(KEY, Child.of(live(13, uid="2")))
    assert children.of(KEY) == {}


async def test_a_list_forgets_what_is_no_more_and_keeps_what_is_newer() -> None:
    class Lists:
        """Answers with lists as the API server does."""

        async def pages(self, kind: str, namespaces: Any, labels: str) -> AsyncIterator[list[dict[str, Any]]]:
            other = live(12, uid="2")
            other["metadata"]["name"] = "btc-trades"
            yield [other]

    listing = Children(cast("Cluster", Lists()))
    listing.seen(live(10, uid="1"))  # deleted, unseen by the watch
    await listing.load(["Deployment"], [])
    assert [child.uid for child in listing.of(KEY).values()] == ["2"]
    listing.seen(live(13, uid="3"))  # made after the list
    await listing.load(["Deployment"], [])
    assert sorted(child.uid for child in listing.of(KEY).values()) == ["2", "3"]


def test_objects_of_others_have_no_owner_here() -> None:
    assert owner_key("prices", {"app": "x"}) is None
    assert owner_key("prices", {"pricecast.dev/finetune-job": "news"}) == ("FinetuneJob", "prices", "news")


class Spells:
    """Answers with quantities in its own spelling, as the API server does, and counts what is written."""

    canonical: ClassVar = {"1000m": "1", "2048Mi": "2Gi", "0.5": "500m", "1024Mi": "1Gi"}

    def __init__(self) -> None:
        self.writes = 0
        self.stored: dict[str, Any] = {}

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.writes += 1
        text = json.dumps(manifest)
        for written, spelt in self.canonical.items():
            text = text.replace(f'"{written}"', f'"{spelt}"')
        self.stored = json.loads(text)
        self.stored["metadata"] |= {"uid": "1", "generation": 1, "resourceVersion": str(self.writes)}
        return copy.deepcopy(self.stored)

    async def apply(self, manifest: dict[str, Any], _uid: str) -> dict[str, Any]:
        return await self.create(manifest)

    async def own_as_applied(self, _ref: Ref) -> None:
        """Nothing to hand over."""


async def test_a_quantity_that_the_api_server_spells_in_its_own_way_is_not_written_again() -> None:
    quantities = {"limits": {"cpu": "1000m", "memory": "2048Mi"}, "requests": {"cpu": "0.5", "memory": "1024Mi"}}
    manifest = live(0, template={"spec": {"containers": [{"name": "c", "resources": quantities}]}})
    owner = {"uid": "owner", "kind": "PricePipeline", "name": "btc", "apiVersion": "x", "controller": True}
    manifest["metadata"] |= {"ownerReferences": [owner]}
    wanted = Wanted.of({"apiVersion": "apps/v1", **manifest})
    server = Spells()
    running = Children(cast("Cluster", server))
    for change in range(20):
        assert await running.sync(KEY, "owner", [wanted]) == []
        shown = copy.deepcopy(server.stored) | {"status": {"readyReplicas": change % 2}}
        shown["metadata"]["resourceVersion"] = str(100 + change)
        running.seen(shown)
    assert server.writes == 1
    restarted = Children(cast("Cluster", server))
    restarted.seen(shown)
    for _ in range(5):
        await restarted.sync(KEY, "owner", [wanted])
    assert server.writes <= 2
