"""A forecast as an agent gets it: never a number without what must be said with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field


class Quote(BaseModel):
    """One forecast, with its caveat in words."""

    pair: str
    pipeline: str = Field(description="The pipeline that made it, NAMESPACE.NAME on a cluster")
    target_time: datetime = Field(description="The time whose price is forecast")
    forecast: float = Field(description="Point forecast, in the quote currency")
    lower: float = Field(description="Lower end of the 80% interval")
    upper: float = Field(description="Upper end of the 80% interval")
    last_price: float = Field(description="Price when it was made: the naive forecast")
    age_seconds: float = Field(description="Seconds since it was made")
    is_over: bool = Field(description="Whether the target time has passed: then it is no forecast any more")
    simulated: bool = Field(description="Whether the market is a simulation: then the prices are nobody's")
    beats_naive: bool = Field(description="Whether the model beat the naive one out of sample, and doesn't abstain")
    point_is_naive: bool = Field(description="Whether the point forecast is the last price")
    skill: float | None = Field(description="Skill of the distribution out of sample: 0 is naive, 1 perfect")
    model: str = Field(description="Name and version of the model, or `naive`")
    actual_price: float | None = Field(None, description="What came of it, once known")
    inside_interval: bool | None = Field(None, description="Whether the price fell inside the interval, once known")
    caveat: str = Field(description="What must be said with any of these numbers")


class TrackRecord(BaseModel):
    """How the latest forecasts did."""

    pair: str
    scored: int = Field(description="Forecasts whose outcome is known, among those looked at")
    coverage: float | None = Field(description="Share of outcomes inside the 80% interval")
    skill: float | None = Field(description="Skill of the distribution: 1 - pinball loss / that of the naive forecast")
    mean_absolute_error: float | None = Field(description="Of the point forecast, in the quote currency")
    naive_mean_absolute_error: float | None = Field(description="The same of the last price")
    simulated: bool
    caveat: str


def quote(prediction: dict[str, Any], now: datetime | None = None) -> Quote:
    """Returns a prediction, as the API gives it in JSON, as a quote."""
    outcome = prediction.get("outcome") or {}
    model = prediction["modelName"]
    issued = datetime.fromisoformat(prediction["issuedAt"])
    namespace = prediction.get("namespace", "")
    found = Quote(
        pair=prediction["pair"],
        pipeline=f"{namespace}.{prediction['pipeline']}" if namespace else prediction["pipeline"],
        target_time=datetime.fromisoformat(prediction["targetTime"]),
        forecast=prediction["predictedPrice"],
        lower=prediction["lower"],
        upper=prediction["upper"],
        last_price=prediction["lastPrice"],
        age_seconds=round(((now or datetime.now(UTC)) - issued).total_seconds(), 1),
        is_over=prediction["isOver"],
        simulated=prediction["simulated"],
        beats_naive=prediction["beatsNaive"],
        point_is_naive=prediction["pointIsNaive"],
        skill=(prediction.get("skill") or {}).get("distribution"),
        model=f"{model} v{prediction['modelVersion']}" if prediction["modelVersion"] else model,
        actual_price=outcome.get("actualPrice"),
        inside_interval=outcome.get("insideInterval") if outcome else None,
        caveat="",
    )
    caveat = _caveat(found, prediction.get("caution", ""), abstained=prediction.get("abstained", False))
    return found.model_copy(update={"caveat": caveat})


def track_record(pair: str, predictions: Sequence[dict[str, Any]]) -> TrackRecord:
    """Returns how predictions of a pair, as the API gives them in JSON, did."""
    outcomes = [prediction["outcome"] for prediction in predictions if prediction.get("outcome")]
    simulated = any(prediction["simulated"] for prediction in predictions)

    def mean(field: str) -> float | None:
        values = [float(outcome.get(field, 0)) for outcome in outcomes]
        return sum(values) / len(values) if values else None

    loss, naive = mean("pinballLoss"), mean("naivePinballLoss")
    skill = 1 - loss / naive if loss is not None and naive else None
    words = ["Past forecasts say little about the next one."]
    if not outcomes:
        words = ["No outcome is known yet: nothing can be said about how good the forecasts are."]
    elif len(outcomes) < 100:
        words.insert(0, f"Only {len(outcomes)} outcomes: too few to tell skill from luck.")
    elif skill is not None and skill <= 0:
        words.insert(0, "The forecasts were no better than naive ones.")
    if simulated:
        words.insert(0, "The market is a SIMULATION: its prices are nobody's.")
    return TrackRecord(
        pair=pair,
        scored=len(outcomes),
        coverage=mean("insideInterval"),
        skill=skill,
        mean_absolute_error=mean("absoluteError"),
        naive_mean_absolute_error=mean("naiveAbsoluteError"),
        simulated=simulated,
        caveat=" ".join(words),
    )


def _caveat(found: Quote, caution: str, *, abstained: bool) -> str:
    words = []
    if found.simulated:
        words.append("The market is a SIMULATION: its prices are nobody's.")
    if found.is_over:
        words.append("The target time has passed and no newer forecast is there: don't use it as one.")
    if found.model == "naive":
        words.append("No model has beaten the naive forecast yet: the forecast is the last price.")
    elif abstained:
        words.append("The model abstains: this is the naive forecast, and the skill is not its own.")
    elif not found.beats_naive:
        words.append("The model did NOT beat the naive forecast out of sample.")
    elif found.point_is_naive:
        words.append("Only the width of the interval is forecast: the point is the last price.")
    if caution:
        words.append(f"With care: {caution}.")
    words.append(f"The price will lie between {found.lower:g} and {found.upper:g} about eight times in ten.")
    words.append("Not financial advice.")
    return " ".join(words)
