"""Whether rows are of the market that they are taken for: what a file's name says, and how far a price can have moved.

Where files have times in common, prices tell. Where they haven't, a file may begin about as far from the end of the one
before as its own steps lead one to expect: minutes later bitcoin in euros can't pass for bitcoin in dollars. After days
it can, so that is told instead of refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from math import log, sqrt
from pathlib import Path

from pricecast_core.values import COIN, KRAKEN_TO_COMMON, base_coin

_QUOTES = frozenset(["USDT", "USDC", "USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "XBT", "BTC", "ETH"])
_PAIR = re.compile(f"({COIN})({'|'.join(sorted(_QUOTES))})")  # no currency ends another: a word has one reading
_COIN = re.compile(COIN)
_DOLLARS = {"USDT": "USD", "USDC": "USD"}  # people replay the one for the other
_LEAP_AT_ONCE = log(2)
_LEAP_PER_ROOT_DAY = 0.5
_MS_PER_DAY = 86_400_000
_FEWEST_STEPS = 10
"""From so many changes of a price on their size tells something."""
_DEVIATIONS, _JUMP = 6, 0.03
"""Of 27,500 cuts through ten markets, none leads to a jump beyond so many standard deviations and this."""
_NEAREST_CURRENCY = log(1.07)
"""How far a euro is from a dollar, mostly: where a price may have moved that far, prices don't tell the two apart."""


@dataclass(frozen=True, slots=True)
class Moves:
    """How the logarithm of a price moves, by the steps between rows.

    Attributes:
        variance: Per ms.
        drift: Per ms, up or down.
        largest: Of the steps.
    """

    variance: float
    drift: float
    largest: float

    def reach(self, between_ms: int) -> float:
        """Returns how far the price may go in a time."""
        return _JUMP + self.largest + self.drift * between_ms + _DEVIATIONS * sqrt(self.variance * between_ms)


def moves_of(prices: Sequence[tuple[int, float]]) -> Moves | None:
    """Returns how a price moves, by times in ms and prices; None where too few tell."""
    steps = [_step(before, price) for (_, before), (_, price) in pairwise(prices)]
    past_ms = sum(abs(time_ms - before_ms) for (before_ms, _), (time_ms, _) in pairwise(prices))
    if not past_ms or sum(step != 0 for step in steps) < _FEWEST_STEPS:
        return None
    return Moves(sum(step * step for step in steps) / past_ms, abs(sum(steps)) / past_ms, max(map(abs, steps)))


def named_pairs(path: Path) -> frozenset[str]:
    """Returns the pairs that a file's name may spell, in capitals as exchanges write them; none for most names.

    The dollar's coins count as dollars: `ETHUSDT_1m.csv` and `ETH-USD.csv` both spell ETH/USD.
    """
    words = _words(path)
    spelt = [(found[1], found[2]) for found in map(_PAIR.fullmatch, words) if found is not None]
    spelt += [(word, after) for word, after in pairwise(words) if _COIN.fullmatch(word) and after in _QUOTES]
    return frozenset(f"{_coin(base)}/{_coin(quote)}" for base, quote in spelt if not base.isdigit())


def is_named_for(path: Path, pair: str) -> bool:
    """Returns whether a file's name spells this pair."""
    return _spelt(pair) in named_pairs(path)


def is_named_for_another(path: Path, pair: str) -> bool:
    """Returns whether a file's name spells a pair, and not this one.

    A word such as TUSD or WBTC may be the coin alone as well as a pair, unless a currency follows it.
    """
    named = named_pairs(path)
    coins = {word for word, after in pairwise((*_words(path), "")) if _PAIR.fullmatch(word) and after not in _QUOTES}
    return bool(named) and _spelt(pair) not in named and base_coin(pair) not in coins


def leaps(before_ms: int, before: float, time_ms: int, price: float) -> bool:
    """Returns whether no market goes from one price to the other in the time between.

    Twofold at once, threefold in a day, fifteenfold in three weeks: five times more than bitcoin, ether and smaller
    coins moved on the minutes, days and weeks of 2021 to 2025 that this was tried on.
    """
    return abs(_step(before, price)) > _farthest(abs(time_ms - before_ms))


def jumps(before_ms: int, before: float, time_ms: int, price: float, moves: Iterable[Moves]) -> bool:
    """Returns whether a market that moves so doesn't go from one price to the other in the time between."""
    return abs(_step(before, price)) > _reach(abs(time_ms - before_ms), moves)


def can_tell(between_ms: int, moves: Iterable[Moves]) -> bool:
    """Returns whether prices so far apart in time tell a market from that of the same coin in another currency."""
    return _reach(between_ms, moves) < _NEAREST_CURRENCY


def shown(time_ms: int, price: float) -> str:
    """Returns a price and its time, for messages."""
    return f"{price:,.10g} at {datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _step(before: float, price: float) -> float:
    return log(price) - log(before)  # their quotient may be no float's


def _farthest(between_ms: int) -> float:
    return _LEAP_AT_ONCE + _LEAP_PER_ROOT_DAY * sqrt(between_ms / _MS_PER_DAY)


def _reach(between_ms: int, moves: Iterable[Moves]) -> float:
    farthest = _farthest(between_ms)
    return min(farthest, max((each.reach(between_ms) for each in moves), default=farthest))


def _spelt(pair: str) -> str:
    base, _, quote = pair.partition("/")
    return f"{_coin(base)}/{_coin(quote)}"


def _words(path: Path) -> list[str]:
    return re.split(r"[^A-Za-z0-9]+", path.name.partition(".")[0])


def _coin(name: str) -> str:
    return _DOLLARS.get(name, KRAKEN_TO_COMMON.get(name, name))
