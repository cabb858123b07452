"""Kraken's CSV archives: what a line says, and what it may not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.errors import BadMessageError, SettingsError
from pricecast_trades import csv_rows
from pricecast_trades.csv_rows import BarRow, TradeRow


def test_a_trade_is_time_price_volume() -> None:
    assert csv_rows.parse_trade(b"1570752011.62,0.00141342,23.0\r") == TradeRow(1570752011620, 0.00141342, 23.0)
    assert csv_rows.parse_trade(b"1570752028,1e2,5") == TradeRow(1570752028000, 100.0, 5.0)


def test_a_bar_is_start_prices_volume_count() -> None:
    line = b"1640991600,46319.0,46385.0,46300.5,46377.0,2300413.7295,0"
    assert csv_rows.parse_bar(line) == BarRow(1640991600000, 46319.0, 46385.0, 46300.5, 46377.0, 2300413.7295, 0)


@given(st.decimals(1_300_000_000, 1_700_000_000, places=9))
def test_a_time_is_cut_to_milliseconds_exactly(seconds: Decimal) -> None:
    row = csv_rows.parse_trade(f"{seconds:f},1,1".encode())
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
        csv_rows.parse_trade(line)
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
        csv_rows.parse_bar(line)
    assert caught.value.field == field


@given(st.binary(max_size=80))
def test_any_bytes_are_a_row_or_refused(line: bytes) -> None:
    for parse in (csv_rows.parse_trade, csv_rows.parse_bar):
        try:
            assert parse(line).time_ms > 0
        except BadMessageError:
            continue


def test_the_beginning_of_a_file_tells_what_it_holds(tmp_path: Path) -> None:
    trades, bars = tmp_path / "trades.csv", tmp_path / "bars.csv"
    trades.write_text("timestamp,price,volume\n1600000000.5,1,1\n1600000001,1,1\n")
    bars.write_text("".join(f"{1_600_000_200 + 300 * n},1,1,1,1,1,1\n" for n in (0, 1, 2, 5, 6)))
    assert csv_rows.sample(trades, "auto") == csv_rows.Sample("trades", 1600000000500, 0)
    assert csv_rows.sample(bars, "auto") == csv_rows.Sample("bars", 1600000200000, 300_000)


def test_the_length_of_bars_shows_even_where_most_are_quiet(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    minutes = [0, 2, 5, 7, 10, 12, 15, 17, 20]  # two and three minutes apart
    path.write_text("".join(f"{1_600_000_200 + 60 * n},1,1,1,1,1,1\n" for n in minutes))
    assert csv_rows.sample(path, "bars").spacing_ms == 60_000


@pytest.mark.parametrize("content", ["", "\n\n", "a,b\n", "0,1,1\n", "a,b,c,d,e,f,g\n"])
def test_a_file_without_a_usable_line_is_a_mistake(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file.csv"
    path.write_text(content)
    with pytest.raises(SettingsError, match="no usable line"):
        csv_rows.sample(path, "auto")


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(SettingsError, match="can't be read"):
            csv_rows.sample(path, "auto")


def test_lines_come_out_as_they_went_in_across_chunks(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    expected = [b"x" * (n % 200) for n in range(20_000)] + [b"no newline at the end"]
    path.write_bytes(b"\n".join(expected))
    assert list(csv_rows.lines(path)) == expected


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "endless.csv"
    path.write_bytes(b"1" * 5_000_000)
    assert max(map(len, csv_rows.lines(path))) <= 1 << 20
