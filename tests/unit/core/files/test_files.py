"""Market-data files: what they hold, in which order they are read, what is refused, and overlaps."""

from __future__ import annotations

import gzip
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricecast_core.errors import SettingsError
from pricecast_core.files import BadLine, BarRow, History, MarketFile, TradeRow, common_kind, reading, survey
from pricecast_core.files.rows import Row

START = 1_600_000_200  # a multiple of 300


def write(path: Path, lines: Iterable[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def bar(minute: int, price: float = 10.0) -> str:
    return f"{START + minute * 60},{price},{price + 1},{price - 1},{price + 0.5},2,3"


def trade(second: float, volume: float = 1.0) -> str:
    return f"{START + second},10,{volume}"


def read(*paths: Path) -> tuple[list[Row], History]:
    history = History([survey(path) for path in paths])
    return [row for _, row in history if not isinstance(row, BadLine)], history


def test_a_file_is_told_by_its_columns_times_and_steps(tmp_path: Path) -> None:
    trades = write(tmp_path / "trades.csv", ["timestamp,price,volume", "1600000000.5,1,1", "1600000001,1,1"])
    assert survey(trades) == MarketFile(trades, "trades", 1600000000500, 1600000001000, 0)
    bars = write(tmp_path / "bars.csv", [bar(5 * number) for number in (0, 1, 2, 5, 6)])
    assert survey(bars) == MarketFile(bars, "bars", START * 1000, (START + 1800) * 1000, 300_000)


def test_the_length_of_bars_shows_even_where_most_are_quiet(tmp_path: Path) -> None:
    path = write(tmp_path / "bars.csv", map(bar, [0, 2, 5, 7, 10, 12, 15, 17, 20]))  # two and three minutes apart
    assert survey(path, "bars").spacing_ms == 60_000


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it is empty"),
        ("\n\n", "it is empty"),
        ("a,b\n", "line 1"),
        ("0,1,1\n", "line 1"),
        ("a,b,c,d,e,f,g\n", "only names"),
        ("timestamp;price;volume\n1600000000;1;1\n", "1 columns"),
        ("1600000000000,1,1\n", "no time in seconds since 1970"),
        ("2020-09-13T12:26:40Z,1,1\n", "no time in seconds since 1970"),
    ],
)
def test_a_file_without_a_usable_line_is_a_mistake(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "file.csv"
    path.write_text(content)
    with pytest.raises(SettingsError, match=f"no usable line .*{reason}.*; give Kraken's CSV"):
        survey(path)


def test_a_file_that_can_not_be_read_is_a_mistake(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.csv.gz"
    damaged.write_bytes(gzip.compress(b"1600000000,1,1\n" * 1000)[:-20])
    not_packed = write(tmp_path / "plain.csv.gz", [trade(0)])
    for path in (tmp_path / "nowhere.csv", tmp_path, damaged, not_packed):
        with pytest.raises(SettingsError, match="can't be read"):
            survey(path)


def test_files_of_two_kinds_are_not_mixed(tmp_path: Path) -> None:
    files = [survey(write(tmp_path / "a.csv", [trade(0)])), survey(write(tmp_path / "b.csv", [bar(0)]))]
    with pytest.raises(SettingsError, match="hold different things"):
        common_kind(files)


def test_a_last_line_that_was_cut_off_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{bar(0)}\n{bar(1)}\n{bar(2)[:14]}")
    assert survey(path).last_ms == (START + 60) * 1000


@pytest.mark.parametrize("name", ["long.csv", "long.csv.gz"])
def test_lines_come_out_as_they_went_in_across_chunks(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    expected = [b"x" * (n % 200) for n in range(20_000)] + [b"no newline at the end"]
    content = b"\n".join(expected)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert list(reading.lines(path)) == expected
    if not name.endswith(".gz"):
        assert [line for _, line in reading.numbered_lines(path, backwards=True)] == expected[::-1]


@given(st.lists(st.sampled_from(["", "1600000000,1,1", "x" * 70_000, "\xff"]), max_size=6), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_line_numbers_are_the_same_from_both_ends(tmp_path: Path, text: list[str], ended: bool) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(text) + "\n" * ended, encoding="latin-1")
    forth = [(number, line) for number, line in reading.numbered_lines(path) if line]
    back = [(number, line) for number, line in reading.numbered_lines(path, backwards=True) if line]
    assert forth == back[::-1]


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "endless.csv"
    path.write_bytes(b"1" * 5_000_000)
    for backwards in (False, True):
        assert max(len(line) for _, line in reading.numbered_lines(path, backwards=backwards)) <= (1 << 20) + (1 << 16)


def test_what_spreadsheets_and_other_systems_add_changes_nothing(tmp_path: Path) -> None:
    clean = write(tmp_path / "a.csv", map(bar, range(20)))
    messy = tmp_path / "b.csv"
    lines = ["timestamp,open,high,low,close,volume,trades"]
    for minute in range(20):
        time, *rest = bar(minute).split(",")
        lines += [f'"{time}.0", {",".join(rest[:-2])},2e0,3'] * (2 if minute % 7 == 3 else 1)
    messy.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n")
    packed = tmp_path / "c.csv.gz"
    packed.write_bytes(gzip.compress(messy.read_bytes()))
    expected, _ = read(clean)
    for path in (messy, packed):
        rows, history = read(path)
        assert rows == expected
        assert (history.tallies[0].refused, history.tallies[0].repeated) == (0, 3)


@pytest.mark.parametrize("make", [bar, trade])
def test_a_file_with_the_newest_row_first_is_read_from_its_end(tmp_path: Path, make: object) -> None:
    lines = [make(number) for number in range(50)]  # type: ignore[operator]
    lines += [make(49)] if make is trade else []  # type: ignore[operator]
    forwards = write(tmp_path / "a.csv", lines)
    backwards = write(tmp_path / "b.csv", ["a,b,c", *reversed(lines)])
    found = survey(backwards)
    assert found == MarketFile(backwards, found.kind, survey(forwards).first_ms, survey(forwards).last_ms,
                               found.spacing_ms, backwards=True)  # fmt: skip
    assert read(backwards)[0] == read(forwards)[0]
    assert read(backwards)[1].tallies[0].refused == 0
    packed = tmp_path / "b.csv.gz"
    packed.write_bytes(gzip.compress(backwards.read_bytes()))
    with pytest.raises(SettingsError, match="run backwards in time; unpack"):
        read(packed)


def test_rows_in_no_order_are_a_mistake(tmp_path: Path) -> None:
    lines = [bar(number) for number in range(300)]
    random.Random(1).shuffle(lines)
    with pytest.raises(SettingsError, match=r"in no order of time \(\d+ of 299 steps .*; sort them by time"):
        survey(write(tmp_path / "a.csv", lines))


def test_disorder_after_the_beginning_is_told_at_the_end(tmp_path: Path) -> None:
    late = list(range(3_000, 3_400))
    random.Random(1).shuffle(late)
    rows, history = read(write(tmp_path / "a.csv", map(bar, [*range(3_000), *late])))
    complaint = history.complaint()
    assert complaint is not None
    refused = history.tallies[0].refused
    assert refused + len(rows) == 3_400
    assert f"{refused} of 3,400 lines were refused (the first: line 3" in complaint


def test_a_few_refused_lines_are_no_complaint(tmp_path: Path) -> None:
    _, history = read(write(tmp_path / "a.csv", [*map(trade, range(30)), *["bad"] * 5]))
    assert history.complaint() is None
    _, history = read(write(tmp_path / "a.csv", [*map(trade, range(30)), *["bad"] * 6]))
    assert "6 of 36 lines were refused" in (history.complaint() or "")


def test_overlapping_files_give_each_trade_once(tmp_path: Path) -> None:
    second = [trade(100, volume) for volume in (1, 2, 2, 3, 1)]  # five trades, two pairs of which look alike
    whole = [*(trade(n) for n in range(100)), *second, *(trade(n) for n in range(101, 150))]
    full = write(tmp_path / "full.csv", whole[:103])  # breaks off within the second
    update = write(tmp_path / "update.csv", whole[60:])
    rows, history = read(update, full)
    assert rows == read(write(tmp_path / "all.csv", whole))[0]
    assert [tally.repeated for tally in history.tallies] == [0, 43]
    assert [tally.refused for tally in history.tallies] == [0, 0]


def test_of_two_bars_of_one_time_the_newer_files_counts(tmp_path: Path) -> None:
    full = write(tmp_path / "full.csv", [bar(0), bar(1), bar(2, 99)])  # its last bar wasn't over yet
    update = write(tmp_path / "update.csv", [bar(1), bar(2, 30), bar(3)])
    rows, history = read(full, update)
    assert rows == read(write(tmp_path / "all.csv", [bar(0), bar(1), bar(2, 30), bar(3)]))[0]
    assert (history.tallies[1].repeated, history.tallies[1].differing) == (2, 1)


FIELDS = st.one_of(
    st.sampled_from(["1600000000", "1600000001.5", "1", "0", "-1", "nan", "1e9", "4102444800", '"2"', "", "x", " 3 "]),
    st.integers(START, START + 1000).map(str),
)
LINES = st.lists(
    st.one_of(
        st.integers(0, 300).map(trade),
        st.integers(0, 300).map(bar),
        st.sampled_from(["", "  ", "timestamp,price,volume", "x" * 100]),
        st.lists(FIELDS, min_size=1, max_size=8).map(",".join),
    ),
    max_size=60,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(LINES, LINES, st.sampled_from(["\n", "\r\n"]))
def test_any_files_are_rows_in_order_or_counted_or_refused(
    tmp_path: Path, first: list[str], second: list[str], end: str
) -> None:
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path, text in zip(paths, (first, second), strict=True):
        path.write_bytes(end.join(text).encode())
    try:
        files = [survey(path) for path in paths]
    except SettingsError:
        return  # no file of rows, or in no order: said at once
    history = History(files)
    try:
        found = list(history)
    except SettingsError as error:
        if "it is another market's" not in str(error):
            raise
        return  # prices that no one market goes through
    rows = [row for _, row in found if isinstance(row, TradeRow | BarRow)]
    times = [row.time_ms for row in rows]
    assert times == sorted(times)
    bad = Counter(row.path for _, row in found if isinstance(row, BadLine))
    for file, tally in zip(history.files, history.tallies, strict=True):
        lines = (first, second)[paths.index(file.path)]
        headers = sum(n == 0 and line == "timestamp,price,volume" for n, line in enumerate(lines))
        assert tally.rows + tally.refused == sum(bool(line.strip()) for line in lines) - headers
        assert tally.refused == bad[file.path]
    assert sum(tally.rows - tally.repeated for tally in history.tallies) == len(rows)
