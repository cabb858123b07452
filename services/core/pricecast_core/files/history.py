"""The files of one pair as one history: in order of time, each row once."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from pricecast_core.errors import SettingsError
from pricecast_core.files import markets
from pricecast_core.files.market_file import FEW, MarketFile
from pricecast_core.files.reading import BadLine, entries
from pricecast_core.files.rows import Row, TradeRow

_FEW_SHARE = 0.01
"""Of a long file, this share of the lines may be no rows before it is to be mended first."""


@dataclass(slots=True)
class Tally:
    """What became of a file's lines.

    Attributes:
        rows: Rows read.
        refused: Lines that are no rows, or rows out of order.
        repeated: Rows that another file, or the line before, holds as well.
        differing: Bars that another file gives for the same time with other values; those of the newer file count.
        first_error: Why the first refused line is none.
    """

    rows: int = 0
    refused: int = 0
    repeated: int = 0
    differing: int = 0
    first_error: str = ""

    @property
    def too_many_refused(self) -> bool:
        """Whether more than a few lines were refused."""
        return self.refused > max(FEW, _FEW_SHARE * (self.rows + self.refused))


class History:
    """The rows of one pair.

    Files may overlap: of the trades of one time, those that look alike count as often as the file that has most of
    them says; of the bars of one time, the one of the file that begins last counts.

    Args:
        files: What there is, all of one kind, in any order.
    """

    def __init__(self, files: Sequence[MarketFile]) -> None:
        self.files = sorted(files, key=lambda file: file.first_ms)
        self.tallies = [Tally() for _ in self.files]

    def __iter__(self) -> Iterator[tuple[int, Row | BadLine]]:
        """Yields rows, and lines that are none, with the time so far in ms.

        Raises:
            SettingsError: Where a file begins at a price that its market can't have gone to from the others'.
        """
        self.tallies = [Tally() for _ in self.files]
        streams = [self._read(index) for index in range(len(self.files))]
        if len(streams) == 1:
            for time_ms, _, row in streams[0]:
                yield time_ms, row
            return
        merged = self._of_one_market(heapq.merge(*streams, key=itemgetter(0)))
        for time_ms, group in groupby(merged, key=itemgetter(0)):
            for row in self._once([(index, row) for _, index, row in group]):
                yield time_ms, row

    def complaint(self) -> str | None:
        """Returns, after the last row, which file had more than a few lines refused, and why; None if none had."""
        for file, tally in zip(self.files, self.tallies, strict=True):
            if tally.too_many_refused:
                return (
                    f"{file.path}: {tally.refused:,} of {tally.rows + tally.refused:,} lines were refused (the first: "
                    f"{tally.first_error}); sort its rows by time and mend or remove what is no row"
                )
        return None

    def _read(self, index: int) -> Iterator[tuple[int, int, Row | BadLine]]:
        file, tally = self.files[index], self.tallies[index]
        early: list[BadLine] = []  # lines before the first row, which have no time
        begun = False
        for time_ms, row in entries(file.path, file.kind, spacing_ms=file.spacing_ms, backwards=file.backwards):
            if isinstance(row, BadLine):
                tally.refused += 1
                tally.first_error = tally.first_error or f"line {row.number}: {row.error}"
                if not begun:
                    early.append(row)
                    continue
            else:
                tally.rows += 1
                if row is None:
                    tally.repeated += 1
                    continue
                if not begun:
                    begun = True
                    yield from ((time_ms, index, line) for line in early)
            yield time_ms, index, row
        if not begun:
            yield from ((file.first_ms, index, line) for line in early)

    def _of_one_market(
        self, merged: Iterator[tuple[int, int, Row | BadLine]]
    ) -> Iterator[tuple[int, int, Row | BadLine]]:
        begun: set[int] = set()
        before: tuple[int, int, Row] | None = None
        for time_ms, index, row in merged:
            if not isinstance(row, BadLine):
                if before is not None and index not in begun:
                    earlier_ms, earlier, last = before
                    one, other = self.files[earlier], self.files[index]
                    moves = [file.moves for file in (one, other) if file.moves is not None]
                    alike = markets.named_pairs(one.path) & markets.named_pairs(other.path)
                    move = earlier_ms, last.last, time_ms, row.first
                    if markets.leaps(*move) or (not alike and markets.jumps(*move, moves)):
                        raise SettingsError(
                            f"{other.path}: begins with {markets.shown(time_ms, row.first)}, where "
                            f"{one.path} has {markets.shown(earlier_ms, last.last)}: it is another market's; "
                            "give each market a pair, or a pipeline, of its own. If it is the same one, name both files "
                            "for their pair, as in XBTUSD_1.csv and XBTUSD_2.csv"
                        )
                begun.add(index)
                before = time_ms, index, row
            yield time_ms, index, row

    def _once(self, group: list[tuple[int, Row | BadLine]]) -> Iterator[Row | BadLine]:
        """Yields the rows of one time, each once."""
        trades: Counter[Row] = Counter()
        of_file: Counter[tuple[int, Row]] = Counter()
        bar: Row | None = None
        for index, row in sorted(group, key=itemgetter(0)):
            if isinstance(row, BadLine):
                yield row
            elif isinstance(row, TradeRow):
                of_file[index, row] += 1
                if of_file[index, row] > trades[row]:
                    trades[row] += 1
                    yield row
                else:
                    self.tallies[index].repeated += 1
            else:
                if bar is not None:
                    self.tallies[index].repeated += 1
                    self.tallies[index].differing += row != bar
                bar = row
        if bar is not None:
            yield bar
