"""Indicators: TA-Lib's values, always finite, and the same in a batch as one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from pricecast_core.errors import SettingsError
from pricecast_core.indicators import (
    HISTORY,
    INDICATORS,
    LONGEST_HISTORY,
    LONGEST_PERIOD,
    Indicator,
    candles_needed,
    choose,
    columns,
)
from pricecast_core.settings import TechnicalIndicatorsSettings, load
from pricecast_technical_indicators.formulas import Array, compute, rows

CHOSEN = choose([])


def a_market(candles: int, seed: int = 7, price: float = 50_000.0) -> Array:
    """Returns a random walk of candles."""
    rng = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(rng.normal(0, 1e-3, candles)))
    open_ = np.concatenate([[price], close[:-1]])
    high = np.maximum(open_, close) * (1 + rng.random(candles) * 1e-3)
    low = np.minimum(open_, close) * (1 - rng.random(candles) * 1e-3)
    return np.ascontiguousarray(np.vstack([open_, high, low, close, rng.lognormal(1, 1, candles)]))


def by_talib(candles: Array) -> dict[str, float]:
    """Returns the default list's values at the newest candle, computed by TA-Lib and numpy."""
    _, high, low, close, volume = candles
    last: dict[str, Any] = {f"rsi_{n}": talib.RSI(close, n) for n in (9, 14, 21)}
    last["macd"], last["macd_signal"], last["macd_histogram"] = talib.MACD(close, 10, 24, 9)
    last["bbands_upper"], last["bbands_middle"], last["bbands_lower"] = talib.BBANDS(close, 20, 2, 2)
    last["stochrsi_k"], last["stochrsi_d"] = talib.STOCHRSI(close, 10, 5, 3)
    last["adx_14"] = talib.ADX(high, low, close, 14)
    last["volume_ema_10"] = talib.EMA(volume, 10)
    middle = {n: (talib.MAX(high, n) + talib.MIN(low, n)) / 2 for n in (9, 20, 40)}
    last["ichimoku_conversion"], last["ichimoku_base"], last["ichimoku_span_b"] = middle[9], middle[20], middle[40]
    last["ichimoku_span_a"] = (middle[9] + middle[20]) / 2
    last["mfi_10"] = talib.MFI(high, low, close, volume, 10)
    last["atr_10"] = talib.ATR(high, low, close, 10)
    last["roc_6"] = talib.ROC(close, 6)
    last |= {f"sma_{n}": talib.SMA(close, n) for n in (7, 14, 21)}
    last |= {f"ema_{n}": talib.EMA(close, n) for n in (7, 14, 21)}
    values = {name: float(series[-1]) for name, series in last.items()}
    values["obv"] = float(talib.OBV(close, volume)[-1] - volume[0])  # TA-Lib starts with the first volume, we with 0
    return values


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("price", [1e-6, 1.0, 100_000.0])
def test_values_are_those_of_talib_after_convergence(seed: int, price: float) -> None:
    candles = a_market(HISTORY, seed, price)
    expected = by_talib(candles)
    values = compute(CHOSEN, candles)
    assert values.keys() == expected.keys() == columns(CHOSEN).keys()
    scale = {name: price if kind in ("price", "price_difference") else 100.0 for name, kind in columns(CHOSEN).items()}
    for name, value in values.items():
        assert value == pytest.approx(expected[name], rel=2e-6, abs=2e-7 * scale[name]), name


@pytest.mark.parametrize("price", [1e-6, 0.1, 50_000.1])
def test_a_market_that_stands_still_has_neutral_values(price: float) -> None:
    candles = np.full((5, HISTORY), price)
    candles[4] = 0.0
    for name, value in compute(CHOSEN, candles).items():
        kind = columns(CHOSEN)[name]
        neutral = price if kind == "price" else 50.0 if kind == "bounded" and name != "adx_14" else 0.0
        assert value == pytest.approx(neutral, rel=1e-12, abs=1e-12 * price), name


def test_a_market_that_wakes_up_has_values_again() -> None:
    candles = np.full((5, HISTORY), 50_000.0)
    candles[:, 200:] = a_market(100)
    values = compute(CHOSEN, candles)
    assert values["adx_14"] > 1
    assert values["rsi_14"] != 50.0


candle = st.tuples(st.floats(1e-12, 1e12), st.floats(1e-12, 1e12), st.floats(0, 1), st.floats(0, 1e18))


@given(st.lists(candle, min_size=1, max_size=50))
def test_every_value_is_finite_and_bounded_ones_are_in_bounds(raw: list[tuple[float, ...]]) -> None:
    series = np.array(raw * (HISTORY // len(raw) + 1))[:HISTORY]
    low, high = np.minimum(series[:, 0], series[:, 1]), np.maximum(series[:, 0], series[:, 1])
    close = low + (high - low) * series[:, 2]
    values = compute(CHOSEN, np.ascontiguousarray(np.vstack([close, high, low, close, series[:, 3]])))
    for name, value in values.items():
        assert math.isfinite(value), name
        if columns(CHOSEN)[name] == "bounded":
            assert -1e-6 <= value <= 100 + 1e-6, name


def test_a_row_depends_on_its_own_history_alone() -> None:
    candles = a_market(HISTORY + 40)
    batch = rows(CHOSEN, candles, HISTORY)
    assert len(batch) == 41
    for start in (0, 17, 40):
        assert compute(CHOSEN, np.ascontiguousarray(candles[:, start : start + HISTORY])) == batch[start]
        assert rows(CHOSEN, candles[:, start:], HISTORY)[0] == batch[start]


def test_an_indicator_beyond_the_history_is_refused_with_the_remedy() -> None:
    with pytest.raises(SettingsError, match=r"history_candles: 300.*400"):
        load(TechnicalIndicatorsSettings, pipeline="btc", indicators=["sma(400)"], history_candles=300)


def test_the_history_is_as_long_as_the_indicators_need() -> None:
    assert load(TechnicalIndicatorsSettings, pipeline="btc").history_candles == HISTORY
    assert load(TechnicalIndicatorsSettings, pipeline="btc", indicators=["sma(400)"]).history_candles == 400


@pytest.mark.parametrize("indicator", INDICATORS, ids=lambda indicator: indicator.name)
@given(data=st.data())
@settings(max_examples=25)
def test_whatever_can_be_chosen_can_be_computed(indicator: Indicator, data: st.DataObject) -> None:
    longest = st.sampled_from([1, 2, 3, 50, LONGEST_PERIOD])
    periods = data.draw(st.lists(longest, min_size=indicator.arity, max_size=indicator.arity))
    term = f"{indicator.name}({','.join(map(str, periods))})" if periods else indicator.name
    if indicator.ascending and periods[0] >= periods[1]:
        with pytest.raises(SettingsError, match=indicator.name):
            choose([term])
        return
    chosen = choose([term])
    assert candles_needed(chosen) <= LONGEST_HISTORY
    for count in {candles_needed(chosen), max(candles_needed(chosen), HISTORY)}:
        row = compute(chosen, a_market(count))
        assert all(map(math.isfinite, row.values()))


@given(price=st.integers(-14, 8), volume=st.integers(-8, 10))
@settings(max_examples=30, deadline=None)
def test_every_indicator_is_alive_and_alike_at_any_price_and_volume(price: int, volume: int) -> None:
    market = a_market(HISTORY, price=1.0)
    units = np.array([[10.0**price]] * 4 + [[10.0**volume]])
    scaled = compute(CHOSEN, np.ascontiguousarray(market * units))
    of_kind = {"price": price, "price_difference": price, "volume": volume, "signed_volume": volume}
    for name, value in compute(CHOSEN, market).items():
        assert value != 0, name
        assert scaled[name] == pytest.approx(value * 10.0 ** of_kind.get(columns(CHOSEN)[name], 0), rel=1e-6), name
