"""What a market-data file holds, from a look at its beginning and its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from math import gcd
from pathlib import Path
from typing import Literal

from pricecast_core.errors import BadMessageError, SettingsError
from pricecast_core.files import markets, reading, rows
from pricecast_core.files.rows import EXPECTED, Kind

FEW = 5
"""So many lines of a file may be no rows, or out of order, without anybody having to look."""
_SAMPLE_LINES = 2_000
_MOST_DISORDER = 0.1
"""Share of the steps between rows that may go against the others before the file counts as unsorted."""


@dataclass(frozen=True, slots=True)
class MarketFile:
    """A file of trades or bars.

    Attributes:
        path: Where it is.
        kind: What its rows are.
        first_ms: Time of its oldest row.
        last_ms: Time of its newest row.
        spacing_ms: Length of a bar, judged by the steps between them; 0 for trades and for a single bar.
        backwards: Whether the newest row comes first, as some exchanges' downloads have it. Such a file is read from
            its end.
        moves: How its price moves, by its first lines; None if they are too few.
    """

    path: Path
    kind: Kind
    first_ms: int
    last_ms: int
    spacing_ms: int
    backwards: bool = False
    moves: markets.Moves | None = None


def survey(path: Path, expected: Literal["auto", "trades", "bars"] = "auto") -> MarketFile:
    """Returns what a file holds.

    Args:
        path: The file: CSV, or CSV packed as `.csv.gz`.
        expected: What it should hold; by default its columns tell.

    Raises:
        SettingsError: If it can't be read, or its first 2,000 lines are mostly no rows, or rows in no order of time.
    """
    seen: dict[Kind, list[tuple[int, float]]] = {"trades": [], "bars": []}
    bad, first_error = 0, ""
    for number, line in enumerate(islice(reading.lines(path), _SAMPLE_LINES), 1):
        if not line or line.isspace() or (number == 1 and rows.is_header(line)):
            first_error = first_error or (f"line {number}: only names of columns" if line.strip() else "")
            continue
        kind = (rows.kind_of(line) or "trades") if expected == "auto" else expected
        try:
            row = rows.parse(kind, line)
            seen[kind].append((row.time_ms, row.last))
        except BadMessageError as error:
            bad += 1
            first_error = first_error if bad > 1 else f"line {number}: {error}"
    kind = max(seen, key=lambda name: len(seen[name]))
    found = [time_ms for time_ms, _ in seen[kind]]
    if not found:
        raise SettingsError(f"{path}: has no usable line ({first_error or 'it is empty'}); give {EXPECTED}")
    others = bad + sum(map(len, seen.values())) - len(found)
    if others > max(FEW, len(found)):
        raise SettingsError(
            f"{path}: {others} of its first {others + len(found)} lines are no {kind} ({first_error}); give {EXPECTED}"
        )
    backwards = _run_backwards(path, found)
    first_ms, last_ms = found[0], _newest(kind, reading.last_lines(path), default=found[-1])
    if backwards:
        first_ms, last_ms = last_ms, first_ms
    spacing_ms = _spacing(found[::-1] if backwards else found) if kind == "bars" else 0
    return MarketFile(path, kind, first_ms, last_ms, spacing_ms, backwards, markets.moves_of(seen[kind]))


def common_kind(files: Sequence[MarketFile]) -> Kind:
    """Returns what all the files hold.

    Raises:
        SettingsError: If they hold different things.
    """
    kinds = {file.kind for file in files}
    if len(kinds) > 1:
        listed = ", ".join(f"{file.path}: {file.kind}" for file in files)
        raise SettingsError(f"replay: the files hold different things ({listed}); give trades alone or bars alone")
    return kinds.pop()


def _run_backwards(path: Path, times: Sequence[int]) -> bool:
    back = sum(later < earlier for earlier, later in pairwise(times))
    forth = sum(later > earlier for earlier, later in pairwise(times))
    few = min(back, forth)
    if few > FEW and few > _MOST_DISORDER * (back + forth):
        raise SettingsError(
            f"{path}: its rows are in no order of time ({back} of {back + forth} steps among the first rows go back); "
            "sort them by time"
        )
    return back > forth


def _newest(kind: Kind, backwards: Iterable[bytes], default: int) -> int:
    """Returns the time of the last row that is one: a last line may have been cut off."""
    for line in backwards:
        try:
            return rows.parse(kind, line).time_ms
        except BadMessageError:
            continue
    return default


def _spacing(times: Sequence[int]) -> int:
    steps = Counter(later - earlier for earlier, later in pairwise(times) if later > earlier)
    # Quiet bars are left out, so steps are multiples of the length; a step seen once may come from a corrupt time.
    usual = [step for step, count in steps.items() if count > 1] or list(steps)
    return gcd(*usual)
