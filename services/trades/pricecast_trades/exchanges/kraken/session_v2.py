"""Kraken's WebSocket v2, whose trades carry their ids; a subscription begins with the last fifty."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from pricecast_core import logs
from pricecast_core.errors import BadMessageError
from pricecast_core.messages import Trade
from pricecast_trades import times
from pricecast_trades.exchanges.kraken import wire
from pricecast_trades.exchanges.kraken.faults import Faults
from pricecast_trades.exchanges.kraken.subscriptions import Subscriptions
from pricecast_trades.feed import Beat, Event, Update
from pricecast_trades.source import Refused

_PING_SECONDS = 20.0
log = logs.get(__name__)


class SessionV2:
    """What is said over one connection.

    Args:
        url: Where it leads, for what is refused.
        names: The pairs.
        faults: Judges refusals.
    """

    def __init__(self, url: str, names: Sequence[str], faults: Faults) -> None:
        self._url = url
        self._known = frozenset(names)
        self._subscriptions = Subscriptions(names, faults)
        self._pinged = 0.0

    def send(self, now: float) -> Iterable[str]:
        """Subscribes, and asks now and then for the time, which nothing else tells while nobody trades."""
        pairs = self._subscriptions.to_ask(now)
        if pairs:
            parameters = {"channel": "trade", "symbol": pairs, "snapshot": True}
            yield json.dumps({"method": "subscribe", "params": parameters, "req_id": 1})
        if now - self._pinged >= _PING_SECONDS:
            self._pinged = now
            yield json.dumps({"method": "ping", "req_id": 2})

    def receive(self, data: bytes, now: float, now_ms: int) -> Iterable[Event]:
        """Returns what a message says."""
        try:
            message = wire.v2_message.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return [Update("", [Refused(BadMessageError(f"not a message of v2: {error}"), self._url, -1, data)])]
        if message.channel == "trade":
            return self._updates(message, now_ms)
        if message.channel == "status":
            log.info("exchange status", data=[bytes(raw).decode("utf-8", "replace") for raw in message.data or ()])
        elif message.method == "subscribe":
            self._answered(message, now)
        elif message.error:
            log.warning("Kraken refuses a request", method=message.method, error=message.error)
        sent_ms = times.exact_ms(message.time_out) if message.time_out else None
        return [Beat(now_ms, sent_ms)] if sent_ms is not None else []

    def beat(self, now: float, now_ms: int) -> Beat:
        """Returns the pairs whose streams are whole."""
        return Beat(now_ms, pairs=self._subscriptions.whole(now))

    def problem(self) -> str | None:
        """Returns which subscriptions are waited for, and why."""
        return self._subscriptions.problem()

    def _answered(self, message: wire.V2Message, now: float) -> None:
        result = message.result or wire.V2Result()
        if message.success:
            self._subscriptions.accepted(wire.pair_of(result.symbol, self._known), now)
            for warning in result.warnings or ():
                log.warning("Kraken warns", warning=str(warning))
        else:
            name = wire.pair_of(message.symbol or result.symbol, self._known)
            self._subscriptions.refused(name, message.error or "no reason", now)

    def _updates(self, message: wire.V2Message, now_ms: int) -> Iterator[Update]:
        by_pair: dict[str, list[Trade | Refused]] = {}
        for raw in message.data or ():
            pair, item = wire.v2_trade(raw, self._known, self._url)
            by_pair.setdefault(pair, []).append(item)
        snapshot = message.type == "snapshot"
        for pair, items in by_pair.items():
            if snapshot:
                items.sort(key=lambda item: (item.trade_id or 0) if isinstance(item, Trade) else 0)
            self._subscriptions.began(pair)
            yield Update(pair, items, None if snapshot else now_ms)
