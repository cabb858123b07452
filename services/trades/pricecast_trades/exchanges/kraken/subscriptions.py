"""Which pairs a connection to Kraken has subscribed to, and when to ask again for those that it refused for now."""

from __future__ import annotations

import random
from collections.abc import Iterable

from pricecast_core import logs
from pricecast_trades.errors import PassingError
from pricecast_trades.exchanges.kraken.faults import Faults

_ANSWER_SECONDS = 15.0
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_SETTLED_SECONDS = 5.0
log = logs.get(__name__)


class Subscriptions:
    """The subscriptions of one connection.

    Args:
        pairs: The pairs wanted.
        faults: Judges refusals.
    """

    def __init__(self, pairs: Iterable[str], faults: Faults) -> None:
        self._faults = faults
        self._due = dict.fromkeys(pairs, 0.0)
        self._pauses: dict[str, float] = {}
        self._errors: dict[str, str] = {}
        self._since: dict[str, float] = {}
        self._whole: set[str] = set()

    def to_ask(self, now: float) -> list[str]:
        """Returns the pairs to subscribe to now; they are asked for again if no answer comes."""
        pairs = [pair for pair, due in self._due.items() if due <= now]
        for pair in pairs:
            self._due[pair] = now + _ANSWER_SECONDS
        return pairs

    def accepted(self, pair: str, now: float) -> bool:
        """Notes that Kraken has accepted a subscription; returns whether it was waited for."""
        waited = self._due.pop(pair, None) is not None
        if waited:
            self._faults.knows(pair)
            self._errors.pop(pair, None)
            self._since[pair] = now
        return waited

    def refused(self, pair: str, error: str, now: float) -> None:
        """Notes that Kraken has refused a pair that is waited for; `""` stands for all of them.

        Raises:
            SettingsError: If asking again is of no use.
        """
        for name in [pair] if pair else list(self._due):
            fault = self._faults.judge(name, [error])
            if fault is None or name not in self._due:
                continue
            if not isinstance(fault, PassingError):
                raise fault
            if name not in self._errors:
                log.warning("subscription refused, trying again", pair=name, error=error)
            self._errors[name] = str(fault)
            pause = self._pauses.get(name, _FIRST_PAUSE_SECONDS)
            self._pauses[name] = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            self._due[name] = now + pause * random.uniform(0.5, 1.0)  # noqa: S311 - only spreads load

    def ended(self, pair: str) -> None:
        """Notes that Kraken has ended a subscription: it is asked for again."""
        if self._since.pop(pair, None) is not None:
            self._whole.discard(pair)
            self._due[pair] = 0.0

    def began(self, pair: str) -> None:
        """Notes that what a subscription begins with has come in."""
        self._whole.add(pair)

    def whole(self, now: float) -> frozenset[str]:
        """Returns the pairs of which all has come in that Kraken has sent.

        A pair without trades begins with nothing: then a few seconds have to do.
        """
        return frozenset(
            pair for pair, since in self._since.items() if pair in self._whole or now - since > _SETTLED_SECONDS
        )

    def problem(self) -> str | None:
        """Returns what is waited for, and why, or None."""
        if not self._due:
            return None
        error = next(iter(self._errors.values()), "")
        return f"not subscribed to {', '.join(self._due)} yet" + (f": {error}" if error else "")
