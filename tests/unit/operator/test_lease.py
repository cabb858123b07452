"""One operator leads; the others wait, and take over when it ends or dies."""

from __future__ import annotations

import copy
import itertools
import threading
import time
from typing import Any

import pytest

from pricecast_operator.cluster.errors import ClusterError
from pricecast_operator.cluster.lease import Lease, LeaseTakenError
from pricecast_operator.cluster.objects import Ref


class Server:
    """Keeps Leases as the API server does: a write of an older version is a conflict."""

    def __init__(self) -> None:
        self.leases: dict[Ref, dict[str, Any]] = {}
        self.versions = itertools.count(1)
        self.lock = threading.Lock()
        self.away = False

    def find(self, ref: Ref) -> dict[str, Any] | None:
        if self.away:
            raise ClusterError("read", 0, "Unreachable", "away")
        return copy.deepcopy(self.leases.get(ref))

    def find_all(self, kind: str, labels: str) -> list[dict[str, Any]]:
        return copy.deepcopy(list(self.leases.values()))

    def put(self, manifest: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            ref = Ref.of(manifest)
            live = (self.leases.get(ref) or {"metadata": {}})["metadata"].get("resourceVersion")
            if live != manifest["metadata"].get("resourceVersion"):
                raise ClusterError("replace", 409, "Conflict", "another version")
            kept = copy.deepcopy(manifest)
            kept["metadata"]["resourceVersion"] = str(next(self.versions))
            self.leases[ref] = kept
            return kept


@pytest.fixture
def server() -> Server:
    return Server()


def lease(server: Server, holder: str, **more: Any) -> Lease:
    return Lease(server, more.pop("namespace", "system"), holder=holder, **{"seconds": 1.0, **more})


def test_the_first_leads_and_the_second_is_told_who(server: Server) -> None:
    first, second = lease(server, "a"), lease(server, "b")
    assert first.attempt() == "a"
    assert second.attempt() == "a"
    assert first.attempt() == "a"


def test_an_end_hands_over_at_once(server: Server) -> None:
    first, second = lease(server, "a", seconds=60), lease(server, "b", seconds=60)
    first.acquire(lambda _: None)
    first.release()
    assert second.attempt() == "b"
    assert first.attempt() == "b"


def test_a_death_hands_over_once_the_lease_has_run_out(server: Server) -> None:
    lease(server, "dead").acquire(lambda _: None)
    waits: list[str] = []
    started = time.monotonic()
    lease(server, "next").acquire(waits.append)
    assert waits == ["dead"]
    assert time.monotonic() - started > 0.9


def test_a_lease_that_is_renewed_is_not_taken_and_one_that_cannot_be_is_lost(server: Server) -> None:
    first, second = lease(server, "a", seconds=3), lease(server, "b", seconds=3)
    first.acquire(lambda _: None)
    lost = threading.Event()
    first.hold(lambda _: lost.set())
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        assert second.attempt() == "a"
        time.sleep(0.05)
    server.away = True
    assert lost.wait(60)


def test_of_many_one_leads(server: Server) -> None:
    holders = [lease(server, str(number)) for number in range(8)]
    answers: list[str] = []
    threads = [threading.Thread(target=lambda one=one: answers.append(one.attempt())) for one in holders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    leads = [one for one in holders if one.attempt() == one.holder]
    assert len(leads) == 1


@pytest.mark.parametrize(
    ("ours", "theirs", "refused"),
    [((), (), True), (("a",), (), True), ((), ("b",), True), (("a", "b"), ("b",), True), (("a",), ("b",), False)],
)
def test_an_operator_of_another_namespace_that_serves_the_same_is_named(
    server: Server, ours: tuple[str, ...], theirs: tuple[str, ...], refused: bool
) -> None:
    lease(server, "rival", namespace="elsewhere", serves=theirs, seconds=30).acquire(lambda _: None)
    mine = lease(server, "mine", serves=ours)
    if refused:
        with pytest.raises(LeaseTakenError, match=r"rival of namespace elsewhere"):
            mine.acquire(lambda _: None)
    else:
        mine.acquire(lambda _: None)
