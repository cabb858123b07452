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
from dataclasses import dataclass

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
_BLOCK = 1_440  # minutes drawn by one generator
_BLOCKS_AT_ONCE = 100


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
        self._blocks = 0
        self._log_variance = np.empty(0)
        self._log_price = np.zeros(1)

    def minute(self, number: int) -> Minute:
        """Returns the trades of a minute, numbered since `OPENING_MS`."""
        self._extend(number)
        rng = np.random.default_rng((self._seed, self._pair_seed, 1, number))
        start, end = self._log_price[number : number + 2]
        deviation = _VOLATILITY * np.exp(self._log_variance[number] / 2)
        busy = np.exp(self._log_variance[number] / 2 - _LOG_VARIANCE_DEVIATION**2 / 8)
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

    def _extend(self, number: int) -> None:
        """Draws the minutes up to `number`, in whole blocks, so that each draw has a place of its own."""
        while len(self._log_variance) <= number:
            blocks = range(self._blocks, min(number // _BLOCK + 1, self._blocks + _BLOCKS_AT_ONCE))
            common = [np.random.default_rng((self._seed, 0, 0, block)).standard_normal((2, _BLOCK)) for block in blocks]
            own = [
                np.random.default_rng((self._seed, self._pair_seed, 0, block)).standard_normal((2, _BLOCK))
                for block in blocks
            ]
            mixed = _CORRELATION**0.5 * np.hstack(common) + (1 - _CORRELATION) ** 0.5 * np.hstack(own)
            scale = _LOG_VARIANCE_DEVIATION * np.sqrt(1 - _LOG_VARIANCE_DECAY**2)
            last = self._log_variance[-1] if len(self._log_variance) else 0.0
            log_variance = _autoregression(mixed[0] * scale, _LOG_VARIANCE_DECAY, last)
            returns = _VOLATILITY * np.exp(log_variance / 2) * mixed[1]
            log_price = _autoregression(returns, _PULL_DECAY, self._log_price[-1])
            self._log_variance = np.concatenate([self._log_variance, log_variance])
            self._log_price = np.concatenate([self._log_price, log_price])
            self._blocks = blocks.stop


def _autoregression(shocks: Floats, decay: float, last: float) -> Floats:
    """Returns x with x[t] = decay * x[t-1] + shocks[t], by day: the same numbers wherever one begins."""
    values = np.empty_like(shocks)
    powers = decay ** np.arange(1, _BLOCK + 1)
    for start in range(0, len(shocks), _BLOCK):
        part = slice(start, start + _BLOCK)
        values[part] = powers * (last + np.cumsum(shocks[part] / powers))
        last = values[part][-1]
    return values


def _decimal(count: Floats, unit: float) -> Floats:
    """Returns counts of a unit as the floats nearest to their decimal text."""
    return count / round(1 / unit) if unit < 1 else count * unit
