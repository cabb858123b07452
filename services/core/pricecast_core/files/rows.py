"""A line of a market-data file: a trade, a bar, or a reason why it is neither."""

from __future__ import annotations

import re
import time
from math import isfinite
from typing import Literal, NamedTuple

from pricecast_core.errors import BadMessageError
from pricecast_core.messages import CLOCK_TOLERANCE_MS, FIRST_TIMESTAMP_MS

Kind = Literal["trades", "bars"]

COLUMNS: dict[int, Kind] = {3: "trades", 7: "bars"}
EXPECTED = "Kraken's CSV: timestamp,price,volume or timestamp,open,high,low,close,volume,trades"
_HEADER = re.compile(rb"\s*[A-Za-z_ ]+(?:,[A-Za-z_ ]+)+\s*")
_MAX_PRICE = 1e12
_MAX_VOLUME = 1e15
_BAR_VOLUME = 1e18


class TradeRow(NamedTuple):
    """One trade: time in ms, price, volume in base coins."""

    time_ms: int
    price: float
    volume: float

    @property
    def first(self) -> float:
        """Its price, by the name that a bar's first one has."""
        return self.price

    @property
    def last(self) -> float:
        """Its price, by the name that a bar's last one has."""
        return self.price


class BarRow(NamedTuple):
    """One bar: start in ms, prices, volume in base coins, number of trades (0 where it wasn't recorded)."""

    time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int

    @property
    def first(self) -> float:
        """Its first price."""
        return self.open

    @property
    def last(self) -> float:
        """Its last price."""
        return self.close


Row = TradeRow | BarRow


def is_header(line: bytes) -> bool:
    """Returns whether a line names columns instead of holding values."""
    return _HEADER.fullmatch(line.replace(b'"', b"")) is not None


def kind_of(line: bytes) -> Kind | None:
    """Returns what a line would be by its number of columns; None if it is neither."""
    return COLUMNS.get(line.count(b",") + 1)


def parse(kind: Kind, line: bytes) -> Row:
    """Returns the row on a line.

    Raises:
        BadMessageError: Naming the field and its value.
    """
    return parse_trade(line) if kind == "trades" else parse_bar(line)


def parse_trade(line: bytes) -> TradeRow:
    """Returns the trade on a line.

    Raises:
        BadMessageError: Naming the field and its value.
    """
    fields = _fields(line)
    if len(fields) != 3:
        raise BadMessageError(f"line: {len(fields)} columns instead of 3 (timestamp,price,volume)")
    time_ms = _time_ms(fields[0])
    try:
        price, volume = float(fields[1]), float(fields[2])
    except ValueError:
        raise _no_number(("price", "volume"), fields[1:]) from None
    if not 0 < price <= _MAX_PRICE:  # NaN compares false
        raise BadMessageError(f"price: {price} is not above 0 and at most {_MAX_PRICE:g}", "price")
    if not 0 < volume <= _MAX_VOLUME:
        raise BadMessageError(f"volume: {volume} is not above 0 and at most {_MAX_VOLUME:g}", "volume")
    return TradeRow(time_ms, price, volume)


def parse_bar(line: bytes) -> BarRow:
    """Returns the bar on a line.

    Raises:
        BadMessageError: Naming the field and its value.
    """
    fields = _fields(line)
    if len(fields) != 7:
        raise BadMessageError(f"line: {len(fields)} columns instead of 7 (timestamp,open,high,low,close,volume,trades)")
    time_ms = _time_ms(fields[0])
    try:
        first, high, low, last, volume, trades = map(float, fields[1:])
    except ValueError:
        raise _no_number(("open", "high", "low", "close", "volume", "trades"), fields[1:]) from None
    if not 0 < low <= high <= _MAX_PRICE:
        raise BadMessageError(f"low: {low} and high: {high} are no range of prices above 0", "low")
    if not (low <= first <= high and low <= last <= high):
        raise BadMessageError(f"open: {first} or close: {last} is outside of {low} to {high}", "open")
    if not 0 <= volume <= _BAR_VOLUME:
        raise BadMessageError(f"volume: {volume} is not from 0 to {_BAR_VOLUME:g}", "volume")
    if not (isfinite(trades) and trades >= 0 and trades == int(trades)):
        raise BadMessageError(f"trades: {trades} is no count", "trades")
    return BarRow(time_ms, first, high, low, last, volume, int(trades))


def _fields(line: bytes) -> list[bytes]:
    return (line.replace(b'"', b"") if b'"' in line else line).split(b",")


def _time_ms(field: bytes) -> int:
    """Returns seconds as written, cut to whole milliseconds: by text, since a float may fall into the next window."""
    whole, _, fraction = field.strip().partition(b".")
    digits = fraction[:3]
    if not (whole.isdigit() and len(whole) <= 11 and (not fraction or fraction.isdigit())):
        raise BadMessageError(f"timestamp: {_shown(field)} is no time in seconds since 1970 (UTC)", "timestamp")
    time_ms = int(whole) * 1000 + (int(digits.ljust(3, b"0")) if digits else 0)
    if time_ms < FIRST_TIMESTAMP_MS:
        raise BadMessageError(f"timestamp: {_shown(field)} is before 2009, when there was no coin", "timestamp")
    if time_ms > _latest_ms():
        raise BadMessageError(f"timestamp: {_shown(field)} lies in the future", "timestamp")
    return time_ms


def _latest_ms() -> float:
    return time.time() * 1000 + CLOCK_TOLERANCE_MS


def _no_number(names: tuple[str, ...], fields: list[bytes]) -> BadMessageError:
    for name, field in zip(names, fields, strict=True):
        try:
            float(field)
        except ValueError:
            return BadMessageError(f"{name}: {_shown(field)} is no number", name)
    raise AssertionError("called for fields that are numbers")


def _shown(field: bytes) -> str:
    return repr(field[:40].decode("utf-8", "replace"))
