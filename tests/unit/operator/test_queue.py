"""Each resource is reconciled once however many events name it, never twice at a time, and again after a failure."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from pricecast_core.errors import StoreError
from pricecast_operator.controllers import queue as queues
from pricecast_operator.controllers.queue import WorkQueue


async def run(
    handle: Callable[[str], Awaitable[None]], feed: Callable[[WorkQueue[str]], None], until: Callable[[], bool]
) -> None:
    queue: WorkQueue[str] = WorkQueue(handle, workers=4)
    task = asyncio.create_task(queue.run())
    feed(queue)
    try:
        async with asyncio.timeout(60):
            while not (until() and queue.idle()):  # noqa: ASYNC110 - looked at from outside
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_many_events_are_one_reconcile() -> None:
    handled: Counter[str] = Counter()

    async def handle(key: str) -> None:
        handled[key] += 1

    def feed(queue: WorkQueue[str]) -> None:
        for _ in range(100):
            queue.add("a", 0.05)
            queue.add("b")

    await run(handle, feed, lambda: handled.keys() == {"a", "b"})
    assert handled == {"a": 1, "b": 1}


async def test_a_key_is_never_handled_twice_at_a_time_and_what_came_meanwhile_is_not_lost() -> None:
    busy: set[str] = set()
    handled: list[str] = []
    queue_of: list[WorkQueue[str]] = []

    async def handle(key: str) -> None:
        assert key not in busy
        busy.add(key)
        if len(handled) == 0:
            queue_of[0].add(key)  # an event that comes while it is handled
        await asyncio.sleep(0.05)
        busy.discard(key)
        handled.append(key)

    def feed(queue: WorkQueue[str]) -> None:
        queue_of.append(queue)
        queue.add("a")

    await run(handle, feed, lambda: len(handled) == 2)
    assert handled == ["a", "a"]


async def test_an_earlier_time_wins() -> None:
    handled: list[str] = []

    async def handle(key: str) -> None:
        handled.append(key)

    def feed(queue: WorkQueue[str]) -> None:
        queue.add("a", 60)
        queue.add("a", 0)
        queue.add("a", 60)

    await run(handle, feed, lambda: handled == ["a"])


async def test_a_failure_is_tried_again_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "RETRY_SECONDS", (0.01, 0.01, 0.01))
    attempts = 0

    async def handle(_: str) -> None:
        nonlocal attempts
        attempts += 1
        raise StoreError("away")

    await run(handle, lambda queue: queue.add("a"), lambda: attempts == 4)
    assert attempts == 4


async def test_one_slow_key_does_not_hold_up_the_others() -> None:
    handled: list[str] = []
    release = asyncio.Event()

    async def handle(key: str) -> None:
        if key == "slow":
            await release.wait()
        handled.append(key)
        if len(handled) == 10:
            release.set()

    def feed(queue: WorkQueue[str]) -> None:
        for key in ("slow", *map(str, range(10))):
            queue.add(key)

    await run(handle, feed, lambda: len(handled) == 11)
    assert handled[-1] == "slow"
