"""Files replayed: trades as trades, bars as closed candles, at full speed or at a multiple of real time.

The topics' end says where to go on: what is older than the last trade or candle there was read before, whatever file
it was in, and of the trades of that very time those that are there already are known. So a replay can be broken off
and begun again, and another file of the pair goes on where the one before ended. A stream doesn't go back in time: older
rows that were never read, as the candles tell, can't follow any more and end the replay with an error. So do rows of
another market: the prices of what was read before tell, or, where a file has none of these times, its name, and how far
its first price is from the last known one.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from pathlib import Path

from pricecast_core import files, logs
from pricecast_core.errors import SettingsError
from pricecast_core.files import FEW, FILES_READ, BadLine, BarRow, History, MarketFile, Row, TradeRow, markets
from pricecast_core.messages import Trade
from pricecast_core.service import Stop
from pricecast_core.settings import TradesSettings
from pricecast_core.values import kraken_v1_name
from pricecast_trades.bars import CandleBuilder, Coverage
from pricecast_trades.covered import Covered
from pricecast_trades.source import BATCH, Item, Refused, RefusedLine, Written

log = logs.get(__name__)
Timed = tuple[int, Item]
"""A time to order and to pace by, in ms, and an item."""


@dataclass(slots=True)
class _Pair:
    """One pair's history and what became of it in this run.

    Attributes:
        history: Its rows.
        coverage: How much of its time they cover.
        covered: Asks which times were read before; None where no candle of the pair is there.
        last: Time and price that the topics end with; None if they hold nothing of the pair.
        known: Rows that were read before.
        unread: Rows that were not, and that are older than what the topics hold.
        fitting: Of the rows of times that were read before, those whose prices are of the same market.
        strange: Those whose prices aren't.
        continued: Whether rows have come that are newer than what the topics hold.
        untold: Whether nothing tells if these are of the same market: no time in common, no name, and too long between, or
            too few rows.
    """

    pair: str
    history: History
    coverage: Coverage
    covered: Callable[[], Covered | None]
    last: tuple[int, float] | None = None
    known: int = 0
    unread: int = 0
    fitting: int = 0
    strange: int = 0
    continued: bool = False
    untold: bool = False

    def leave_out(self, time_ms: int, row: Row) -> None:
        """Counts a row that is older than the newest in the topics."""
        covered = self.covered()
        if covered is None or covered.has(time_ms, row.volume):
            self.known += 1
        else:
            self.unread += 1
        fits = None if covered is None else covered.fits(time_ms, row.last)
        self.fitting += fits is True
        self.strange += fits is False

    def go_on(self, time_ms: int, row: Row) -> None:
        """Takes the first row that is newer than what the topics hold.

        Raises:
            SettingsError: If it is another market's.
        """
        self.continued = True
        if self.last is None:
            return
        last_ms, last = self.last
        files = self.history.files
        if self.fitting + self.strange:
            foreign = self.is_foreign
        elif any(markets.is_named_for(file.path, self.pair) for file in files):
            foreign = markets.leaps(last_ms, last, time_ms, row.first)
        else:
            moves = [file.moves for file in files if file.moves is not None]
            named = any(markets.is_named_for_another(file.path, self.pair) for file in files)
            foreign = named or markets.jumps(last_ms, last, time_ms, row.first, moves)
            self.untold = not markets.can_tell(time_ms - last_ms, moves)
        if foreign:
            raise SettingsError(f"replay_files: {self.complaint(f'go on with {markets.shown(time_ms, row.first)}')}")

    @property
    def is_foreign(self) -> bool:
        """Whether most rows of times that were read before have prices of another market."""
        return self.strange > self.fitting

    def complaint(self, what: str) -> str:
        """Returns what to do about files of another market.

        Args:
            what: What is strange about them, after "they".
        """
        assert self.last is not None
        paths = ", ".join(str(file.path) for file in self.history.files)
        return (
            f"{paths}: {what}, and what was replayed before for {self.pair} ends with {markets.shown(*self.last)}: that is "
            "another market; replay it into a new folder (--data-dir) or pipeline. If it is the same one, name the file for "
            f"it ({self.pair.replace('/', '')}.csv), or replay all its files at once into a new one"
        )


class ReplaySource:
    """Market-data files, those of each pair as one history, pairs side by side by time.

    Args:
        settings: Pairs, files, format and speed.
        stop: Ends it.

    Raises:
        SettingsError: If a file can't be read, belongs to no pair, or doesn't fit the others or the candles.
    """

    def __init__(self, settings: TradesSettings, stop: Stop) -> None:
        self._settings = settings
        self._stop = stop
        found = {path: files.survey(path, settings.replay_format) for path in settings.replay_files}
        self._kind = files.common_kind(list(found.values()))
        paths = assign(settings.replay_files, settings.pairs)
        self._histories = {pair: History([found[path] for path in of]) for pair, of in paths.items()}
        self._bar_ms = 0 if self._kind == "trades" else _bar_length(found.values(), settings.candle_seconds)
        self._pairs = self._begin(dict)

    def batches(self, written: Written) -> Iterator[Sequence[Item]]:
        """Yields what comes after what is written, to the end of the files.

        Raises:
            SettingsError: At the end, if more than a few lines of a file were refused, or rows are older than what was
                read before, or most candles are filled.
        """
        settings = self._settings
        refused = written.refused()
        self._pairs = self._begin(cache(written.covered))  # asked for only where there is something older
        if self._kind == "trades":
            trades = written.last_trades()
            for pair, known in trades.items():
                self._pairs[pair].last = known[-1].timestamp_ms, known[-1].price
            streams = [_trades(pair, one, trades.get(pair, ()), refused) for pair, one in self._pairs.items()]
        else:
            candles = written.last_candles()
            streams = []
            for pair, one in self._pairs.items():
                if pair in candles:
                    one.last = candles[pair].window_end_ms, candles[pair].close
                builder = CandleBuilder(
                    pair, settings.candle_seconds, self._bar_ms, settings.max_gap_candles, candles.get(pair)
                )
                streams.append(_candles(builder, one, refused, self._bar_ms))
        items = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=itemgetter(0))
        yield from paced(items, settings.replay_speed, settings.commit_interval_seconds, self._stop)
        if not self._stop.is_set():
            log.info(FILES_READ, **self._account())
            self._check()

    def ready(self) -> str | None:
        """Always ready."""
        return None

    def alive(self) -> str | None:
        """Always alive."""
        return None

    def _account(self) -> dict[str, int]:
        """Returns what became of the files' lines."""
        histories = self._histories.values()
        tallies = [tally for history in histories for tally in history.tallies]
        return {
            "rows": sum(tally.rows for tally in tallies),
            "refused": sum(tally.refused for tally in tallies),
            "known": sum(one.known for one in self._pairs.values()),
            "unread": sum(one.unread for one in self._pairs.values()),
            "repeated": sum(tally.repeated for tally in tallies),
            "differing": sum(tally.differing for tally in tallies),
            "continued": sum(one.continued and one.last is not None for one in self._pairs.values()),
            "untold": sum(one.untold for one in self._pairs.values()),
            "misnamed": sum(
                markets.is_named_for_another(file.path, pair)
                for pair, history in self._histories.items()
                for file in history.files
            ),
            "backwards": sum(file.backwards for history in histories for file in history.files),
        }

    def _begin(self, covered: Callable[[], Mapping[str, Covered]]) -> dict[str, _Pair]:
        length_ms, max_gap = self._settings.candle_seconds * 1000, self._settings.max_gap_candles
        return {
            pair: _Pair(pair, history, Coverage(length_ms, max_gap), lambda pair=pair: covered().get(pair))  # type: ignore[misc]
            for pair, history in self._histories.items()
        }

    def _check(self) -> None:
        complaints = [text for history in self._histories.values() if (text := history.complaint()) is not None]
        for pair, one in self._pairs.items():
            if one.strange > FEW and one.is_foreign:
                complaints.append(one.complaint(f"{one.strange:,} rows have other prices than those of their time"))
            if one.unread > FEW:
                complaints.append(
                    f"{pair}: {one.unread:,} rows are older than what was replayed before, where they are missing: a stream "
                    "doesn't go back in time; replay all files at once into a new folder (--data-dir) or pipeline"
                )
            made, filled = one.coverage.made, one.coverage.filled
            if filled > made:
                complaints.append(
                    f"{pair}: {filled:,} of {made + filled:,} candles are filled, for want of rows; give whole files, "
                    f"or longer candles (spec.candles.seconds: {self._settings.candle_seconds})"
                )
        if complaints:
            raise SettingsError("replay_files: " + "; ".join(complaints))


def assign(paths: Sequence[Path], names: Sequence[str]) -> dict[str, list[Path]]:
    """Returns the files of each pair: by Kraken's file names where all have one, else by the order of the pairs.

    Raises:
        SettingsError: If a file or a pair is left over, or a file's name says another pair than its place.
    """
    if len(names) == 1:
        return {names[0]: list(paths)}
    stems = {spelt.replace("/", ""): name for name in names for spelt in (name, kraken_v1_name(name))}
    beginnings = [path.name.partition(".")[0].partition("_")[0] for path in paths]
    named = [stems.get(beginning) or stems.get(beginning.upper()) for beginning in beginnings]
    if None in named and len(paths) % len(names):
        raise SettingsError(
            f"replay_files: {paths[named.index(None)]} belongs to none of {', '.join(names)}; give one file a pair in "
            "the order of the pairs, or name the files as Kraken does (XBTUSD.csv, XBTUSD_1.csv)"
        )
    by_order = [names[index % len(names)] for index in range(len(paths))]
    places = by_order if None in named else [name or "" for name in named]
    for path, name, place in zip(paths, named, places, strict=True):
        if name is not None and name != place:
            raise SettingsError(
                f"replay_files: {path} is named for {name} and stands in the place of {place}; give the files in the "
                f"order of the pairs: {', '.join(names)}"
            )
    assigned = {name: [path for path, place in zip(paths, places, strict=True) if place == name] for name in names}
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


def _bar_length(found: Collection[MarketFile], candle_seconds: int) -> int:
    lengths = {file.spacing_ms for file in found if file.spacing_ms}
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


def _trades(pair: str, one: _Pair, last: Sequence[Trade], refused: Collection[RefusedLine]) -> Iterator[Timed]:
    last_ms = last[-1].timestamp_ms if last else 0
    at_end = Counter((trade.price, trade.volume) for trade in last)
    for time_ms, row in one.history:
        if isinstance(row, BadLine):
            if (letter := _letter(row, time_ms, last_ms, refused)) is not None:
                yield time_ms, letter
        elif isinstance(row, TradeRow):
            if time_ms < last_ms:
                one.leave_out(time_ms, row)
                continue
            if time_ms == last_ms and at_end[row.price, row.volume] > 0:
                at_end[row.price, row.volume] -= 1
                one.known += 1
                one.fitting += 1
                continue
            if not one.continued:
                one.go_on(time_ms, row)
            one.coverage.add(time_ms)
            yield time_ms, Trade(pair=pair, price=row.price, volume=row.volume, timestamp_ms=time_ms)


def _candles(builder: CandleBuilder, one: _Pair, refused: Collection[RefusedLine], bar_ms: int) -> Iterator[Timed]:
    last_ms = builder.last_end_ms
    for time_ms, row in one.history:
        if isinstance(row, BadLine):
            if (letter := _letter(row, time_ms, last_ms - bar_ms, refused)) is not None:  # the last bar's start
                yield time_ms, letter
        elif isinstance(row, BarRow):
            if time_ms < last_ms:
                one.leave_out(time_ms, row)
                continue
            if not one.continued:
                one.go_on(time_ms, row)
            one.coverage.add(time_ms)
            for candle in builder.add(row):
                yield candle.window_end_ms, candle


def _letter(line: BadLine, time_ms: int, last_ms: int, refused: Collection[RefusedLine]) -> Refused | None:
    """Returns the refusal of a line, or None if it was refused before."""
    if time_ms < last_ms or (str(line.path), line.number, line.line) in refused:
        return None
    return Refused(line.error, str(line.path), line.number, line.line)
