"""Sums, means and extremes over bounded windows whose bits don't depend on where the data begins.

A feature used live is computed over the last few thousand rows, the same feature in training over all of them. A
running sum would give the two different roundings. Here a window of `w` rows is composed of windows of 1, 2, 4, 8 ...
rows, always in the same order, so that a value depends on the rows of its window alone: equal inputs, equal bits.
That costs log2(w) vectorised additions, whatever the length of the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_SMALLEST_RATIO = 1e-3
_HALF_LIVES = 8
_Combine = Callable[[Floats, Floats], Floats]


def lag(values: Floats, rows: int) -> Floats:
    """Returns the values of `rows` rows before; NaN where there are none."""
    if rows == 0:
        return values
    out = np.empty(len(values))
    out[:rows] = np.nan
    if rows < len(values):
        out[rows:] = values[:-rows]
    return out


class Windows:
    """Statistics of one series over trailing windows that end at each row, inclusive.

    A window that isn't full, or that holds a NaN, gives NaN.

    Args:
        values: The series, 1-D.
    """

    def __init__(self, values: Floats) -> None:
        self._values = np.ascontiguousarray(values, dtype=np.float64)
        self._sums = [self._values]
        self._maxima = [self._values]

    def sum(self, rows: int) -> Floats:
        """Returns the sum over the last `rows` rows."""
        return _compose(self._sums, rows, np.add)

    def mean(self, rows: int) -> Floats:
        """Returns the mean over the last `rows` rows."""
        return self.sum(rows) / rows

    def max(self, rows: int) -> Floats:
        """Returns the largest of the last `rows` rows."""
        return _compose(self._maxima, rows, np.maximum)


def _compose(levels: list[Floats], rows: int, combine: _Combine) -> Floats:
    """Returns the window of `rows` rows, made of the windows in `levels` of 1, 2, 4 ... rows, which grow as needed."""
    if rows < 1:
        raise ValueError(f"rows: {rows} is no window; give 1 or more")
    result: Floats | None = None
    covered, level = 0, 0
    while covered < rows:
        if level == len(levels):
            half = levels[-1]
            levels.append(combine(half, lag(half, 1 << (level - 1))))
        if rows >> level & 1:
            part = lag(levels[level], covered)
            result = part if result is None else combine(result, part)
            covered += 1 << level
        level += 1
    assert result is not None
    return result


def decayed_mean(values: Floats, half_life: int) -> Floats:
    """Returns an exponentially weighted mean, over a bounded window of eight half-lives or more; NaN until it is full."""
    decay, rows, total = 0.5 ** (1 / half_life), 1, values
    while rows < _HALF_LIVES * half_life:
        total = total + decay**rows * lag(total, rows)
        rows *= 2
    return np.asarray(total * (1 - decay) / (1 - decay**rows))


def decayed_rows(half_life: int) -> int:
    """Returns how many rows such a mean looks at."""
    return int(2 ** math.ceil(math.log2(_HALF_LIVES * half_life)))


def log_ratio(value: Floats, reference: Floats) -> Floats:
    """Returns the log of a ratio of two amounts of one unit, whatever the unit; nothing against nothing is 1 to 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = value / reference
    ratio[(value == 0) & (reference == 0)] = 1.0
    return np.asarray(np.log(np.clip(ratio, _SMALLEST_RATIO, 1 / _SMALLEST_RATIO)))
