"""Files replayed: Kraken's trades as trades, its bars as closed candles, at full speed or at a multiple of real time.

Reading is deterministic and a trade's id is its line among the lines of its pair, so the topics' end says exactly
where to go on. A row that goes back in time is refused, or the one before it, where that one had leapt ahead: one
corrupt timestamp then costs one row.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

from pricecast_core.errors import BadMessageError, SettingsError
from pricecast_core.messages import Trade
from pricecast_core.service import Stop
from pricecast_core.settings import TradesSettings
from pricecast_core.values import kraken_v1_name
from pricecast_trades import csv_rows
from pricecast_trades.bars import CandleBuilder
from pricecast_trades.csv_rows import BarRow, Sample, TradeRow
from pricecast_trades.source import BATCH, Item, Refused, Written

R = TypeVar("R", TradeRow, BarRow)
Timed = tuple[int, Item]
"""A time to order and to pace by, in ms, and an item."""

_LEAP_MS = 86_400_000
"""A row that is so far ahead of the one before it and of the one after it is taken for corrupt."""
_MAX_PENDING = 1_000


class ReplaySource:
    """CSV files, each pair's one after another, pairs side by side by time.

    Args:
        settings: Pairs, files, format and speed.
        stop: Ends it.

    Raises:
        SettingsError: If a file can't be read, belongs to no pair, or doesn't fit the others or the candles.
    """

    def __init__(self, settings: TradesSettings, stop: Stop) -> None:
        self._settings = settings
        self._stop = stop
        files = assign(settings.replay_files, settings.pairs)
        samples = {path: csv_rows.sample(path, settings.replay_format) for of in files.values() for path in of}
        kinds = {found.kind for found in samples.values()}
        if len(kinds) > 1:
            raise SettingsError("replay_files: some hold trades and some hold bars; replay one kind at a time")
        self._kind = kinds.pop()
        self._files = {pair: sorted(of, key=lambda path: samples[path].first_ms) for pair, of in files.items()}
        self._bar_ms = 0 if self._kind == "trades" else _bar_length(samples, settings.candle_seconds)

    def batches(self, written: Written) -> Iterator[Sequence[Item]]:
        """Yields what comes after what is written, to the end of the files."""
        refused = written.last_refused()
        if self._kind == "trades":
            last = written.last_trades()
            streams = [
                _trades(pair, files, last[pair][-1] if pair in last else None, refused)
                for pair, files in self._files.items()
            ]
        else:
            settings = self._settings
            candles = written.last_candles()
            streams = [
                _candles(
                    CandleBuilder(
                        pair, settings.candle_seconds, self._bar_ms, settings.max_gap_candles, candles.get(pair)
                    ),
                    files,
                    self._bar_ms,
                    refused,
                )
                for pair, files in self._files.items()
            ]
        items = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=itemgetter(0))
        yield from paced(items, self._settings.replay_speed, self._settings.commit_interval_seconds, self._stop)

    def ready(self) -> str | None:
        """Always ready."""
        return None

    def alive(self) -> str | None:
        """Always alive."""
        return None


def assign(files: Sequence[Path], names: Sequence[str]) -> dict[str, list[Path]]:
    """Returns the files of each pair: all of the only one, one each in their order, or by Kraken's file names.

    Raises:
        SettingsError: If a file or a pair is left over.
    """
    if len(names) == 1:
        return {names[0]: list(files)}
    if len(files) == len(names):
        return {name: [path] for name, path in zip(names, files, strict=True)}
    stems = {spelt.replace("/", ""): name for name in names for spelt in (name, kraken_v1_name(name))}
    assigned: dict[str, list[Path]] = {name: [] for name in names}
    for path in files:
        stem = path.name.partition(".")[0].partition("_")[0]
        name = stems.get(stem) or stems.get(stem.upper())
        if name is None:
            raise SettingsError(
                f"replay_files: {path} belongs to none of {', '.join(names)}; give one file a pair in the order of "
                "the pairs, or name the files as Kraken does (XBTUSD.csv, XBTUSD_1.csv)"
            )
        assigned[name].append(path)
    for name, of_pair in assigned.items():
        if not of_pair:
            raise SettingsError(f"replay_files: has no file for {name}; add one or drop the pair")
    return assigned


def paced(items: Iterator[Timed], speed: float, interval_seconds: float, stop: Stop) -> Iterator[Sequence[Item]]:
    """Yields items in batches, as fast as it goes (speed 0) or at `speed` times the pace of their times."""
    batch: list[Item] = []
    start: tuple[int, float] | None = None
    for time_ms, item in items:
        if speed:
            if start is None:
                start = time_ms, time.monotonic()
            while (ahead := (time_ms - start[0]) / 1000 / speed - (time.monotonic() - start[1])) > 0:
                if batch:
                    yield batch
                    batch = []
                elif stop.wait(max(interval_seconds, min(ahead, 1.0))):
                    return
        batch.append(item)
        if len(batch) >= BATCH:
            yield batch
            batch = []
            if stop.is_set():
                return
    if batch:
        yield batch


def _bar_length(samples: Mapping[Path, Sample], candle_seconds: int) -> int:
    lengths = {found.spacing_ms for found in samples.values() if found.spacing_ms}
    if len(lengths) > 1:
        raise SettingsError(f"replay_files: hold bars of different lengths ({_seconds(lengths)}); replay one at a time")
    length_ms = lengths.pop() if lengths else candle_seconds * 1000
    if candle_seconds * 1000 % length_ms:
        raise SettingsError(
            f"candle_seconds: {candle_seconds} is not a multiple of the file's bars of {length_ms / 1000:g} s"
        )
    return length_ms


def _seconds(lengths_ms: set[int]) -> str:
    return ", ".join(f"{length / 1000:g} s" for length in sorted(lengths_ms))


def _trades(pair: str, files: Sequence[Path], last: Trade | None, refused: Mapping[str, int]) -> Iterator[Timed]:
    last_id = (last.trade_id or 0) if last is not None else 0
    after_ms = last.timestamp_ms if last is not None else 0
    first_line = 0  # of the file, among all of the pair

    def after(path: Path) -> int:
        return max(last_id - first_line, refused.get(str(path), 0))

    for path in files:
        lines = 0
        for time_ms, number, row in ordered(path, csv_rows.parse_trade, after(path), after_ms):
            lines = number
            if isinstance(row, Refused):
                yield time_ms, row
            elif row is not None:
                after_ms = time_ms
                yield (
                    time_ms,
                    Trade(
                        pair=pair,
                        price=row.price,
                        volume=row.volume,
                        trade_id=first_line + number,
                        timestamp_ms=time_ms,
                    ),
                )
        first_line += lines


def _candles(builder: CandleBuilder, files: Sequence[Path], bar_ms: int, refused: Mapping[str, int]) -> Iterator[Timed]:
    def parse(line: bytes) -> BarRow:
        bar = csv_rows.parse_bar(line)
        if bar.time_ms % bar_ms:
            raise BadMessageError(f"timestamp: {bar.time_ms} ms is no multiple of the bars' length", "timestamp")
        return bar

    after_ms = 0
    for path in files:
        for time_ms, number, row in ordered(path, parse, 0, after_ms, strictly=True):
            if isinstance(row, Refused):
                if number > refused.get(str(path), 0):
                    yield time_ms, row
            elif row is not None:
                after_ms = time_ms
                for candle in builder.add(row):
                    yield candle.window_end_ms, candle


def ordered(
    path: Path, parse: Callable[[bytes], R], skip: int, after_ms: int, *, strictly: bool = False
) -> Iterator[tuple[int, int, R | Refused | None]]:
    """Yields the rows of a file in the order of its lines, refusing those that go back in time.

    Args:
        path: The file.
        parse: Makes a row of a line.
        skip: How many lines to pass over.
        after_ms: Time of the row before the first.
        strictly: Whether two rows of one time are an error.

    Yields:
        The time so far, the line's number from 1, and the row or why it is none; at last the number of lines and None.
    """
    pending: list[tuple[int, int, R | Refused]] = []  # the newest row, unless it proves corrupt, and what follows
    newest: tuple[int, bytes] | None = None  # time and line of pending[0], while it is a row
    number = 0
    for number, line in enumerate(csv_rows.lines(path), 1):
        if number <= skip or not line or line.isspace():
            continue
        try:
            row = parse(line)
            time_ms = row.time_ms
            limit_ms = newest[0] if newest is not None else after_ms
            if time_ms < limit_ms or (strictly and time_ms == limit_ms):
                if newest is None or newest[0] - after_ms <= _LEAP_MS or time_ms < after_ms:
                    raise _out_of_order(time_ms, limit_ms)
                leapt = Refused(_out_of_order(newest[0], time_ms), str(path), pending[0][1], newest[1])
                pending[0] = (after_ms, pending[0][1], leapt)
            elif newest is not None:
                after_ms = newest[0]
            yield from pending
            pending = [(time_ms, number, row)]
            newest = time_ms, line
        except BadMessageError as error:
            pending.append(
                (newest[0] if newest is not None else after_ms, number, Refused(error, str(path), number, line))
            )
            if len(pending) > _MAX_PENDING or newest is None:
                yield from pending
                pending = []
                after_ms = newest[0] if newest is not None else after_ms
                newest = None
    yield from pending
    yield after_ms, number, None


def _out_of_order(time_ms: int, other_ms: int) -> BadMessageError:
    return BadMessageError(
        f"timestamp: {time_ms} ms and {other_ms} ms are out of order", "timestamp", reason="out_of_order"
    )
