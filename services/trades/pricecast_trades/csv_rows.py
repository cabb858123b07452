"""Kraken's CSV archives, a line at a time: each line is a row or a reason why it is none.

`https://support.kraken.com` publishes two kinds for each pair, without header, in UTC seconds:
trades as `timestamp,price,volume` and bars (OHLCVT) as `timestamp,open,high,low,close,volume,trades`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from math import gcd, isfinite
from pathlib import Path
from typing import Literal, NamedTuple

from pricecast_core.errors import BadMessageError, SettingsError
from pricecast_core.messages import CLOCK_TOLERANCE_MS, FIRST_TIMESTAMP_MS

Kind = Literal["trades", "bars"]

COLUMNS: dict[int, Kind] = {3: "trades", 7: "bars"}
_CHUNK_BYTES = 1 << 20
_LINE_BYTES = 1 << 16
_SAMPLE_LINES = 2_000
_MAX_PRICE = 1e12
_MAX_VOLUME = 1e15
_BAR_VOLUME = 1e18


class TradeRow(NamedTuple):
    """One trade: time in ms, price, volume in base coins."""

    time_ms: int
    price: float
    volume: float


class BarRow(NamedTuple):
    """One bar: start in ms, prices, volume in base coins, number of trades (0 where it wasn't recorded)."""

    time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int


class Sample(NamedTuple):
    """What the beginning of a file tells.

    Attributes:
        kind: What its rows are.
        first_ms: Time of the first usable row.
        spacing_ms: Length of a bar, judged by the steps between them; 0 for trades and for a single bar.
    """

    kind: Kind
    first_ms: int
    spacing_ms: int


def lines(path: Path) -> Iterator[bytes]:
    """Yields the lines of a file without their ends; one much longer than 64 KiB comes in pieces, never whole.

    Raises:
        SettingsError: If the file can't be read.
    """
    try:
        with path.open("rb") as file:
            rest = b""
            while chunk := file.read(_CHUNK_BYTES):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from whole
                if len(rest) > _LINE_BYTES:
                    yield rest
                    rest = b""
            if rest:
                yield rest
    except OSError as error:
        raise SettingsError(
            f"replay_files: {path} can't be read: {error.strerror}; name an existing CSV file"
        ) from None


def sample(path: Path, expected: Literal["auto", "trades", "bars"]) -> Sample:
    """Returns what a file holds, from its first 2,000 lines.

    Raises:
        SettingsError: If it can't be read, or has no usable line among them.
    """
    found: dict[Kind, list[int]] = {"trades": [], "bars": []}
    first_error = "it is empty"
    for number, line in enumerate(lines(path), 1):
        if number > _SAMPLE_LINES:
            break
        kind = COLUMNS.get(line.count(b",") + 1, "trades") if expected == "auto" else expected
        try:
            row = parse_trade(line) if kind == "trades" else parse_bar(line)
        except BadMessageError as error:
            first_error = f"line {number}: {error}" if first_error == "it is empty" else first_error
        else:
            found[kind].append(row.time_ms)
    kind = max(found, key=lambda name: len(found[name]))
    starts = found[kind]
    if not starts:
        raise SettingsError(
            f"replay_files: {path} has no usable line ({first_error}); give Kraken's CSV: timestamp,price,volume or "
            "timestamp,open,high,low,close,volume,trades"
        )
    steps = Counter(later - earlier for earlier, later in pairwise(starts) if later > earlier)
    # Quiet bars are left out, so steps are multiples of the length; a step seen once may come from a corrupt time.
    usual = [step for step, count in steps.items() if count > 1] or list(steps)
    spacing = gcd(*usual) if kind == "bars" else 0
    return Sample(kind, starts[0], spacing)


def parse_trade(line: bytes) -> TradeRow:
    """Returns the trade on a line.

    Raises:
        BadMessageError: Naming the field and its value.
    """
    fields = line.split(b",")
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
    fields = line.split(b",")
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


def _time_ms(field: bytes) -> int:
    """Returns seconds as written, cut to whole milliseconds: by text, since a float may fall into the next window."""
    whole, _, fraction = field.partition(b".")
    digits = fraction[:3]
    if not (whole.isdigit() and len(whole) <= 11 and (not fraction or fraction.rstrip().isdigit())):
        raise BadMessageError(f"timestamp: {_shown(field)} is no time in seconds", "timestamp")
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
