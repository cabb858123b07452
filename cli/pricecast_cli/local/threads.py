"""Blocking work beside the event loop, ended before anybody goes on.

A cancelled `asyncio.to_thread` leaves its thread running, with whatever it uses: a Kafka consumer that is closed while
a thread still consumes hangs for ever. So work that holds such a thing makes, uses and closes it in its one thread,
and is waited for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[threading.Event], T]) -> T:
    """Runs `work` in a thread and returns its result.

    Args:
        work: Is given an event that is set when the caller is cancelled: it has to return soon after. The caller is
            only cancelled once it has.
    """
    ended = threading.Event()
    running = asyncio.create_task(asyncio.to_thread(work, ended))
    try:
        return await asyncio.shield(running)
    finally:
        ended.set()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # of a cancelled caller nobody else asks for it
