"""Whether rows are of the market that they are taken for: what a file's name says, and how far a price can have moved."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise
from math import log, sqrt
from pathlib import Path

from pricecast_core.values import KRAKEN_TO_COMMON

_NAMED = re.compile(r"([A-Z0-9]{2,10}?)(USDT|USDC|USD|EUR|GBP|JPY|CHF|CAD|AUD|XBT|BTC|ETH)")
_DOLLARS = {"USDT": "USD", "USDC": "USD"}  # people replay the one for the other
_LEAP_AT_ONCE = log(2)
_LEAP_PER_ROOT_DAY = 0.5
_MS_PER_DAY = 86_400_000


def named_pairs(path: Path) -> frozenset[str]:
    """Returns the pairs that a file's name may spell, in capitals as exchanges write them; none for most names.

    The dollar's coins count as dollars: `ETHUSDT_1m.csv` and `ETH-USD.csv` both spell ETH/USD.
    """
    words = re.split(r"[^A-Za-z0-9]+", path.name.partition(".")[0])
    spelt = [_NAMED.fullmatch(text) for text in (*words, *(one + other for one, other in pairwise(words)))]
    return frozenset(f"{_coin(found[1])}/{_coin(found[2])}" for found in spelt if found is not None)


def is_named_for_another(path: Path, pair: str) -> bool:
    """Returns whether a file's name spells a pair, and not this one."""
    named = named_pairs(path)
    base, _, quote = pair.partition("/")
    return bool(named) and f"{_coin(base)}/{_coin(quote)}" not in named


def leaps(before_ms: int, before: float, time_ms: int, price: float) -> bool:
    """Returns whether no market goes from one price to the other in the time between.

    Twofold at once, threefold in a day, fifteenfold in three weeks: five times more than bitcoin, ether and smaller
    coins moved on the minutes, days and weeks of 2021 to 2025 that this was tried on.
    """
    days = abs(time_ms - before_ms) / _MS_PER_DAY
    return abs(log(price / before)) > _LEAP_AT_ONCE + _LEAP_PER_ROOT_DAY * sqrt(days)


def shown(time_ms: int, price: float) -> str:
    """Returns a price and its time, for messages."""
    return f"{price:,.10g} at {datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _coin(name: str) -> str:
    return _DOLLARS.get(name, KRAKEN_TO_COMMON.get(name, name))
