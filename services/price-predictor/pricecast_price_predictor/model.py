"""The price model: how wide the next return's distribution is, where its middle lies, where its ends lie.

    quantiles of the return = median + scale * (lower end, 0, upper end)

- The scale is what the model kind says (`models`). It is where skill is to be had.
- The median is a ridge regression of the standardised return on short-term returns and oscillators, shrunk hard. It is
  used only where it beat the last close out of sample; else it is zero.
- The ends are measured, not assumed, and tracked live (`conformal`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from pricecast_core.errors import StoreError
from pricecast_price_predictor import conformal, novelty, target
from pricecast_price_predictor.features import FeatureSpec, FeatureTable
from pricecast_price_predictor.models import kinds
from pricecast_price_predictor.models.base import Compute, Fitted, Parameters, Raw, Sample
from pricecast_price_predictor.windows import Floats

FORMAT = 4
"""4: what the rows learned from looked like. An artifact of another format is refused: train again."""
_STANDARDISED_BOUND = 6.0
_INPUT_BOUND = 4.0
_RIDGE_PER_ROW = 2.0
_MEDIAN_INPUTS = ("return_", "close_in_range", "rsi_14", "stochrsi_k", "bbands_middle", "sma_21")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is made.

    Attributes:
        kind: Its kind.
        parameters: Hyper-parameters; none takes the kind's defaults.
        compute: Threads and seed.
    """

    kind: str = kinds.DEFAULT
    parameters: Parameters | None = None
    compute: Compute = field(default_factory=Compute)


class MedianModel(msgspec.Struct, frozen=True):
    """A ridge regression of the standardised return on bounded, standardised inputs, without an intercept."""

    inputs: tuple[str, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    weights: tuple[float, ...]

    def predict(self, table: FeatureTable) -> Floats:
        """Returns the median in units of the scale; an input not known yet counts as its mean."""
        if not self.inputs:
            return np.zeros(len(table))
        out = np.zeros(len(table))
        for name, mean, deviation, weight in zip(self.inputs, self.means, self.deviations, self.weights, strict=True):
            out += weight * (_bounded(table, name, mean) - mean) / deviation
        return out

    @classmethod
    def fit(cls, table: FeatureTable, standardised: Floats, rows: NDArray[np.intp]) -> MedianModel:
        """Fits on some rows.

        Args:
            table: Features.
            standardised: Return over the horizon in units of the scale, for every row of the table.
            rows: The rows to learn from.
        """
        names = tuple(name for name in table.names if name.startswith(_MEDIAN_INPUTS[0]) or name in _MEDIAN_INPUTS)
        inputs = np.column_stack([_bounded(table, name, 0.0)[rows] for name in names])
        means, deviations = inputs.mean(axis=0), inputs.std(axis=0)
        used = deviations > 1e-9
        names = tuple(name for name, use in zip(names, used, strict=True) if use)
        inputs = (inputs[:, used] - means[used]) / deviations[used]
        wanted = np.clip(standardised[rows], -_STANDARDISED_BOUND, _STANDARDISED_BOUND)
        penalty = _RIDGE_PER_ROW * len(rows) * np.eye(len(names))
        weights = np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ wanted)
        return cls(names, tuple(means[used].tolist()), tuple(deviations[used].tolist()), tuple(weights.tolist()))


class _Header(msgspec.Struct, frozen=True):
    format: int
    kind: str = ""


class _Artifact(msgspec.Struct, frozen=True):
    format: int
    kind: str
    candle_seconds: int
    indicators: tuple[str, ...]
    companions: tuple[str, ...]
    news: bool
    horizon_rows: int
    parameters: dict[str, float]
    median: MedianModel
    use_median: bool
    ends: conformal.Ends
    trained_through_ms: int
    fitted: bytes
    reference: novelty.Reference | None


@dataclass(frozen=True)
class PriceModel:
    """A trained model of one pair and one horizon.

    Attributes:
        kind: What kind the fitted part is of.
        spec: The features it needs.
        horizon_rows: How many rows ahead it looks.
        parameters: What it was trained with.
        fitted: Says how wide the distribution is.
        median_model: Regression of the median.
        use_median: False where the median is the last close.
        ends: Ends of the levels in units of the scale, before live outcomes move them.
        trained_through_ms: Event time of the newest row whose outcome was learned from.
        reference: What the rows learned from looked like; None where they were of too few days to say so.
    """

    kind: str
    spec: FeatureSpec
    horizon_rows: int
    parameters: Parameters
    fitted: Fitted
    median_model: MedianModel
    use_median: bool
    ends: conformal.Ends
    trained_through_ms: int
    reference: novelty.Reference | None

    def predict(self, table: FeatureTable) -> Raw:
        """Returns widths and median of each row; NaN where the local volatility isn't known yet."""
        raw = self.fitted.predict(table)
        return replace(raw, median=self.median_model.predict(table) * raw.scale) if self.use_median else raw

    def situation(self, table: FeatureTable) -> conformal.Situation:
        """Returns what the calibrator is to know of each row."""
        distance = np.zeros(len(table)) if self.reference is None else self.reference.distance(table)
        return conformal.Situation(conformal.state(table), table.time_ms, distance)

    def calibrator(self, levels: Sequence[float]) -> conformal.Calibrator:
        """Returns a calibrator of some levels that starts from the model's ends."""
        if not self.is_calibrated:
            return conformal.Calibrator(self.ends, levels, 0.0)
        rate = conformal.learning_rate(self.horizon_rows, self.spec.candle_seconds)
        return conformal.Calibrator(self.ends, levels, rate, conformal.GROUP_RATE / self.horizon_rows)

    def with_median(self, use: bool) -> PriceModel:
        """Returns the model with its median used or not. The ends are left as they are."""
        return replace(self, use_median=use and self.is_calibrated)

    def judged(self, *, use_median: bool, ends: conformal.Ends) -> PriceModel:
        """Returns the model with what out-of-sample outcomes said; one that isn't calibrated stays as it is."""
        return replace(self, use_median=use_median, ends=ends) if self.is_calibrated else self

    @property
    def is_calibrated(self) -> bool:
        """Whether outcomes move its ends."""
        return kinds.kind_of(self.kind).calibrated

    def importance(self) -> dict[str, float]:
        """Returns each feature's share in what was learned, largest first."""
        return self.fitted.importance()

    def to_bytes(self) -> bytes:
        """Returns the model as bytes: MessagePack around the kind's own. Nothing in it is executed on loading."""
        return msgspec.msgpack.encode(
            _Artifact(
                format=FORMAT,
                kind=self.kind,
                candle_seconds=self.spec.candle_seconds,
                indicators=self.spec.indicators,
                companions=self.spec.companions,
                news=self.spec.news,
                horizon_rows=self.horizon_rows,
                parameters=dict(self.parameters),
                median=self.median_model,
                use_median=self.use_median,
                ends=self.ends,
                trained_through_ms=self.trained_through_ms,
                fitted=self.fitted.to_bytes(),
                reference=self.reference,
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes, threads: int = 1) -> PriceModel:
        """Reads a model.

        Args:
            data: What `to_bytes` gave.
            threads: Threads for predicting: one is fastest for single rows.

        Raises:
            StoreError: If the bytes are no model of this format, or of a kind that isn't known.
        """
        try:
            header = msgspec.msgpack.decode(data, type=_Header)
            if header.format != FORMAT:
                raise StoreError(f"artifact: format {header.format} is not {FORMAT}; train again with this version")
            if header.kind not in kinds.KINDS:
                raise StoreError(f"artifact: model kind {header.kind!r} is unknown; train again with this version")
            stored = msgspec.msgpack.decode(data, type=_Artifact)
            fitted = kinds.KINDS[stored.kind].from_bytes(stored.fitted, threads)
        except (msgspec.DecodeError, ValueError) as error:
            raise StoreError(f"artifact: is no price model ({error}); train again") from None
        return cls(
            kind=stored.kind,
            spec=FeatureSpec(stored.candle_seconds, stored.indicators, stored.companions, stored.news),
            horizon_rows=stored.horizon_rows,
            parameters=stored.parameters,
            fitted=fitted,
            median_model=stored.median,
            use_median=stored.use_median,
            ends=stored.ends,
            trained_through_ms=stored.trained_through_ms,
            reference=stored.reference,
        )


def fit(sample: Sample, recipe: Recipe | None = None) -> PriceModel:
    """Trains a model on the rows before the sample's `stop`, outcomes included: it knows nothing of later ones.

    Args:
        sample: What to learn from.
        recipe: How; by default with the default kind.

    Raises:
        ValueError: If there are too few rows to learn from.
    """
    recipe = recipe or Recipe()
    kind = kinds.kind_of(recipe.kind)
    parameters = kind.defaults() if recipe.parameters is None else recipe.parameters
    rows, table = sample.learnable(), sample.table
    fitted = kind.fit(sample, parameters, recipe.compute)
    standardised = fitted.predict(table).standardise(target.future_return(table.log_close, sample.horizon))
    return PriceModel(
        kind=kind.name,
        spec=sample.spec,
        horizon_rows=sample.horizon,
        parameters=parameters,
        fitted=fitted,
        median_model=MedianModel.fit(table, standardised, rows) if kind.calibrated else MedianModel((), (), (), ()),
        use_median=False,
        ends=_first_ends(sample, standardised, rows) if kind.calibrated else conformal.NORMAL,
        trained_through_ms=int(table.time_ms[rows[-1] + sample.horizon]),
        reference=novelty.fit(table, rows, sample.spec),
    )


def _first_ends(sample: Sample, standardised: Floats, rows: NDArray[np.intp]) -> conformal.Ends:
    """Returns the ends of the rows learned from, with the groups' parts at rest."""
    ends = conformal.fit_ends(standardised[rows])
    return conformal.with_groups(ends, conformal.state(sample.table)[rows])


def _bounded(table: FeatureTable, name: str, missing: float) -> Floats:
    column = table.values[:, table.names.index(name)].astype(np.float64)
    return np.clip(np.where(np.isfinite(column), column, missing), -_INPUT_BOUND, _INPUT_BOUND)
