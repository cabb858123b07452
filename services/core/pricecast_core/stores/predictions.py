"""What a prediction store promises: deterministic ids, the latest at once, history by page, scores added later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pricecast_core.messages import Prediction
from pricecast_core.stores.scores import Score

Series = tuple[str, str, int]
"""Pipeline, pair and horizon in seconds: what forecasts are made for, one after the other."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of history, newest first.

    Attributes:
        predictions: The predictions of this page.
        next_token: Where the next page starts; empty at the end.
    """

    predictions: Sequence[Prediction]
    next_token: str


class PredictionStore(Protocol):
    """Keeps predictions and what came of them."""

    def ensure(self) -> None:
        """Creates tables, index templates and mappings. Safe to call by several processes at once."""

    def write(self, predictions: Sequence[Prediction]) -> None:
        """Stores predictions by their ids, scored ones over unscored ones, and keeps the latest of each pair and horizon.

        An unscored prediction never replaces a scored one, nor an older one the latest: a replay is harmless.

        Raises:
            StoreError: If any of them may not be stored. Writing all again is safe.
        """

    def latest(self, pipeline: str | None = None) -> list[Prediction]:
        """Returns the latest prediction of each pipeline, pair and horizon, in one call."""

    def history(
        self,
        pair: str,
        *,
        pipeline: str | None = None,
        horizon_seconds: int | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 100,
        token: str = "",
    ) -> Page:
        """Returns predictions of a pair by target time, newest first; of equal times, by id.

        Args:
            pair: The pair.
            pipeline: Only this pipeline's.
            horizon_seconds: Only of this horizon.
            start_ms: Earliest target time, inclusive.
            end_ms: Latest target time, inclusive.
            limit: Most predictions of the page.
            token: `next_token` of the page before, of a query with the same filters.

        Raises:
            PageTokenError: If the token isn't one of this query.
            StoreError: If the store can't be read.
        """

    def unscored(self, pipeline: str, until_ms: int) -> list[Prediction]:
        """Returns predictions whose target time is at or before `until_ms` and that have no actual price yet."""

    def scores(self, pairs: Sequence[str], since_ms: int, pipeline: str | None = None) -> dict[Series, Score]:
        """Returns the sums over the scored predictions of each series since a target time, in one query.

        Args:
            pairs: Of which pairs.
            since_ms: Earliest target time, inclusive.
            pipeline: Only this pipeline's.

        Raises:
            StoreError: If the store can't be read.
        """

    def close(self) -> None:
        """Gives back connections."""


def newest(predictions: Iterable[Prediction]) -> list[Prediction]:
    """Returns the newest prediction of each pipeline, pair and horizon, in that order; scored over unscored."""
    latest: dict[tuple[str, str, int], Prediction] = {}
    for prediction in predictions:
        key = (prediction.pipeline, prediction.pair, prediction.horizon_seconds)
        known = latest.get(key)
        if known is None or _rank(prediction) >= _rank(known):
            latest[key] = prediction
    return [latest[key] for key in sorted(latest)]


def _rank(prediction: Prediction) -> tuple[int, bool]:
    return prediction.feature_time_ms, prediction.is_scored
