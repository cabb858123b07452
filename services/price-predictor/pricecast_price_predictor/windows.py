"""Sums, means and extremes over bounded windows whose bits don't depend on where the data begins.

A feature used live is computed over the last few thousand rows, the same feature in training over all of them. A
running sum would give the two different roundings. Here a window of `w` rows is composed of windows of 1, 2, 4, 8 ...
rows, always in the same order, so that a value depends on the rows of its window alone: equal inputs, equal bits.
That costs log2(w) vectorised additions, whatever the length of the data.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_Combine = Callable[[Floats, Floats], Floats]


def lag(values: Floats, rows: int) -> Floats:
    """Returns the values of `rows` rows before; NaN where there are none."""
    if rows == 0:
        return values
    out = np.full(len(values), np.nan)
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
