"""Kraken's CSV archives: what a line says, and what it may not."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.errors import BadMessageError
from pricecast_core.files import BarRow, TradeRow, rows


def test_a_trade_is_time_price_volume() -> None:
    assert rows.parse_trade(b"1570752011.62,0.00141342,23.0\r") == TradeRow(1570752011620, 0.00141342, 23.0)
    assert rows.parse_trade(b"1570752028,1e2,5") == TradeRow(1570752028000, 100.0, 5.0)


def test_a_bar_is_start_prices_volume_count() -> None:
    line = b"1640991600,46319.0,46385.0,46300.5,46377.0,2300413.7295,0"
    assert rows.parse_bar(line) == BarRow(1640991600000, 46319.0, 46385.0, 46300.5, 46377.0, 2300413.7295, 0)


@given(st.decimals(1_300_000_000, 1_700_000_000, places=9))
def test_a_time_is_cut_to_milliseconds_exactly(seconds: Decimal) -> None:
    row = rows.parse_trade(f"{seconds:f},1,1".encode())
    assert row.time_ms == int(seconds * 1000)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"1570752011.62,0.00141342", ""),
        (b"1570752011.62,0.00141342,1,2", ""),
        (b"1570752011.62,nan,1", "price"),
        (b"1570752011.62,inf,1", "price"),
        (b"1570752011.62,1e400,1", "price"),
        (b"1570752011.62,-1,1", "price"),
        (b"1570752011.62,0,1", "price"),
        (b"1570752011.62,x,1", "price"),
        (b"1570752011.62,1,nan", "volume"),
        (b"1570752011.62,1,", "volume"),
        (b"1570752011.62,1,-2", "volume"),
        (b"0,1,1", "timestamp"),
        (b"-5,1,1", "timestamp"),
        (b"4102444800,1,1", "timestamp"),
        (b"1570752011620,1,1", "timestamp"),
        (b"99999999999999999999,1,1", "timestamp"),
        (b"1570752011.6x,1,1", "timestamp"),
        (b"\xff\xfe,1,1", "timestamp"),
        (b"timestamp,price,volume", "timestamp"),
    ],
)
def test_a_line_that_is_no_trade_names_the_field(line: bytes, field: str) -> None:
    with pytest.raises(BadMessageError) as caught:
        rows.parse_trade(line)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"1640991600,1,2,1,1,1", ""),
        (b"1640991600,1,2,3,1,1,1", "low"),
        (b"1640991600,5,2,1,1,1,1", "open"),
        (b"1640991600,1,2,1,0.5,1,1", "open"),
        (b"1640991600,1,nan,1,1,1,1", "low"),
        (b"1640991600,1,2,1,1,-1,1", "volume"),
        (b"1640991600,1,2,1,1,1,1.5", "trades"),
        (b"1640991600,1,2,1,1,1,x", "trades"),
    ],
)
def test_a_line_that_is_no_bar_names_the_field(line: bytes, field: str) -> None:
    with pytest.raises(BadMessageError) as caught:
        rows.parse_bar(line)
    assert caught.value.field == field


@given(st.binary(max_size=80))
def test_any_bytes_are_a_row_or_refused(line: bytes) -> None:
    for parse in (rows.parse_trade, rows.parse_bar):
        try:
            assert parse(line).time_ms > 0
        except BadMessageError:
            continue
