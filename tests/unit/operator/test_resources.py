"""A reconcile, round after round: it writes what differs, once, and nothing at rest."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, cast

import pytest

from pricecast_operator.cluster.api import Cluster
from pricecast_operator.cluster.errors import ClusterError
from pricecast_operator.cluster.objects import Child, Ref
from pricecast_operator.controllers.children import Children
from pricecast_operator.controllers.finetunejobs import FinetuneJobs
from pricecast_operator.controllers.resources import ReconcileError, Surroundings
from pricecast_operator.render.pods import RenderOptions
from tests.contracts.manifests import FINETUNE

NAME = ("news", "llama")


class Server:
    """Keeps objects as the API server does: each write is a new version, and the answer is the object."""

    def __init__(self) -> None:
        self.versions = itertools.count(1)
        self.writes: list[str] = []
        self.refuses: Exception | None = None
        self.objects: dict[Ref, dict[str, Any]] = {}

    def put(self, manifest: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        ref = Ref.of(manifest)
        known = self.objects.get(ref, {"metadata": {"uid": f"uid-{ref}"}})
        metadata = {
            **manifest["metadata"],
            "uid": known["metadata"]["uid"],
            "resourceVersion": str(next(self.versions)),
        }
        self.objects[ref] = {**known, **manifest, **more, "metadata": {**known["metadata"], **metadata}}
        return self.objects[ref]

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        if self.refuses is not None:
            raise self.refuses
        if Ref.of(manifest) in self.objects:
            raise ClusterError(f"create {Ref.of(manifest)}", 409, "AlreadyExists", "already exists")
        self.writes.append(str(Ref.of(manifest)))
        return self.put(manifest)

    async def apply(self, manifest: dict[str, Any], uid: str) -> dict[str, Any]:
        if self.objects[Ref.of(manifest)]["metadata"]["uid"] != uid:
            raise ClusterError("apply", 409, "Conflict", "another uid")
        self.writes.append(str(Ref.of(manifest)))
        return self.put(manifest)

    async def delete(self, ref: Ref, uid: str) -> None:
        assert self.objects.pop(ref)["metadata"]["uid"] == uid
        self.writes.append(f"deletion of {ref}")

    async def get(self, ref: Ref) -> dict[str, Any] | None:
        return self.objects.get(ref)

    async def apply_status(self, ref: Ref, status: dict[str, Any]) -> dict[str, Any]:
        self.writes.append(f"status of {ref}")
        return self.put(self.objects[ref], status=status)


class Told(list[tuple[str, str]]):
    """What people were told: type and status of conditions that turned."""

    def __call__(self, body: Mapping[str, Any], condition: Mapping[str, Any]) -> None:
        self.append((condition["type"], condition["reason"]))


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def jobs(server: Server, told: Told) -> FinetuneJobs:
    cluster = cast("Cluster", server)
    children = Children(cluster)
    surroundings = Surroundings(cluster, children, told, lambda *_: None)
    return FinetuneJobs(surroundings, options=RenderOptions(), finished=lambda *_: None)


def resource(server: Server, generation: int = 1, **spec: Any) -> dict[str, Any]:
    metadata = {"namespace": NAME[0], "name": NAME[1], "generation": generation}
    return server.put({**FINETUNE, "metadata": metadata, "spec": {**FINETUNE["spec"], **spec}})


async def test_everything_is_written_once_and_then_nothing(jobs: FinetuneJobs, server: Server) -> None:
    jobs.seen(resource(server))
    await jobs.reconcile(NAME)
    assert [each.split()[0] for each in server.writes] == [
        "ServiceAccount",
        "ConfigMap",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "Job",
        "status",
    ]
    server.writes.clear()
    for _ in range(3):
        await jobs.reconcile(NAME)
    assert server.writes == []


async def test_a_spec_that_cant_be_acted_on_is_told_once_and_can_be_mended(
    jobs: FinetuneJobs, server: Server, told: Told
) -> None:
    jobs.seen(resource(server, dataset={}))
    for _ in range(3):
        await jobs.reconcile(NAME)
    assert server.writes == ["status of FinetuneJob news/llama"]
    assert told == [("Failed", "InvalidSpec")]
    (condition,) = server.objects[Ref("FinetuneJob", *NAME)]["status"]["conditions"]
    assert condition["message"].startswith("spec.dataset: ")
    jobs.seen(resource(server, generation=2))
    await jobs.reconcile(NAME)
    assert "Job news/llama" in server.writes
    assert server.objects[Ref("FinetuneJob", *NAME)]["status"]["state"] == "Pending"


async def test_a_name_from_before_the_crd_had_its_rule_is_told_by_the_rule(jobs: FinetuneJobs, server: Server) -> None:
    manifest = {**FINETUNE, "metadata": {"name": "news.v2", "namespace": NAME[0], "generation": 1}}
    jobs.seen(server.put(manifest))
    await jobs.reconcile((NAME[0], "news.v2"))
    [status] = [written["status"] for written in server.objects.values() if "status" in written]
    assert "metadata.name: 'news.v2': write at most 52" in str(status["conditions"])


async def test_an_older_sight_than_our_own_write_is_passed_over(jobs: FinetuneJobs, server: Server) -> None:
    before = resource(server)
    jobs.seen(before)
    await jobs.reconcile(NAME)
    server.writes.clear()
    jobs.seen(before)  # the watch comes late: without a status
    await jobs.reconcile(NAME)
    assert server.writes == []


async def test_what_a_namespaces_end_refuses_is_no_failure(jobs: FinetuneJobs, server: Server) -> None:
    jobs.seen(resource(server))
    server.refuses = ClusterError("apply", 403, "Forbidden", "is being terminated", namespace_ends=True)
    await jobs.reconcile(NAME)
    assert server.writes == []


async def test_what_is_refused_for_good_is_told_and_what_is_not_is_tried_again(
    jobs: FinetuneJobs, server: Server
) -> None:
    jobs.seen(resource(server))
    server.refuses = ClusterError("create", 422, "Invalid", "no")
    await jobs.reconcile(NAME)
    assert server.objects[Ref("FinetuneJob", *NAME)]["status"]["conditions"][1]["reason"] == "Refused"
    server.refuses = ClusterError("create", 500, "InternalError", "later")
    with pytest.raises(ClusterError):
        await jobs.reconcile(NAME)


async def test_whatever_is_raised_ends_in_the_resources_own_condition_and_quotes_no_secret(
    jobs: FinetuneJobs, server: Server
) -> None:
    jobs.seen(resource(server))
    server.refuses = ValueError("invalid literal for int() with base 10: 'hunter2'")
    with pytest.raises(ReconcileError) as failed:
        await jobs.reconcile(NAME)
    (condition,) = server.objects[Ref("FinetuneJob", *NAME)]["status"]["conditions"]
    assert condition["reason"] == "ReconcileFailed"
    assert "ValueError" in condition["message"]
    assert "hunter2" not in condition["message"] + str(failed.value)
    server.refuses = None  # it passes, and is no end
    await jobs.reconcile(NAME)
    assert server.objects[Ref("FinetuneJob", *NAME)]["status"]["state"] == "Pending"


async def test_one_that_is_on_its_way_out_is_left_alone(jobs: FinetuneJobs, server: Server) -> None:
    body = resource(server)
    body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    jobs.seen(body)
    await jobs.reconcile(NAME)
    assert server.writes == []


@pytest.mark.parametrize("kind", ["ConfigMap", "ServiceAccount", "NetworkPolicy", "PersistentVolumeClaim", "Job"])
@pytest.mark.parametrize("labelled", [True, False])
async def test_what_someone_else_made_is_left_alone_and_named(
    jobs: FinetuneJobs, server: Server, kind: str, labelled: bool
) -> None:
    jobs.seen(resource(server))
    await jobs.reconcile(NAME)
    (ref,) = [ref for ref in server.objects if ref.kind == kind]
    cluster = cast("Cluster", server)
    surroundings = Surroundings(cluster, Children(cluster), Told(), lambda *_: None)
    theirs = FinetuneJobs(surroundings, options=RenderOptions(), finished=lambda *_: None)
    for each in list(server.objects):
        if each.kind != "FinetuneJob":
            del server.objects[each]
    labels = {"pricecast.dev/finetune-job": NAME[1]} if labelled else {}
    before = server.put(
        {"kind": kind, "metadata": {"namespace": NAME[0], "name": ref.name, "labels": labels}, "spec": {}}
    )
    if labelled:
        theirs._children.seen(before)
    theirs.seen(server.objects[Ref("FinetuneJob", *NAME)])
    server.writes.clear()
    for _ in range(3):
        await theirs.reconcile(NAME)
    assert str(ref) not in server.writes
    assert server.objects[ref] is before
    conditions = server.objects[Ref("FinetuneJob", *NAME)]["status"]["conditions"]
    running = next(each for each in conditions if each["type"] == "Running")
    assert running["reason"] == "ForeignObject"
    assert str(ref) in running["message"]
    assert "Job news/llama" not in server.writes or kind not in ("ConfigMap", "ServiceAccount")


async def test_an_object_of_ours_without_its_labels_gets_them_back(jobs: FinetuneJobs, server: Server) -> None:
    jobs.seen(resource(server))
    await jobs.reconcile(NAME)
    (ref,) = [ref for ref in server.objects if ref.kind == "ServiceAccount"]
    labels = server.objects[ref]["metadata"].pop("labels")
    child = Child.of(server.objects[ref])
    jobs._children.gone(("FinetuneJob", *NAME), child)  # as the watch, which selects by label, sees it
    await jobs.reconcile(NAME)
    assert server.objects[ref]["metadata"]["labels"] == labels


async def test_one_that_is_paused_is_left_as_it_is(jobs: FinetuneJobs, server: Server) -> None:
    body = resource(server)
    body["metadata"]["annotations"] = {"pricecast.dev/paused": "true"}
    jobs.seen(body)
    await jobs.reconcile(NAME)
    assert server.writes == ["status of FinetuneJob news/llama"]
