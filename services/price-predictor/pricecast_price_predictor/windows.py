"""Sums and means over bounded windows whose bits don't depend on where the data begins.

A feature used live is computed over the last few thousand rows, the same feature in training over all of them. A
running sum would give the two different roundings. Here a window of `w` rows is composed of windows of 1, 2, 4, 8 ...
rows, always in the same order, so that a value depends on the rows of its window alone: equal inputs, equal bits.
That costs log2(w) vectorised additions, whatever the length of the data. Live, only the newest rows' windows are
wanted (`last`): then most of the arithmetic is on a handful of numbers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_SMALLEST_RATIO = 1e-3
_HALF_LIVES = 8


def lag(values: Floats, rows: int, last: int | None = None) -> Floats:
    """Returns the values of `rows` rows before; NaN where there are none.

    Args:
        values: One series, or several along the last axis.
        rows: How far back.
        last: For how many of the last rows; by default for all. The result may be a view of the values.
    """
    length = values.shape[-1]
    wanted = length if last is None else last
    stop = max(0, length - rows)
    if wanted <= stop:
        return values[..., stop - wanted : stop]
    out = np.empty((*values.shape[:-1], wanted))
    out[..., : wanted - stop] = np.nan
    out[..., wanted - stop :] = values[..., :stop]
    return out


class Windows:
    """Sums and means over trailing windows that end at each row, inclusive.

    A window that isn't full, or that holds a NaN, gives NaN.

    Args:
        values: One series, or several along the last axis.
        last: How many of the last rows are wanted; by default all.
    """

    def __init__(self, values: Floats, last: int | None = None) -> None:
        self._sums = [
            np.ascontiguousarray(values, dtype=np.float64)
        ]  # of 1, 2, 4 ... rows; each from its first full one
        self._last = values.shape[-1] if last is None else last

    def sum(self, rows: int) -> Floats:
        """Returns the sum over the last `rows` rows."""
        if rows < 1:
            raise ValueError(f"rows: {rows} is no window; give 1 or more")
        result: Floats | None = None
        covered = 0
        for level in range(rows.bit_length()):
            if level == len(self._sums):
                self._sums.append(_with_earlier(self._sums[-1], 1 << (level - 1)))
            if rows >> level & 1:
                part = lag(self._sums[level], covered, self._last)
                result = part if result is None else result + part
                covered += 1 << level
        assert result is not None
        return result

    def mean(self, rows: int) -> Floats:
        """Returns the mean over the last `rows` rows."""
        return self.sum(rows) / rows


def whole_sum(values: Floats) -> Floats:
    """Returns the sum over the whole last axis, with the bits of the window of that length, halving as it adds."""
    stop = values.shape[-1]
    result: Floats | None = None
    for level in range(stop.bit_length()):
        if values.shape[-1] >> level & 1:
            part = values[..., stop - (1 << level) : stop]
            for _ in range(level):
                part = part[..., 1::2] + part[..., ::2]
            result = part[..., 0] if result is None else result + part[..., 0]
            stop -= 1 << level
    assert result is not None
    return result


def decayed_means(values: Floats, half_lives: Sequence[int], last: int | None = None) -> list[Floats]:
    """Returns exponentially weighted means, over bounded windows of eight half-lives or more; NaN until they are full.

    Args:
        values: The series.
        half_lives: Half-lives in rows, the shortest first.
        last: For how many of the last rows; by default for all.
    """
    wanted = len(values) if last is None else last
    totals = np.tile(values[max(0, len(values) - wanted - decayed_rows(half_lives[-1])) :], (len(half_lives), 1))
    rows, found = 1, list[Floats]()
    for half_life in half_lives:
        while rows < _HALF_LIVES * half_life:
            totals = _with_earlier(totals, rows, _weights(tuple(half_lives[len(found) :]), rows))
            rows *= 2
        decay = 0.5 ** (1 / half_life)
        found.append(lag(totals[0], 0, wanted) * (1 - decay) / (1 - decay**rows))
        totals = totals[1:]
    return found


def decayed_sum(values: Floats, decay: float, rows: int) -> Floats:
    """Returns sums over `rows` rows, each row's value times `decay` to the power of its age; from the first full window.

    Args:
        values: The series.
        decay: What is left of a value a row later.
        rows: Length of the window, a power of two.
    """
    covered = 1
    while covered < rows:
        values = _with_earlier(values, covered, np.array(decay**covered))
        covered *= 2
    return values


@functools.cache
def _weights(half_lives: tuple[int, ...], rows: int) -> Floats:
    return np.array([[(0.5 ** (1 / half_life)) ** rows] for half_life in half_lives])


def decayed_rows(half_life: int) -> int:
    """Returns how many rows such a mean looks at."""
    return int(2 ** math.ceil(math.log2(_HALF_LIVES * half_life)))


def log_ratio(value: Floats, reference: Floats) -> Floats:
    """Returns the log of a ratio of two amounts of one unit, whatever the unit; nothing against nothing is 1 to 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = value / reference
    ratio[(value == 0) & (reference == 0)] = 1.0
    return np.asarray(np.log(np.minimum(np.maximum(ratio, _SMALLEST_RATIO), 1 / _SMALLEST_RATIO)))


def log_ratios(values: Mapping[str, Floats], reference: Floats) -> dict[str, Floats]:
    """Returns the log ratios of several amounts to one reference, by name: one call costs what one ratio costs."""
    return dict(zip(values, log_ratio(np.stack(list(values.values())), reference), strict=True))


def _with_earlier(values: Floats, rows: int, weight: Floats | None = None) -> Floats:
    """Returns each value plus the weighted one of `rows` rows before, from the first row that has one."""
    earlier = values[..., : max(0, values.shape[-1] - rows)]
    return values[..., rows:] + (earlier if weight is None else weight * earlier)
