"""Many forecasts at a glance: all of them in a line, and those worth a look, worst first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pricecast_core.messages import Prediction
from pricecast_core.stores.scores import Score

Scored = tuple[Prediction, Score]
_ENOUGH = 30
"""From so many scored forecasts on a pair's figures tell something."""
_COVERAGE = (0.65, 0.95)
"""Of intervals that should hold 80%."""


@dataclass(frozen=True, slots=True)
class Notable:
    """A forecast worth a look.

    Attributes:
        prediction: The forecast.
        score: How its pair and horizon have done.
        why: What is remarkable, in a few words.
        bad: Whether it should be otherwise.
    """

    prediction: Prediction
    score: Score
    why: str
    bad: bool


def in_a_line(predictions: Sequence[Scored], now: float, pairs: int) -> str:
    """Returns what all forecasts have in common, in a line.

    Args:
        predictions: The newest of each pair and horizon, with the scores so far.
        now: The moment, Unix seconds.
        pairs: How many pairs there should be.
    """
    newest = {prediction.pair for prediction, _ in predictions}
    late = sum(is_late(prediction, now) for prediction, _ in predictions)
    by_model = sum(bool(prediction.model_version) for prediction, _ in predictions)
    parts = [f"{len(newest)} of {pairs} pairs forecast" if len(newest) < pairs else f"all {pairs} pairs forecast"]
    if late:
        parts[0] += f", {late} late"
    parts.append(f"{by_model} of {len(predictions)} by a model" if by_model else "by none but naive models")
    total = Score()
    for _, score in predictions:
        total.count += score.count
        total.inside += score.inside
        total.pinball += score.pinball
        total.naive_pinball += score.naive_pinball
    if total.count:
        told = f"{total.count:,} scored: {total.coverage:.0%} inside"
        parts.append(
            told + (f", skill {total.distribution_skill:+.1%}" if total.distribution_skill is not None else "")
        )
    return "; ".join(parts)


def notable(predictions: Sequence[Scored], now: float, most: int) -> list[Notable]:
    """Returns the forecasts worth a look: late ones, ill-calibrated ones, unskilled ones, then those that move most."""
    ranked = sorted(predictions, key=lambda each: _rank(each, now))
    return [Notable(prediction, score, *_why(prediction, score, now)) for prediction, score in ranked[:most]]


def is_late(prediction: Prediction, now: float) -> bool:
    """Returns whether a forecast's time is over and no newer one has come."""
    return now * 1000 > prediction.target_time_ms


def _rank(each: Scored, now: float) -> tuple[int, float]:
    prediction, score = each
    if is_late(prediction, now):
        return 0, prediction.target_time_ms
    if _is_ill_calibrated(score):
        return 1, -abs((score.coverage or 0) - 0.8)
    if _is_unskilled(score):
        return 2, score.distribution_skill or 0.0
    return 3, -abs(_change(prediction))


def _why(prediction: Prediction, score: Score, now: float) -> tuple[str, bool]:
    if is_late(prediction, now):
        return f"late: was for {now - prediction.target_time_ms / 1000:,.0f} s ago", True
    if _is_ill_calibrated(score):
        return f"{score.coverage:.0%} inside, of {score.count:,}", True
    if _is_unskilled(score):
        return f"skill {score.distribution_skill:+.1%}, of {score.count:,}", True
    return "moves most", False


def _is_ill_calibrated(score: Score) -> bool:
    low, high = _COVERAGE
    return score.count >= _ENOUGH and score.coverage is not None and not low <= score.coverage <= high


def _is_unskilled(score: Score) -> bool:
    return score.count >= _ENOUGH and score.distribution_skill is not None and score.distribution_skill < 0


def _change(prediction: Prediction) -> float:
    return prediction.predicted_price / prediction.last_price - 1
