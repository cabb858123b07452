"""How the forecasts have done so far: running sums over scored predictions, read from the store once each."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

from pricecast_core.messages import Prediction
from pricecast_core.stores.predictions import PredictionStore
from pricecast_core.stores.scores import Score

_PAGE = 500
_MOST_PAGES = 20
"""At most the newest 10,000 predictions of a pair and horizon are summed when a view opens."""
_SUMS_AT_ONCE = 50
"""Of hundreds of pairs so many are summed up at each look: a look costs a query each, and is taken every second."""


@dataclass(slots=True)
class Scores:
    """The latest predictions of a pipeline and the scores so far.

    Args:
        store: Where predictions are.
        pipeline: Whose.
    """

    store: PredictionStore
    pipeline: str
    latest: list[Prediction] = field(default_factory=list)
    scores: dict[tuple[str, int], Score] = field(default_factory=dict)
    _summed_to_ms: dict[tuple[str, int], int] = field(default_factory=dict)
    _behind: dict[tuple[str, int], None] = field(default_factory=dict)

    def refresh(self) -> None:
        """Reads what is new: one query, and another for each pair and horizon that has a new prediction, some at a time."""
        known = {_key(prediction): prediction.id for prediction in self.latest}
        self.latest = self.store.latest(self.pipeline)
        for prediction in self.latest:
            if known.get(_key(prediction)) != prediction.id:
                self._behind.setdefault(_key(prediction))  # keeps its place where it waits already
        for key in list(self._behind)[:_SUMS_AT_ONCE]:
            del self._behind[key]
            self._sum_up(*key)

    def score(self, prediction: Prediction) -> Score:
        """Returns the score so far of a prediction's pair and horizon."""
        return self.scores.get(_key(prediction), Score())

    def _sum_up(self, pair: str, horizon_seconds: int) -> None:
        key = (pair, horizon_seconds)
        summed_to = self._summed_to_ms.get(key)
        score = self.scores.setdefault(key, Score())
        scored = [
            prediction
            for prediction in self._newer(pair, horizon_seconds, summed_to)
            if prediction.is_scored and (summed_to is None or prediction.target_time_ms > summed_to)
        ]
        for prediction in scored:
            score.add(prediction)
        if scored:
            self._summed_to_ms[key] = max(prediction.target_time_ms for prediction in scored)

    def _newer(self, pair: str, horizon_seconds: int, after_ms: int | None) -> Iterable[Prediction]:
        token = ""
        for _ in itertools.count() if after_ms is not None else range(_MOST_PAGES):
            page = self.store.history(
                pair,
                pipeline=self.pipeline,
                horizon_seconds=horizon_seconds,
                start_ms=after_ms,
                limit=_PAGE,
                token=token,
            )
            yield from page.predictions
            token = page.next_token
            if not token:
                return


def _key(prediction: Prediction) -> tuple[str, int]:
    return prediction.pair, prediction.horizon_seconds
