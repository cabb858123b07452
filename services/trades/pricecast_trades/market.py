"""A simulated market: the same seed gives the same trades, whenever one starts to look.

Log-volatility and the pull of the log price towards its start are first-order autoregressions by the minute (Taylor's
stochastic volatility model, 1986): volatility clusters, returns have fat tails, and nothing beyond a pull of weeks,
far too slow to be of use to a forecast, tells where the price goes. Within a minute the price is a Brownian bridge,
trades arrive as a Poisson process that is busier when volatility is high, buys and sells pay half a spread, and
volumes are log-normal in round lots.

Everything about a minute is drawn by a generator seeded with the minute's number since `OPENING_MS`, so the path
doesn't depend on when the process started, and a restart continues it.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from math import fsum
from operator import mul

import numpy as np
import numpy.typing as npt

MINUTE_MS = 60_000
OPENING_MS = 1_704_067_200_000
"""2024-01-01T00:00:00Z: the market's first minute."""
IDS_PER_MINUTE = 10_000_000
"""Trade ids: the minute's number times this, plus the trade's place within the minute, from 1."""

Floats = npt.NDArray[np.float64]

_MINUTES_PER_DAY = 1_440
_VOLATILITY = 0.6 / np.sqrt(365 * _MINUTES_PER_DAY)  # 60% a year, about bitcoin's
_LOG_VARIANCE_DECAY = 0.5 ** (1 / 240)  # half of a burst of volatility is over after four hours
_LOG_VARIANCE_DEVIATION = 0.9  # stationary; kurtosis of a minute's return 3 * exp(0.81) = 6.7
_PULL_DECAY = 0.5 ** (1 / (30 * _MINUTES_PER_DAY))  # half of the distance to the start price in thirty days
_CORRELATION = 0.6  # of the returns of two pairs of one market
_HALF_SPREAD = 0.00005
_LOT = 0.0001
_MEDIAN_VOLUME_QUOTE = 500.0
_VOLUME_DEVIATION = 1.4
BLOCK = 1_440
"""Minutes drawn by one generator."""


_VARIANCE_POWERS: Floats = np.power(_LOG_VARIANCE_DECAY, np.arange(1, BLOCK + 1))
_PRICE_POWERS: Floats = np.power(_PULL_DECAY, np.arange(1, BLOCK + 1))
_VARIANCE_WEIGHTS = [float(_VARIANCE_POWERS[-1]) ** days for days in range(3)]
_PRICE_WEIGHTS = [float(_PRICE_POWERS[-1]) ** days for days in range(360)]
"""What a day of the past still weighs today: what older ones would add is less than the spread."""


@dataclass(frozen=True, slots=True)
class Minute:
    """The trades of one minute, in order.

    Attributes:
        time_ms: Event times, not falling.
        price: Prices.
        volume: Volumes in base coins.
        buy: True where the taker bought.
    """

    time_ms: npt.NDArray[np.int64]
    price: Floats
    volume: Floats
    buy: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a pair's path.

    Attributes:
        first: Its first minute.
        log_variance: Of each minute, less the mean.
        log_price: At the beginning of each minute, and at the end of the last.
    """

    first: int
    log_variance: Floats
    log_price: Floats


class SimulatedPair:
    """The market of one pair.

    Args:
        pair: Its name; two pairs of one seed are correlated, not equal.
        seed: Of the market.
        start_price: What the price starts from and stays around.
        trades_per_second: Mean rate.
    """

    def __init__(self, pair: str, seed: int, start_price: float, trades_per_second: float) -> None:
        self.pair = pair
        self._pair_seed = zlib.crc32(pair.encode())
        self._seed = seed
        self._start = np.log(start_price)
        self._tick = float(10.0 ** np.floor(np.log10(start_price) - 5))  # 0.1 at 50,000
        self._rate = trades_per_second * 60
        self._path = path(seed, pair)
        self._block = next(self._path)

    def minute(self, number: int) -> Minute:
        """Returns the trades of a minute, numbered since `OPENING_MS`."""
        self.go_to(number)
        rng = np.random.default_rng((self._seed, self._pair_seed, 1, number))
        place = number - self._block.first
        start, end = self._block.log_price[place : place + 2]
        deviation = _VOLATILITY * np.exp(self._block.log_variance[place] / 2)
        busy = np.exp(self._block.log_variance[place] / 2 - _LOG_VARIANCE_DEVIATION**2 / 8)
        count = min(int(rng.poisson(self._rate * busy)), IDS_PER_MINUTE - 1)
        if count == 0:
            nothing = np.empty(0)
            return Minute(nothing.astype(np.int64), nothing, nothing, nothing.astype(np.bool_))
        offset = np.sort(rng.random(count))
        steps = np.diff(offset, prepend=0.0, append=1.0)
        walk = np.cumsum(rng.standard_normal(count + 1) * np.sqrt(steps)) * deviation
        bridge = walk[:-1] - offset * walk[-1]
        buy = rng.random(count) < 0.5
        mid = np.exp(self._start + start + (end - start) * offset + bridge)
        price = np.maximum(np.round(mid * np.where(buy, 1 + _HALF_SPREAD, 1 - _HALF_SPREAD) / self._tick), 1)
        quote = _MEDIAN_VOLUME_QUOTE * np.exp(rng.standard_normal(count) * _VOLUME_DEVIATION)
        lots = np.maximum(np.round(quote / mid / _LOT), 1)
        return Minute(
            OPENING_MS + number * MINUTE_MS + (offset * MINUTE_MS).astype(np.int64),
            _decimal(price, self._tick),
            _decimal(lots, _LOT),
            buy,
        )

    def go_to(self, number: int) -> None:
        """Draws the day that a minute is in; no other is kept."""
        day = number // BLOCK
        if day == self._block.first // BLOCK:
            return
        if day != self._block.first // BLOCK + 1:
            self._path = path(self._seed, self.pair, day)
        self._block = next(self._path)


def path(seed: int, pair: str, day: int = 0) -> Iterator[Block]:
    """Yields the blocks of a pair's path from a day on, without end.

    What a day starts with is made of the days before it, as far back as they weigh anything to speak of: so a day is the same bit for
    bit whichever day one begins with, and beginning costs the same however old the market is.
    """
    own = zlib.crc32(pair.encode())
    ends: deque[float] = deque(maxlen=len(_VARIANCE_WEIGHTS))  # what each day adds to the log variance, newest first
    moves: deque[float] = deque(maxlen=len(_PRICE_WEIGHTS))  # what each day adds to the log price, newest first
    scale = _LOG_VARIANCE_DEVIATION * np.sqrt(1 - _LOG_VARIANCE_DECAY**2)
    for number in count(max(0, day - len(_PRICE_WEIGHTS) - len(_VARIANCE_WEIGHTS))):
        mixed = _CORRELATION**0.5 * _normals(seed, 0, number) + (1 - _CORRELATION) ** 0.5 * _draw(seed, own, number)
        summed = np.cumsum(mixed[0] * scale / _VARIANCE_POWERS)
        log_variance = _VARIANCE_POWERS * (fsum(map(mul, _VARIANCE_WEIGHTS, ends)) + summed)
        returns = np.cumsum(_VOLATILITY * np.exp(log_variance / 2) * mixed[1] / _PRICE_POWERS)
        if number >= day:
            start = fsum(map(mul, _PRICE_WEIGHTS, moves))
            log_price = np.concatenate([[start], _PRICE_POWERS * (start + returns)])
            yield Block(number * BLOCK, log_variance, log_price)
        ends.appendleft(float(_VARIANCE_POWERS[-1] * summed[-1]))
        moves.appendleft(float(_PRICE_POWERS[-1] * returns[-1]))


def _draw(seed: int, stream: int, block: int) -> Floats:
    return np.random.default_rng((seed, stream, 0, block)).standard_normal((2, BLOCK))


_normals = lru_cache(maxsize=400)(_draw)
"""The draws that all pairs have in common, made once for all of them."""


def _decimal(count: Floats, unit: float) -> Floats:
    """Returns counts of a unit as the floats nearest to their decimal text."""
    return count / round(1 / unit) if unit < 1 else count * unit
