"""The table of technical indicators: names, periods, columns, and what kind of number each column holds.

Here they are only described, so that settings, stores, the operator and the predictor agree on the columns; the
technical-indicators service computes them. A new indicator of tulipy is one more line in `INDICATORS`.

A pipeline chooses indicators as `rsi(14),macd(10,24,9),obv`; a name without periods takes the first default ones.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pricecast_core.errors import SettingsError

Kind = Literal["price", "price_difference", "bounded", "percent", "volume", "signed_volume"]
"""price: a price level; price_difference: in units of price, around 0 (macd) or above it (atr); bounded: 0 to 100;
percent: around 0; volume: in base coins; signed_volume: the same, of either sign."""
Neutral = Literal["zero", "fifty", "close"]
"""What a column holds where its formula has no value, as 0/0 in a market that stands still."""
Periods = tuple[int, ...]

COMMA = re.compile(r",(?![^()]*\))")
"""A comma outside of parentheses: it stands between the items of a list, not between the periods of an indicator."""

HISTORY = 300
"""Candles that a row is computed from, where no indicator needs more."""
LONGEST_HISTORY = 5_000
LONGEST_PERIOD = 1_500
"""In candles. What an indicator needs, three periods in a row at most, is never more than the longest history."""


@dataclass(frozen=True, slots=True)
class Output:
    """One column of an indicator.

    Attributes:
        suffix: What the column's name adds to the indicator's; empty where there is one column.
        kind: What kind of number it is.
        neutral: Its value where the formula has none.
    """

    suffix: str
    kind: Kind
    neutral: Neutral


@dataclass(frozen=True, slots=True)
class Indicator:
    """An indicator that can be chosen.

    Attributes:
        name: Its name, first part of its columns' names.
        function: The function of tulipy, or the formula of the technical-indicators service, that computes it.
        inputs: The candle's columns that the function takes, in order.
        defaults: The periods of the default list; a tuple for each time it is in it, `((),)` if it takes none.
        outputs: Its columns, in the order that the function gives them.
        needs: How many candles the first value takes.
        windowed: Whether no older candle than those matters.
        ascending: Whether the first period must be shorter than the second.
    """

    name: str
    function: str
    inputs: tuple[str, ...]
    defaults: tuple[Periods, ...]
    outputs: tuple[Output, ...]
    needs: Callable[[Periods], int]
    windowed: bool = False
    ascending: bool = False

    @property
    def arity(self) -> int:
        """How many periods it takes."""
        return len(self.defaults[0])

    @property
    def example(self) -> str:
        """How it is written with its first default periods: a name alone means the same."""
        return f"{self.name}({','.join(map(str, self.defaults[0]))})" if self.arity else self.name

    @property
    def usage(self) -> str:
        """What to tell of one that has the wrong periods."""
        if not self.arity:
            return f"takes no periods; write {self.example}"
        periods = "1 period" if self.arity == 1 else f"{self.arity} periods"
        return f"takes {periods} of 1 to {LONGEST_PERIOD} candles; write {self.example}"

    @property
    def order(self) -> str:
        """What to tell of one that has its periods the wrong way round."""
        return f"has no shorter period before the longer one; write {self.example}"


@dataclass(frozen=True, slots=True)
class Chosen:
    """An indicator with its periods.

    Attributes:
        indicator: The indicator.
        periods: Its periods.
        columns: Names of its columns, in the order of its outputs.
    """

    indicator: Indicator
    periods: Periods
    columns: tuple[str, ...]


_HLC = ("high", "low", "close")
_CLOSE = ("close",)
_OSCILLATOR = (Output("", "bounded", "fifty"),)
_LEVEL = (Output("", "price", "close"),)

INDICATORS: tuple[Indicator, ...] = (
    Indicator("rsi", "rsi", _CLOSE, ((9,), (14,), (21,)), _OSCILLATOR, lambda p: p[0] + 1),
    Indicator(
        "macd",
        "macd",
        _CLOSE,
        ((10, 24, 9),),
        (
            Output("", "price_difference", "zero"),
            Output("signal", "price_difference", "zero"),
            Output("histogram", "price_difference", "zero"),
        ),
        lambda p: p[1] + p[2],
        ascending=True,
    ),
    Indicator(
        "bbands",
        "bollinger_bands",
        _CLOSE,
        ((20, 2),),
        (Output("lower", "price", "close"), Output("middle", "price", "close"), Output("upper", "price", "close")),
        lambda p: p[0],
        windowed=True,
    ),
    Indicator(
        "stochrsi",
        "stochastic_rsi",
        _CLOSE,
        ((10, 5, 3),),
        (Output("k", "bounded", "fifty"), Output("d", "bounded", "fifty")),
        lambda p: p[0] + p[1] + p[2] - 1,
    ),
    Indicator("adx", "average_directional_index", _HLC, ((14,),), (Output("", "bounded", "zero"),), lambda p: 2 * p[0]),
    Indicator("volume_ema", "ema", ("volume",), ((10,),), (Output("", "volume", "zero"),), lambda p: p[0]),
    Indicator(
        "ichimoku",
        "ichimoku",
        _HLC,
        ((9, 20, 40),),
        (
            Output("conversion", "price", "close"),
            Output("base", "price", "close"),
            Output("span_a", "price", "close"),
            Output("span_b", "price", "close"),
        ),
        max,
        windowed=True,
    ),
    Indicator("mfi", "money_flow_index", (*_HLC, "volume"), ((10,),), _OSCILLATOR, lambda p: p[0] + 1, windowed=True),
    Indicator("atr", "atr", _HLC, ((10,),), (Output("", "price_difference", "zero"),), lambda p: p[0]),
    Indicator(
        "roc", "rate_of_change", _CLOSE, ((6,),), (Output("", "percent", "zero"),), lambda p: p[0] + 1, windowed=True
    ),
    Indicator("sma", "sma", _CLOSE, ((7,), (14,), (21,)), _LEVEL, lambda p: p[0], windowed=True),
    Indicator("ema", "ema", _CLOSE, ((7,), (14,), (21,)), _LEVEL, lambda p: p[0]),
    Indicator("obv", "obv", ("close", "volume"), ((),), (Output("", "signed_volume", "zero"),), lambda p: 2),
)

_BY_NAME = {indicator.name: indicator for indicator in INDICATORS}
_TERM = re.compile(r" *([a-z_]+) *(?:\(([^()]*)\))? *\Z")
_PERIOD = re.compile(r"[1-9][0-9]{0,3}\Z")


def columns(chosen: Sequence[Chosen]) -> dict[str, Kind]:
    """Returns the columns of the chosen indicators and their kinds, in order."""
    return {
        column: output.kind for one in chosen for column, output in zip(one.columns, one.indicator.outputs, strict=True)
    }


def choose(terms: Sequence[str]) -> list[Chosen]:
    """Reads a list of indicators.

    Args:
        terms: Such as `["rsi(14)", "macd(10,24,9)", "obv"]`, or pieces of it: `["macd(10", "24", "9)"]`, which
            is what remains of a comma-separated list. Empty means the default list.

    Raises:
        SettingsError: If one is unknown, has the wrong number of periods, or is there twice.
    """
    if not terms:
        return [_chosen(indicator, periods) for indicator in INDICATORS for periods in indicator.defaults]
    chosen: list[Chosen] = []
    for term in _split(",".join(terms)):
        one = read(term)
        if one in chosen:
            raise SettingsError(f"indicators: {term.strip()} is listed twice; list it once")
        chosen.append(one)
    return chosen


def candles_needed(chosen: Sequence[Chosen]) -> int:
    """Returns how many candles the longest of the indicators takes."""
    return max(one.indicator.needs(one.periods) for one in chosen)


def _split(text: str) -> list[str]:
    """Splits at the commas outside of parentheses."""
    return [term for term in COMMA.split(text) if term.strip()]


def read(term: str) -> Chosen:
    """Reads one indicator: its name, alone or with periods.

    Raises:
        SettingsError: If it is unknown, or has the wrong periods.
    """
    match = _TERM.match(term)
    if match is None:
        raise SettingsError(f"indicators: {term.strip()!r} can't be read; write a name and periods: macd(10,24,9)")
    name, arguments = match.groups()
    indicator = _BY_NAME.get(name)
    if indicator is None:
        close = difflib.get_close_matches(name, _BY_NAME, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise SettingsError(f"indicators: {name!r} is unknown; {hint}known are {', '.join(_BY_NAME)}")
    if arguments is None:
        return _chosen(indicator, indicator.defaults[0])
    parts = [part.strip(" ") for part in arguments.split(",")]
    if len(parts) != indicator.arity or not all(_PERIOD.match(part) and int(part) <= LONGEST_PERIOD for part in parts):
        raise SettingsError(f"indicators: {term.strip()!r} {indicator.usage}")
    periods = tuple(map(int, parts))
    if indicator.ascending and periods[0] >= periods[1]:
        raise SettingsError(f"indicators: {term.strip()!r} {indicator.order}")
    return _chosen(indicator, periods)


def _chosen(indicator: Indicator, periods: Periods) -> Chosen:
    """Names the columns: one column carries its periods (rsi_14), several do only where they aren't the default."""
    single = len(indicator.outputs) == 1
    tail = "".join(f"_{period}" for period in periods) if single or periods not in indicator.defaults else ""
    names = tuple(_column(indicator.name, output.suffix, tail) for output in indicator.outputs)
    return Chosen(indicator, periods, names)


def _column(name: str, suffix: str, tail: str) -> str:
    return f"{name}_{suffix}{tail}" if suffix else f"{name}{tail}"
