"""Where to resume, read from the end of the topics: there is no other store that could disagree with them.

A pair whose last trade the topic no longer keeps (its retention is days) is read from `since` again; of what that
repeats, the candles service refuses all that falls into windows it has closed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from pricecast_core.errors import BadMessageError
from pricecast_core.messages import Candle, DeadLetter, Message, Trade, decode
from pricecast_core.settings import TradesSettings
from pricecast_core.streaming import all_values, last_values
from pricecast_core.topics import CANDLES, DEAD_LETTERS, TRADES, TopicSpec, topic_name
from pricecast_trades.covered import Covered
from pricecast_trades.source import RefusedLine

M = TypeVar("M", bound=Message)

_LETTERS = 10_000
"""How many of the service's own dead letters are looked at: more than one batch can hold."""


class TopicEnds:
    """What the topics of a pipeline hold by now. Reads them when asked.

    Args:
        service: Name of the service: the key of its dead letters.
        settings: Brokers, pipeline, pairs.
    """

    def __init__(self, service: str, settings: TradesSettings) -> None:
        self._service = service
        self._settings = settings

    def last_trades(self) -> dict[str, list[Trade]]:
        """Returns the newest trade of each pair, after the others of the same millisecond, by pair."""

        def enough(_pair: str, values: list[bytes]) -> bool:
            trades = _readable(Trade, values)  # among them are clocks, of a quiet pair by the thousand
            if not trades:
                return False
            return trades[-1].trade_id is not None or trades[0].timestamp_ms < trades[-1].timestamp_ms

        found = last_values(self._settings.kafka, self._topic(TRADES), self._settings.pairs, enough)
        newest: dict[str, list[Trade]] = {}
        for pair, values in found.items():
            trades = _readable(Trade, values)
            if trades:
                newest[pair] = [trade for trade in trades if trade.timestamp_ms == trades[-1].timestamp_ms]
        return newest

    def last_candles(self) -> dict[str, Candle]:
        """Returns the newest closed candle, by pair."""

        def closed(values: list[bytes]) -> list[Candle]:
            return [candle for candle in _readable(Candle, values) if candle.closed]

        found = last_values(
            self._settings.kafka,
            self._topic(CANDLES),
            self._settings.pairs,
            lambda _, values: bool(closed(values)),
        )
        return {pair: candles[-1] for pair, values in found.items() if (candles := closed(values))}

    def covered(self) -> dict[str, Covered]:
        """Returns which times the closed candles hold trades of, by pair. Reads all of them."""
        found: dict[str, Covered] = {}
        for kept_from, _, value in all_values(self._settings.kafka, self._topic(CANDLES)):
            for candle in _readable(Candle, [value]):
                found.setdefault(candle.pair, Covered(begins=kept_from == 0)).add(candle)
        return found

    def refused(self) -> frozenset[RefusedLine]:
        """Returns what was refused last, more than one batch can hold."""
        found = last_values(
            self._settings.kafka,
            self._topic(DEAD_LETTERS),
            [self._service],
            lambda _, values: len(values) >= _LETTERS,
        )
        letters = _readable(DeadLetter, found.get(self._service, []))
        return frozenset((letter.topic, letter.offset, letter.value) for letter in letters)

    def _topic(self, spec: TopicSpec) -> str:
        return topic_name(self._settings.pipeline, spec)


def _readable(kind: type[M], values: Iterable[bytes]) -> list[M]:
    messages = []
    for value in values:
        try:
            messages.append(decode(kind, value))
        except BadMessageError:  # not ours; whoever reads the topic refuses it
            continue
    return messages
