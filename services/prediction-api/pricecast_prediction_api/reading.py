"""Reads of stores, off the event loop and in a few threads: what goes wrong is told alike."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pricecast_core import logs
from pricecast_core.errors import StoreError
from pricecast_core.metrics import STORE_ERRORS, STORE_SECONDS
from pricecast_prediction_api.problems import unavailable

_THREADS = 4
_SERVICE = "prediction-api"
T = TypeVar("T")

log = logs.get(__name__)


class Reading:
    """Runs reads of stores."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(_THREADS, "reading")

    async def run(self, what: str, read: Callable[[], T]) -> T:
        """Returns what a blocking read returns.

        Raises:
            ApiError: If the store can't be read.
        """
        started = time.monotonic()
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._executor, read)
        except StoreError as error:
            STORE_ERRORS.labels(_SERVICE, what).inc()
            log.warning(f"{what} can't be read", error=str(error))
            raise unavailable(f"{what} can't be read from the store; try again", "STORE_UNAVAILABLE") from error
        STORE_SECONDS.labels(_SERVICE, what).observe(time.monotonic() - started)
        return found

    def close(self) -> None:
        """Drops the reads that haven't begun."""
        self._executor.shutdown(wait=False, cancel_futures=True)
