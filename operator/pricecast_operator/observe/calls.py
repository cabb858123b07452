"""Blocking calls to servers outside, bounded in time, so that one that hangs delays nobody but those who use it.

A thread that waits for a server can't be told to stop. So each call gets a thread of its own; who asked stops waiting
when the time is up, and until the thread has come back the same server is not asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Hashable
from typing import TypeVar

T = TypeVar("T")
_AT_ONCE = 16


class Calls:
    """Calls that are out, one at a time for each key.

    Args:
        at_once: How many are waited for at a time.
    """

    def __init__(self, at_once: int = _AT_ONCE) -> None:
        self._out: set[Hashable] = set()
        self._free = asyncio.Semaphore(at_once)

    async def run(self, key: Hashable, call: Callable[[], T], seconds: float) -> T:
        """Returns the answer of a call, or raises what it raised.

        Raises:
            TimeoutError: If it takes longer, or an earlier one of this key still does.
        """
        if key in self._out:
            raise TimeoutError
        self._out.add(key)
        async with self._free:
            loop = asyncio.get_running_loop()
            answered: asyncio.Future[Callable[[], T]] = loop.create_future()

            def come_back(answer: Callable[[], T]) -> None:
                self._out.discard(key)
                if not answered.done():
                    answered.set_result(answer)

            def work() -> None:
                answer = _outcome(call)
                with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                    loop.call_soon_threadsafe(come_back, answer)

            threading.Thread(target=work, name="outside", daemon=True).start()
            async with asyncio.timeout(seconds):
                answer = await answered
        return answer()


def _outcome(call: Callable[[], T]) -> Callable[[], T]:
    """Runs a call; returns what returns its answer or raises its error."""
    try:
        value = call()
    except Exception as error:
        failed = error

        def fail() -> T:
            raise failed

        return fail
    return lambda: value
