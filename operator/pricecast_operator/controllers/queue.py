"""What is to be reconciled, each resource once however many events name it.

A key that is added while it is being handled is handled once more afterwards. One that fails comes back later and
later, a bounded number of times; the next event or the periodic resync gives it another chance.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from pricecast_core import logs
from pricecast_operator import metrics
from pricecast_operator.observe.observed import describe

K = TypeVar("K", bound=Hashable)

RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0)
log = logs.get(__name__)


class WorkQueue(Generic[K]):
    """Keys and the workers that handle them.

    Args:
        handle: Handles a key; whatever it raises makes the key come back.
        workers: How many keys are handled at a time.
    """

    def __init__(self, handle: Callable[[K], Awaitable[None]], workers: int = 8) -> None:
        self._handle = handle
        self._workers = workers
        self._due: list[tuple[float, int, K]] = []
        self._when: dict[K, float] = {}
        self._busy: set[K] = set()
        self._failures: dict[K, int] = {}
        self._order = itertools.count()
        self._changed = asyncio.Event()

    def add(self, key: K, delay: float = 0.0) -> None:
        """Asks for a key to be handled after so many seconds, or earlier if that was asked for already."""
        when = time.monotonic() + delay
        if self._when.get(key, float("inf")) <= when:
            return
        self._when[key] = when
        heapq.heappush(self._due, (when, next(self._order), key))
        metrics.QUEUE.set(len(self._when))
        self._changed.set()

    def idle(self) -> bool:
        """Returns whether nothing is handled and nothing is due."""
        now = time.monotonic()
        return not self._busy and all(when > now for when in self._when.values())

    async def run(self) -> None:
        """Handles keys until cancelled."""
        free = asyncio.Semaphore(self._workers)
        async with asyncio.TaskGroup() as tasks:
            while True:
                await free.acquire()
                key = await self._next()
                self._busy.add(key)
                tasks.create_task(self._work(key, free))

    async def _next(self) -> K:
        while True:
            self._changed.clear()
            now = time.monotonic()
            waiting = []
            found = None
            while self._due and self._due[0][0] <= now:
                entry = heapq.heappop(self._due)
                when, _, key = entry
                if self._when.get(key) != when:
                    continue  # asked for again, earlier
                if key in self._busy:
                    waiting.append(entry)
                    continue
                del self._when[key]
                found = key
                break
            for entry in waiting:
                heapq.heappush(self._due, entry)
            if found is not None:
                metrics.QUEUE.set(len(self._when))
                return found
            upcoming = next((when for when, _, key in sorted(self._due)[:64] if key not in self._busy), None)
            timeout = None if upcoming is None else max(0.0, upcoming - now)
            try:
                await asyncio.wait_for(self._changed.wait(), timeout)
            except TimeoutError:
                continue

    async def _work(self, key: K, free: asyncio.Semaphore) -> None:
        try:
            await self._handle(key)
            self._failures.pop(key, None)
        except Exception as error:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            if failures <= len(RETRY_SECONDS):
                self.add(key, RETRY_SECONDS[failures - 1])
            log.warning(
                "could not reconcile",
                key=str(key),
                attempt=failures,
                error=describe(error),
            )
        finally:
            self._busy.discard(key)
            free.release()
            self._changed.set()
