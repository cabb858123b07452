"""What is said over Coinbase's WebSocket: matches, and a heartbeat a second that names the newest match's number."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import msgspec

from pricecast_core.errors import BadMessageError, SettingsError
from pricecast_trades import times
from pricecast_trades.errors import PassingError
from pricecast_trades.exchanges.coinbase import wire
from pricecast_trades.feed import Beat, Event, Update
from pricecast_trades.known_pairs import KnownPairs
from pricecast_trades.source import Refused


class CoinbaseSession:
    """What is said over one connection.

    Args:
        url: Where it leads, for what is refused.
        names: The pairs.
        known: Those that have answered before; grows.
    """

    def __init__(self, url: str, names: Sequence[str], known: KnownPairs) -> None:
        self._url = url
        self._pairs = {wire.product(name): name for name in names}
        self._known = known
        self._waiting = set(self._pairs)
        self._asked = False

    def send(self, now: float) -> Iterable[str]:
        """Subscribes, once."""
        if not self._asked:
            self._asked = True
            yield json.dumps(
                {"type": "subscribe", "product_ids": list(self._pairs), "channels": ["matches", "heartbeat"]}
            )

    def receive(self, data: bytes, now: float, now_ms: int) -> Iterable[Event]:
        """Returns what a message says."""
        try:
            message = wire.message.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return self._refuse(data, f"not a message of Coinbase: {error}")
        if message.type == "error":
            raise self._fault(f"{message.message}: {message.reason}"[:500])
        if message.type == "subscriptions":
            told = {name for each in message.channels if each.name == "matches" for name in each.product_ids}
            self._waiting -= told
            for name in told & set(self._pairs):
                self._known.add(self._pairs[name])
            return []
        if message.type not in ("match", "last_match", "heartbeat"):
            return []
        pair = self._pairs.get(message.product_id)
        if pair is None:
            return self._refuse(data, f"product_id: {message.product_id!r} was not subscribed to")
        if message.type == "heartbeat":
            last = {} if message.last_trade_id is None else {pair: message.last_trade_id}
            return [Beat(now_ms, times.exact_ms(message.time), frozenset([pair]), last)]
        received_ms = now_ms if message.type == "match" else None
        return [Update(pair, [wire.trade(pair, data, self._url)], received_ms)]

    def beat(self, now: float, now_ms: int) -> Beat:
        """Returns nothing of any pair: their own heartbeats say more."""
        return Beat(now_ms)

    def problem(self) -> str | None:
        """Returns which subscriptions are waited for."""
        if not self._waiting:
            return None
        return f"not subscribed to {', '.join(sorted(self._waiting))} yet"

    def _fault(self, text: str) -> PassingError | SettingsError:
        unknown = [pair for name, pair in self._pairs.items() if name in text and pair not in self._known]
        if unknown and "not a valid product" in text:
            return self._known.unknown(unknown[0], text)
        return PassingError("rate_limit" if "rate" in text.lower() else "unavailable", f"Coinbase answers {text}")

    def _refuse(self, data: bytes, error: str) -> list[Event]:
        return [Update("", [Refused(BadMessageError(error), self._url, -1, data)])]
