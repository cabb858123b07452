"""Files replayed: order, refusals, resuming, several files and pairs, bars as candles."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from pricecast_core.errors import SettingsError
from pricecast_core.messages import Candle, Trade
from pricecast_core.service import Stop
from pricecast_core.settings import TradesSettings, load
from pricecast_trades.covered import Covered
from pricecast_trades.source import Item, Refused, RefusedLine
from pricecast_trades.sources import replay
from pricecast_trades.sources.replay import ReplaySource

START = 1_600_000_200  # a multiple of 300


class Ends:
    """What has been written, held in memory.

    Args:
        items: All of it.
        cut: Whether older candles were written that are not kept any more.
    """

    def __init__(self, items: Iterable[Item] = (), *, cut: bool = False) -> None:
        self.items = list(items)
        self.cut = cut

    def last_trades(self) -> dict[str, list[Trade]]:
        last = {item.pair: item.timestamp_ms for item in self.items if isinstance(item, Trade)}
        trades = [item for item in self.items if isinstance(item, Trade)]
        return {pair: [t for t in trades if (t.pair, t.timestamp_ms) == (pair, ms)] for pair, ms in last.items()}

    def last_candles(self) -> dict[str, Candle]:
        return {item.pair: item for item in self.items if isinstance(item, Candle)}

    def covered(self) -> dict[str, Covered]:
        """The candles written, or those that the candles service has made of the trades."""
        candles = [item for item in self.items if isinstance(item, Candle)]
        windows: dict[tuple[str, int], Candle] = {}
        for trade in self.items:
            if isinstance(trade, Trade):
                candle = candle_of(trade)
                key = trade.pair, candle.window_start_ms
                windows[key] = candle if key not in windows else joined(windows[key], candle)
        found: dict[str, Covered] = {}
        for candle in (*candles, *windows.values()):
            found.setdefault(candle.pair, Covered(begins=not self.cut)).add(candle)
        return found

    def refused(self) -> frozenset[RefusedLine]:
        refused = [item for item in self.items if isinstance(item, Refused)]
        return frozenset((item.origin, item.position, item.value) for item in refused)


def candle_of(trade: Trade) -> Candle:
    start_ms = trade.timestamp_ms - trade.timestamp_ms % 60_000
    price = trade.price
    return Candle(
        pair=trade.pair,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=trade.volume,
        trade_count=1,
        window_start_ms=start_ms,
        window_end_ms=start_ms + 60_000,
        candle_seconds=60,
    )


def joined(one: Candle, other: Candle) -> Candle:
    high, low = max(one.high, other.high), min(one.low, other.low)
    return msgspec.structs.replace(one, high=high, low=low, close=other.close)


def make(files: list[Path], pairs: str = "BTC/USD", **options: Any) -> ReplaySource:
    chosen = TradesSettings(pipeline="t", pairs=pairs.split(","), source="replay", replay_files=files, **options)
    return ReplaySource(chosen, Stop())


def read(source: ReplaySource, written: Iterable[Item] = ()) -> list[Item]:
    return [item for batch in source.batches(Ends(written)) for item in batch]


def read_whole(files: list[Path], written: Iterable[Item] = (), **options: Any) -> list[Item]:
    """Reads made-up files of which much may be refused; such as are no market data at first sight are passed over."""
    try:
        source = make(files, **options)
    except SettingsError:
        reject()
    items: list[Item] = []
    with contextlib.suppress(SettingsError):  # told at the end, after all that is good
        for batch in source.batches(Ends(written)):
            items += batch
    return items


def plain(items: Iterable[Item]) -> list[Any]:
    """The items in a form that can be compared: two equal exceptions are not equal."""
    return [(i.origin, i.position, i.value, str(i.error)) if isinstance(i, Refused) else i for i in items]


def write(path: Path, lines: Iterable[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def seen(items: Iterable[Item]) -> list[float | str]:
    """The prices of trades, and the lines of refusals as text."""
    return [item.price if isinstance(item, Trade) else f"{item.position}" for item in items]  # type: ignore[union-attr]


def test_a_line_is_a_trade_or_refused_with_its_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["1600000000.1,10,1", "oops", "", "1600000000.1,10,1", "1600000001,11,2"])
    items = read(make([path]))
    assert seen(items) == [10, "2", 10, 11]
    assert items[-1] == Trade(pair="BTC/USD", price=11, volume=2, timestamp_ms=1600000001000)
    assert isinstance(items[1], Refused)
    assert items[1].value == b"oops"
    assert items[1].origin == str(path)


def test_files_of_a_pair_follow_one_another_in_time(tmp_path: Path) -> None:
    later = write(tmp_path / "a.csv", ["1600000100,3,1", "1600000101,4,1"])
    earlier = write(tmp_path / "b.csv", ["1600000000,1,1", "bad", "1600000001,2,1"])
    assert seen(read(make([later, earlier]))) == [1, "2", 2, 3, 4]


def test_another_file_of_the_pair_loses_no_row(tmp_path: Path) -> None:
    january = write(tmp_path / "a.csv", [f"{START + n},{n + 1},1" for n in range(50)])
    february = write(tmp_path / "b.csv", ["bad", *(f"{START + 49 + n},{n + 50},1" for n in range(80))])
    before = read(make([january]))
    assert seen(read(make([february]), before)) == ["1", *range(51, 130)]  # the boundary's trade is known


def trade_lines(first_minute: int, minutes: int) -> list[str]:
    return [f"{START + 60 * minute},{minute + 1},1" for minute in range(first_minute, first_minute + minutes)]


def bar_lines(first_minute: int, minutes: int) -> list[str]:
    return [bar(minute) for minute in range(first_minute, first_minute + minutes)]


@pytest.mark.parametrize("lines", [trade_lines, bar_lines])
@pytest.mark.parametrize(
    ("known", "given", "missing"),
    [
        ([(100, 50)], (0, 100), 100),  # an earlier file after a later one
        ([(100, 50)], (0, 160), 100),  # the whole history after a part of it
        ([(0, 50), (100, 50)], (20, 100), 50),  # what lies between two files
    ],
)
def test_rows_that_can_not_follow_any_more_end_the_replay_and_what_can_was_read(
    tmp_path: Path, lines: Any, known: list[tuple[int, int]], given: tuple[int, int], missing: int
) -> None:
    written: list[Item] = []
    for number, (first, minutes) in enumerate(known):
        written += read(make([write(tmp_path / f"{number}.csv", lines(first, minutes))], max_gap_candles=10), written)
    items: list[Item] = []
    source = make([write(tmp_path / "late.csv", lines(*given))], max_gap_candles=10)
    with pytest.raises(SettingsError, match=rf"BTC/USD: {missing} rows are older .*new folder \(--data-dir\)"):
        items.extend(item for batch in source.batches(Ends(written)) for item in batch)
    assert len(items) == max(0, sum(given) - sum(known[-1]))


@pytest.mark.parametrize("lines", [trade_lines, bar_lines])
def test_rows_that_were_read_and_are_not_kept_any_more_are_known(tmp_path: Path, lines: Any) -> None:
    path = write(tmp_path / "a.csv", lines(0, 100))
    kept = read(make([path]))[60:]
    assert [item for batch in make([path]).batches(Ends(kept, cut=True)) for item in batch] == []


def test_a_file_read_again_gives_nothing_and_a_longer_one_the_rest(tmp_path: Path) -> None:
    lines = [f"{START + n // 3},{n + 1},1" for n in range(50)] + ["bad"]
    path = write(tmp_path / "a.csv", lines)
    before = read(make([path]))
    assert read(make([path]), before) == []
    write(path, [*lines, f"{START + 16},99,1"])
    assert seen(read(make([path]), before)) == [99]


@pytest.mark.parametrize("overlap", [0, 1, 7])
def test_overlapping_files_are_read_once_and_resumed_anywhere(tmp_path: Path, overlap: int) -> None:
    whole = [f"{START + n // 4},{10 + n % 3},1" for n in range(40)]
    full, update = write(tmp_path / "a.csv", whole[:22]), write(tmp_path / "b.csv", whole[20 - overlap :])
    expected = read(make([write(tmp_path / "all.csv", whole)]))
    assert read(make([full, update])) == expected
    for cut in range(len(expected)):
        assert expected[:cut] + read(make([update, full]), expected[:cut]) == expected


def test_bars_of_which_most_are_missing_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [bar(0), bar(1), *map(bar, range(100, 150))])
    with pytest.raises(SettingsError, match=r"BTC/USD: 98 of 150 candles are filled"):
        read(make([path]))
    assert len(read(make([path], max_gap_candles=97))) == 52  # a gap that isn't filled is none


def test_trades_of_which_most_minutes_are_missing_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [f"{START + 60 * n},1,1" for n in (0, 1, 2, 10)])
    with pytest.raises(SettingsError, match=r"7 of 11 candles are filled"):
        read(make([path]))
    assert len(read(make([path], candle_seconds=300))) == 4


def test_a_file_of_mostly_refused_lines_is_told_once_all_that_is_good_was_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [f"{START + n},1,1" for n in range(20)] + ["bad"] * 10)
    batches = make([path]).batches(Ends())
    items = list(next(batches))
    assert len(items) == 30
    with pytest.raises(SettingsError, match=r"10 of 30 lines were refused \(the first: line 21: "):
        next(batches)


def test_pairs_are_merged_by_time(tmp_path: Path) -> None:
    btc = write(tmp_path / "a.csv", ["1600000000,1,1", "1600000004,1,1"])
    eth = write(tmp_path / "b.csv", ["1600000001,2,1", "1600000002,2,1", "1600000009,2,1"])
    items = read(make([btc, eth], "BTC/USD,ETH/USD"))
    assert [item.pair[:3] for item in items if isinstance(item, Trade)] == ["BTC", "ETH", "ETH", "BTC", "ETH"]


def test_files_are_told_apart_by_krakens_names(tmp_path: Path) -> None:
    names = ["XBTUSD_2.csv", "ETHUSD.csv", "XBTUSD.csv"]
    paths = [write(tmp_path / name, ["1600000000,1,1"]) for name in names]
    assert replay.assign(paths, ["ETH/USD", "BTC/USD"]) == {"ETH/USD": [paths[1]], "BTC/USD": [paths[0], paths[2]]}
    with pytest.raises(SettingsError, match="belongs to none"):
        replay.assign([*paths, *paths[:1], tmp_path / "SOLUSD.csv"], ["ETH/USD", "BTC/USD"])
    with pytest.raises(SettingsError, match="named for BTC/USD and stands in the place of ETH/USD"):
        replay.assign([paths[0], tmp_path / "x.csv"], ["ETH/USD", "BTC/USD"])
    with pytest.raises(SettingsError, match="no file for"):
        replay.assign([paths[0], paths[2], paths[2]], ["ETH/USD", "BTC/USD"])


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 2, 1, 3], [1, 2, "3", 4]),  # a small step back: the later line
        ([0, 1, 900_000, 2, 3], [1, 2, "3", 4, 5]),  # a leap: the line that leapt
        ([900_000, 1, 2], ["1", 2, 3]),
        ([0, 1, 900_000, 900_001], [1, 2, 3, 4]),  # a quiet week
        ([0, 1, 1, 1], [1, 2, 3, 4]),
        ([5, 1, 2, 6], ["1", 2, 3, 4]),  # nothing came before the first: it may as well be the one
    ],
)
def test_a_time_that_is_out_of_order_costs_one_row(tmp_path: Path, times: list[int], expected: list[int | str]) -> None:
    path = write(tmp_path / "a.csv", [f"{START + second},{line},1" for line, second in enumerate(times, 1)])
    items = read(make([path], max_gap_candles=0))
    assert seen(items) == expected
    assert {item.error.reason for item in items if isinstance(item, Refused)} <= {"out_of_order"}


LINES = st.lists(
    st.sampled_from(["bad", "", "{t},1,1", "{t},2,1", "{t},1,1", "{early},1,1", "{leap},1,1", "4102444800,1,1"]),
    min_size=1,
    max_size=40,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(LINES, st.data())
def test_resuming_after_any_item_gives_the_rest(tmp_path: Path, lines: list[str], data: st.DataObject) -> None:
    text = [
        line.format(t=START + number, early=START - 5, leap=START + 900_000 + number)
        for number, line in enumerate(lines)
    ]
    half = len(text) // 2
    first = write(tmp_path / "a.csv", [f"{START - 10},5,5", *text[:half]])
    second = write(tmp_path / "b.csv", [f"{START},5,5", *text[half:]])
    whole = read_whole([first, second])
    cut = data.draw(st.integers(0, len(whole)))
    assert plain(whole[:cut] + read_whole([first, second], whole[:cut])) == plain(whole)


def bar(minute: int, price: float = 10.0) -> str:
    return f"{START + minute * 60},{price},{price + 1},{price - 1},{price + 0.5},2,3"


def test_bars_are_closed_candles_and_quiet_minutes_flat_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [bar(0), bar(1, 20), bar(4, 30)])
    items = read(make([path]))
    candles = [item for item in items if isinstance(item, Candle)]
    assert candles == items
    assert [candle.window_start_ms // 1000 - START for candle in candles] == [0, 60, 120, 180, 240]
    assert candles[1].flat_after() == candles[2]
    assert candles[4] == Candle(
        pair="BTC/USD",
        open=30,
        high=31,
        low=29,
        close=30.5,
        volume=2,
        trade_count=3,
        window_start_ms=(START + 240) * 1000,
        window_end_ms=(START + 300) * 1000,
        candle_seconds=60,
    )


def test_bars_are_joined_to_longer_candles(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [bar(0, 10), bar(1, 12), bar(4, 9), bar(5, 20), bar(6, 21)])
    [candle] = read(make([path], candle_seconds=300))  # the second window may not be over
    assert isinstance(candle, Candle)
    assert (candle.open, candle.high, candle.low, candle.close) == (10, 13, 8, 9.5)
    assert (candle.volume, candle.trade_count, candle.candle_seconds) == (6, 9, 300)


def test_bars_that_do_not_fit_the_candles_are_a_mistake(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [bar(5 * number) for number in range(4)])
    with pytest.raises(SettingsError, match=r"candle_seconds: 60 is not a multiple of the file's bars of 300 s"):
        make([path])


def test_a_long_quiet_time_is_not_filled(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [*map(bar, range(100)), bar(198)])
    assert len(read(make([path], max_gap_candles=98))) == 199
    assert len(read(make([path], max_gap_candles=97))) == 101


def test_bars_out_of_step_are_refused(tmp_path: Path) -> None:
    odd = bar(2).replace(str(START + 120), str(START + 121))
    path = write(tmp_path / "a.csv", [bar(0), bar(1), odd, bar(1), bar(2), bar(3)])
    items = read(make([path]))
    assert [item.position for item in items if isinstance(item, Refused)] == [3]  # line 4 says again what line 2 said
    assert sum(isinstance(item, Candle) for item in items) == 4


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.sampled_from([0, 1, 1, 1, 2, 7]), min_size=2, max_size=30), st.data())
def test_resuming_bars_after_any_item_gives_the_rest(tmp_path: Path, steps: list[int], data: st.DataObject) -> None:
    minute, lines = 0, [bar(n) for n in range(-4, 0)]
    for step in steps:
        minute += step
        lines.append(bar(minute, 10 + minute) if step else "bad")
    path = write(tmp_path / "a.csv", lines)
    seconds = data.draw(st.sampled_from([60, 120]))
    whole = read_whole([path], candle_seconds=seconds)
    cut = data.draw(st.integers(0, len(whole)))
    assert plain(whole[:cut] + read_whole([path], whole[:cut], candle_seconds=seconds)) == plain(whole)


def test_files_without_such_names_belong_to_the_pairs_in_turn(tmp_path: Path) -> None:
    a, b, c, d = (tmp_path / f"{name}.csv" for name in "abcd")
    assert replay.assign([a, b, c, d], ["ETH/USD", "BTC/USD"]) == {"ETH/USD": [a, c], "BTC/USD": [b, d]}


def test_trades_and_bars_are_not_mixed(tmp_path: Path) -> None:
    files = [write(tmp_path / "a.csv", ["1600000000,1,1"]), write(tmp_path / "b.csv", [bar(0)])]
    with pytest.raises(SettingsError, match="hold different things"):
        make(files, "BTC/USD,ETH/USD")


def test_speed_is_a_multiple_of_the_files_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.csv", [f"{START + second},1,1" for second in (0, 1, 2, 60)])
    clock = Clock(monkeypatch)
    source = ReplaySource(
        TradesSettings(pipeline="t", pairs=["BTC/USD"], source="replay", replay_files=[path], replay_speed=10),
        clock,
    )
    given_at = [(round(clock.now, 1), len(batch)) for batch in source.batches(Ends())]
    assert given_at == [(0.0, 1), (0.1, 1), (0.2, 1), (6.0, 1)]


class Clock(Stop):
    """Time that passes only while somebody waits for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.now = 0.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return False


def test_replay_files_are_read_from_the_environment() -> None:
    environment = {"PIPELINE": "t", "PAIRS": "XBT/USD", "SOURCE": "replay", "REPLAY_FILES": json.dumps(["a,b.csv"])}
    assert load(TradesSettings, environment).replay_files == [Path("a,b.csv")]


def bars(path: Path, price: float, count: int, *, after: int = 0) -> Path:
    """Bars of a minute that go up by a ten-thousandth each."""
    rows = [(START + 60 * number, price * 1.0001**number) for number in range(after, after + count)]
    return write(path, [f"{time},{p},{p * 1.001},{p * 0.999},{p * 1.0001},1,3" for time, p in rows])


def trades_of(path: Path, price: float, count: int, *, after: int = 0) -> Path:
    numbers = range(after, after + count)
    return write(path, [f"{START + 20 * number},{price * 1.0001**number},1" for number in numbers])


@pytest.mark.parametrize("make_file", [bars, trades_of])
@pytest.mark.parametrize(
    ("name", "price", "after"),
    [
        ("later.csv", 2_500, 50),  # nothing in common but the pipeline
        ("later.csv", 2_500, 1_400),
        ("later.csv", 0.0000004, 50),
        ("later.csv", 2_500, 20),  # some times in common
        ("later.csv", 44_000, 20),  # the same coin in euros
        ("XBTUSD.csv", 44_000, 20),
        ("later.csv", 44_000, 50),  # in euros, and no times in common: a market doesn't jump so far in so short a time
        ("later.csv", 37_000, 60),
        ("ETHUSD.csv", 40_000, 50),  # near in price, and named for what it is
        ("eth/ETH-USDT_1m.csv", 40_000, 50),
    ],
)
def test_a_later_file_of_another_market_is_refused_before_anything_of_it_is_written(
    tmp_path: Path, make_file: Any, name: str, price: float, after: int
) -> None:
    first = read(make([make_file(tmp_path / "first.csv", 40_000, 50)]))
    (tmp_path / "eth").mkdir()
    source = make([make_file(tmp_path / name, price, 50, after=after)])
    with pytest.raises(SettingsError, match=r"another market; replay it into a new folder"):
        read(source, first)


@pytest.mark.parametrize("make_file", [bars, trades_of])
def test_rows_of_another_market_that_are_all_older_are_told_at_the_end(tmp_path: Path, make_file: Any) -> None:
    first = read(make([make_file(tmp_path / "first.csv", 40_000, 50)]))
    with pytest.raises(SettingsError, match=r"other prices than those of their time.* another market"):
        read(make([make_file(tmp_path / "other.csv", 2_500, 40)]), first)


@pytest.mark.parametrize("make_file", [bars, trades_of])
@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("a.csv", 50),
        ("a.csv", 10),
        ("ETHUSD.csv", 0),
        ("ETHUSD.csv", 49),
        ("XBTUSD_Q2.csv", 50),
        ("BTCUSDT-1m.csv", 50),
    ],
)
def test_the_same_market_goes_on_whatever_the_file_is_called(
    tmp_path: Path, make_file: Any, name: str, after: int
) -> None:
    first = read(make([make_file(tmp_path / "first.csv", 40_000, 50)]))
    rest = read(make([make_file(tmp_path / name, 40_000, 100 - after, after=after)]), first)
    assert len(first + rest) == 100


@pytest.mark.parametrize("make_file", [bars, trades_of])
def test_a_file_named_for_its_pair_goes_on_wherever_its_price_has_gone(tmp_path: Path, make_file: Any) -> None:
    first = make_file(tmp_path / "BTCUSD.csv", 40_000, 50)
    later = make_file(tmp_path / "XBTUSD_2.csv", 37_000, 50, after=50)
    assert len(read(make([first, later]))) == 100
    assert len(read(make([later]), read(make([first])))) == 50


@pytest.mark.parametrize("make_file", [bars, trades_of])
@pytest.mark.parametrize(("name", "days", "untold"), [("a.csv", 0, 0), ("a.csv", 200, 1), ("BTCUSD.csv", 200, 0)])
def test_that_nothing_tells_the_market_is_told(
    tmp_path: Path, make_file: Any, name: str, days: int, untold: int, capfd: pytest.CaptureFixture[str]
) -> None:
    first = read(make([make_file(tmp_path / "first.csv", 40_000, 50)]))
    later = make_file(tmp_path / name, 40_000, 50, after=50)
    lines = [line.split(",", 1) for line in later.read_text().split()]
    write(later, [f"{int(time) + days * 86_400},{rest}" for time, rest in lines])
    source = make([later])
    for batch in source.batches(Ends(first)):
        assert batch
    assert source._account()["untold"] == untold


@pytest.mark.parametrize("make_file", [bars, trades_of])
@pytest.mark.parametrize("after", [0, 20, 50])
@pytest.mark.parametrize("price", [2_500, 37_000])
def test_files_of_two_markets_are_no_history_of_one_pair(
    tmp_path: Path, make_file: Any, after: int, price: float
) -> None:
    files = [make_file(tmp_path / "a.csv", 40_000, 50), make_file(tmp_path / "b.csv", price, 50, after=after)]
    with pytest.raises(SettingsError, match=r"b\.csv: begins with [23].* another market's"):
        read(make(files))


def test_a_price_next_to_nothing_is_refused_as_another_markets_and_ends_nothing(tmp_path: Path) -> None:
    """Of these two prices the quotient is 0 as a float, which has no logarithm."""
    one = write(tmp_path / "a.csv", [f"{START},1e12,1"])
    other = write(tmp_path / "b.csv", [f"{START + 60},1e-320,1", f"{START + 120},1e12,1"])
    with pytest.raises(SettingsError, match=r"b\.csv: begins with .*e-321 .* another market's"):
        read(make([one, other]))


@given(
    step=st.floats(0.0001, 0.5),
    ups=st.lists(st.booleans(), min_size=2, max_size=60),
    cut=st.integers(1, 59),
    overlap=st.integers(0, 10),
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_wild_market_cut_into_two_files_is_one_market(
    tmp_path: Path, step: float, ups: list[bool], cut: int, overlap: int
) -> None:
    """Each trade moves the price, by up to half as much again, as a market without buyers may."""
    cut = min(cut, len(ups) - 1)
    lines, price = [], 1.0
    for number, up in enumerate(ups):
        price *= 1 + step if up else 1 - step
        lines.append(f"{START + 20 * number},{price},1")
    one, two = write(tmp_path / "a.csv", lines[:cut]), write(tmp_path / "b.csv", lines[max(0, cut - overlap) :])
    assert len(read(make([one, two]))) == len(lines)
    first = read(make([one]))
    assert len(first + read(make([two]), first)) == len(lines)
