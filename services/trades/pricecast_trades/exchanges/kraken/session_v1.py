"""What is said over Kraken's WebSocket v1: trades without ids, and no word on what came before a subscription."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from pricecast_core import logs
from pricecast_core.errors import BadMessageError
from pricecast_core.values import kraken_v1_name
from pricecast_trades.exchanges.kraken import wire
from pricecast_trades.exchanges.kraken.faults import Faults
from pricecast_trades.exchanges.kraken.subscriptions import Subscriptions
from pricecast_trades.feed import Beat, Event, Joined, Update
from pricecast_trades.source import Refused

log = logs.get(__name__)


class SessionV1:
    """What is said over one connection.

    Args:
        url: Where it leads, for what is refused.
        names: The pairs.
        faults: Judges refusals.
    """

    def __init__(self, url: str, names: Sequence[str], faults: Faults) -> None:
        self._url = url
        self._names = {kraken_v1_name(name): name for name in names}
        self._spelt = {name: spelt for spelt, name in self._names.items()}
        self._subscriptions = Subscriptions(names, faults)

    def send(self, now: float) -> Iterable[str]:
        """Subscribes to the pairs that are waited for."""
        asked = self._subscriptions.to_ask(now)
        if asked:
            spelt = [self._spelt[pair] for pair in asked]
            yield json.dumps({"event": "subscribe", "pair": spelt, "subscription": {"name": "trade"}})

    def receive(self, data: bytes, now: float, now_ms: int) -> Iterable[Event]:
        """Returns what a message says."""
        try:
            message = json.loads(data)
        except (ValueError, RecursionError) as error:
            return self._refuse(data, f"not a message of v1: {error}")
        if isinstance(message, list):
            return self._trades(message, data, now_ms)
        if not isinstance(message, dict):
            return self._refuse(data, "not a message of v1: neither an object nor a list")
        kind = message.get("event")
        if kind == "systemStatus":
            log.info("exchange status", status=message.get("status"))
        elif kind == "subscriptionStatus":
            return self._status(message, now)
        elif kind == "error":
            reason = _text(message, "errorMessage")
            log.warning("Kraken refuses a request", error=reason)
            self._subscriptions.refused("", reason, now)
        return []

    def beat(self, now: float, now_ms: int) -> Beat:
        """Returns the pairs that are subscribed to."""
        return Beat(now_ms, pairs=self._subscriptions.whole(now))

    def problem(self) -> str | None:
        """Returns which subscriptions are waited for, and why."""
        return self._subscriptions.problem()

    def _trades(self, message: list[Any], data: bytes, now_ms: int) -> list[Event]:
        if len(message) != 4 or not isinstance(message[1], list) or not isinstance(message[3], str):
            return self._refuse(data, "not a message of v1: a list, but not of four with trades in it")
        name = self._names.get(message[3])
        if message[2] != "trade" or name is None:
            return self._refuse(data, f"trades of {message[3]!r} were not asked for")
        try:
            items = wire.v1_trades(name, message[1], self._url)
        except RecursionError as error:
            return self._refuse(data, f"not a message of v1: {error}")
        return [Update(name, items, now_ms)] if items else []

    def _status(self, message: dict[str, Any], now: float) -> list[Event]:
        spelt = _text(message, "pair")
        name = self._names.get(spelt, "")
        status = message.get("status")
        if status == "error" and (name or not spelt):
            self._subscriptions.refused(name, _text(message, "errorMessage") or "no reason", now)
        elif status == "error":
            log.warning("Kraken refuses a pair that was not asked for", pair=spelt)
        elif status == "unsubscribed":
            self._subscriptions.ended(name)
        elif status == "subscribed" and name and self._subscriptions.accepted(name, now):
            self._subscriptions.began(name)  # all that it begins with is what REST knows by now
            return [Joined(name)]
        return []

    def _refuse(self, data: bytes, error: str) -> list[Event]:
        return [Update("", [Refused(BadMessageError(error), self._url, -1, data)])]


def _text(message: dict[str, Any], name: str) -> str:
    value = message.get(name)
    return value if isinstance(value, str) else "" if value is None else str(value)
