"""What a model kind is: it fits, suggests hyper-parameters, predicts, and goes to bytes and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from pricecast_core.settings.price_predictor import LEAST_LEARNABLE
from pricecast_price_predictor import target
from pricecast_price_predictor.features import FeatureSpec, FeatureTable
from pricecast_price_predictor.windows import Floats

if TYPE_CHECKING:
    import optuna

    from pricecast_price_predictor.pool import Pool

_MIDDLE = 0.5
Parameters = Mapping[str, float]
"""Hyper-parameters by name; whole numbers are ints."""


@dataclass(frozen=True, slots=True)
class Compute:
    """What a fit may use.

    Attributes:
        threads: Threads.
        seed: Seed of everything random.
    """

    threads: int = 1
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Sample:
    """The rows of one pair that a model of one horizon is made from and judged on.

    Attributes:
        spec: The features in the table.
        table: Features.
        horizon: Horizon in rows.
        stop: The row after the last that may be learned from, outcomes included; by default all may.
        pool: Rows of all pairs, where several are trained.
    """

    spec: FeatureSpec
    table: FeatureTable
    horizon: int
    stop: int | None = None
    pool: Pool | None = None

    @property
    def known_ms(self) -> int:
        """Event time of the last row that may be learned from."""
        stop = len(self.table) if self.stop is None else self.stop
        return int(self.table.time_ms[stop - 1]) if stop > 0 else 0

    def until(self, stop: int) -> Sample:
        """Returns the sample with fewer rows to learn from."""
        return replace(self, stop=stop)

    def head(self, rows: int) -> Sample:
        """Returns the first rows, as if there were no others."""
        return replace(self, table=self.table.rows(0, rows), stop=None)

    def learnable(self) -> NDArray[np.intp]:
        """Returns the rows whose features are known and whose outcome lies before `stop`.

        Raises:
            ValueError: If there are too few to learn from.
        """
        stop = len(self.table) if self.stop is None else self.stop
        end = max(0, stop - self.horizon)
        known = target.has_outcome(self.table.observed, self.horizon)[:end]
        rows = np.flatnonzero(known & np.isfinite(self.table.scale[:end]))
        if len(rows) < LEAST_LEARNABLE:
            raise ValueError(f"rows: {len(rows)} are too few to learn from; give {LEAST_LEARNABLE} or more")
        return rows


@dataclass(frozen=True, slots=True)
class Raw:
    """What a model says of each row before calibration, in log-return.

    Attributes:
        lower: Width of the distribution below its middle.
        upper: Width above it; the same unless the kind knows of skew.
        median: The middle.
    """

    lower: Floats
    upper: Floats
    median: Floats

    @property
    def scale(self) -> Floats:
        """Width on both sides together."""
        return (self.lower + self.upper) / 2

    def standardise(self, returns: Floats) -> Floats:
        """Returns outcomes in units of the width on their side of the median."""
        off = returns - self.median
        return np.asarray(off / np.where(off < 0, self.lower, self.upper))

    def quantiles(self, ends: NDArray[np.float64], levels: Sequence[float]) -> NDArray[np.float64]:
        """Returns the quantiles for ends of shape (rows, levels), never crossing as long as the ends don't."""
        sides = [self.lower if level < _MIDDLE else self.upper for level in levels]
        return np.column_stack([self.median + side * ends[:, number] for number, side in enumerate(sides)])


class Fitted(Protocol):
    """A fitted model of one kind. It depends on nothing but the rows of the table that it is given."""

    def predict(self, table: FeatureTable) -> Raw:
        """Returns widths and middle of each row; NaN where the features aren't known yet."""

    def importance(self) -> dict[str, float]:
        """Returns each feature's share in what was learned, largest first; empty where the kind can't say."""

    def to_bytes(self) -> bytes:
        """Returns it as bytes. Nothing in them is executed on loading."""


class Kind(Protocol):
    """A way to make a model.

    Attributes:
        name: What artifacts, settings and reports call it.
        calibrated: Whether outcomes move its interval's ends and a median is tried. `Naive` is what it is.
    """

    name: str
    calibrated: bool

    def defaults(self) -> Parameters:
        """Returns the hyper-parameters used where none were searched for; empty where there are none."""

    def suggest(self, trial: optuna.Trial) -> Parameters:
        """Returns hyper-parameters to try."""

    def fit(self, sample: Sample, parameters: Parameters, compute: Compute) -> Fitted:
        """Fits on the learnable rows of a sample.

        Raises:
            ValueError: If there are too few.
        """

    def from_bytes(self, data: bytes, threads: int) -> Fitted:
        """Reads what `Fitted.to_bytes` gave.

        Raises:
            ValueError: If the bytes are no model of this kind.
        """
