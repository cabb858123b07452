"""How often each caller may ask: a token bucket for each, one second deep."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_CALLERS = 10_000


class Rates:
    """Counts the requests of callers by name. The longest silent ones are forgotten, which only forgives them.

    Args:
        now: The time, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, per_second: float) -> float:
        """Takes one request from a caller's bucket.

        Args:
            name: The caller.
            per_second: Its rate; the bucket holds as many, and one at least.

        Returns:
            0 if the request may pass, else the seconds until the next one may.
        """
        now = self._now()
        depth = max(1.0, per_second)
        held, since = self._buckets.pop(name, (depth, now))
        held = min(depth, held + (now - since) * per_second)
        wait = 0.0 if held >= 1 else (1 - held) / per_second
        self._buckets[name] = (held - 1 if not wait else held, now)
        if len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)
        return wait
