"""Signals that end what an event loop runs, in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import FrameType


def on_signals(handler: Callable[[int], None], *numbers: signal.Signals) -> None:
    """Has the running loop call `handler` for these signals, for as long as the process lives.

    Once the loop has ended they change nothing: asyncio's own way would go back to Python's handlers then, and one
    that comes at the very end would break it off, with a traceback and an exit code of failure.
    """
    loop = asyncio.get_running_loop()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(handler, number)

    for number in numbers:
        signal.signal(number, on_signal)
