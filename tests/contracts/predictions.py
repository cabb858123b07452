"""The contract of `PredictionStore`. A subclass gives the fixture `store`: empty, `ensure` called."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest

from pricecast_core.messages import Prediction
from pricecast_core.stores.predictions import PredictionStore
from pricecast_core.stores.scores import Score
from pricecast_core.stores.tokens import PageTokenError

START_MS = 1_767_225_600_000
MINUTE_MS = 60_000
WARNS: dict[str, Any] = {
    "live_skill": -0.25,
    "distance": 1.5,
    "volatility": 0.75,
    "drift": 0.125,
    "caution": "the market is unlike what the model learned from",
    "abstained": True,
}
"""What a forecast warns of itself."""
LEVELS: dict[str, Any] = {"levels": (0.1, 0.5, 0.9), "quantiles": (49_900.25, 50_010.5, 50_100.75)}


def a_prediction(minute: int = 0, **changes: Any) -> Prediction:
    """Returns a prediction whose features are of the given minute; `horizon_seconds` moves its target time."""
    feature_time_ms = START_MS + minute * MINUTE_MS
    horizon_seconds = changes.get("horizon_seconds", 300)
    values: dict[str, Any] = {
        "pipeline": "btc",
        "pair": "BTC/USD",
        "horizon_seconds": horizon_seconds,
        "issued_at_ms": feature_time_ms + 250,
        "target_time_ms": feature_time_ms + horizon_seconds * 1000,
        "feature_time_ms": feature_time_ms,
        "last_price": 50_000.0 + minute,
        "predicted_price": 50_010.5 + minute,
        "lower": 49_900.25 + minute,
        "upper": 50_100.75 + minute,
        "model_name": "btc-btc-usd-300s",
        "model_version": 3,
        "model_trained_through_ms": START_MS - MINUTE_MS,
        "distribution_skill": 0.031,
        "point_skill": -0.002,
        "point_is_naive": True,
        "beats_naive": True,
        "simulated": False,
    }
    return Prediction(**{**values, **changes})


def scored(prediction: Prediction, actual_price: float = 50_020.0) -> Prediction:
    """Returns the prediction with what came of it."""
    return msgspec.structs.replace(
        prediction,
        actual_price=actual_price,
        absolute_error=abs(prediction.predicted_price - actual_price),
        naive_absolute_error=abs(prediction.last_price - actual_price),
        inside_interval=prediction.lower <= actual_price <= prediction.upper,
        pinball_loss=0.0001,
        naive_pinball_loss=0.0002,
    )


def whole_history(store: PredictionStore, pair: str = "BTC/USD", limit: int = 3, **filters: Any) -> list[Prediction]:
    """Returns all pages together."""
    found: list[Prediction] = []
    token = ""
    while True:
        page = store.history(pair, limit=limit, token=token, **filters)
        assert len(page.predictions) <= limit
        found.extend(page.predictions)
        token = page.next_token
        if not token:
            return found


class PredictionStoreContract:
    def test_scores_are_summed_for_each_series_since_a_time(self, store: PredictionStore) -> None:
        store.write([scored(a_prediction(minute), 50_020.0 + 40 * minute) for minute in range(5)])
        store.write([scored(a_prediction(9, horizon_seconds=900)), scored(a_prediction(9, pair="ETH/USD"))])
        store.write([scored(a_prediction(9, pipeline="other")), a_prediction(30)])
        unlike_naive = msgspec.structs.replace(scored(a_prediction(8)), naive_pinball_loss=None, inside_interval=False)
        store.write([unlike_naive])
        kept = [scored(a_prediction(minute), 50_020.0 + 40 * minute) for minute in (2, 3, 4)]
        expected = Score()
        for prediction in [*kept, unlike_naive]:
            expected.add(prediction)
        found = store.scores(["BTC/USD"], kept[0].target_time_ms, "btc")
        assert set(found) == {("btc", "BTC/USD", 300), ("btc", "BTC/USD", 900)}
        for name in Score.__dataclass_fields__:
            assert getattr(found["btc", "BTC/USD", 300], name) == pytest.approx(getattr(expected, name)), name
        everything = store.scores(["BTC/USD", "ETH/USD"], 0)
        assert {series[:2] for series in everything} == {("btc", "BTC/USD"), ("btc", "ETH/USD"), ("other", "BTC/USD")}
        assert store.scores([], 0) == {}

    def test_an_empty_store_answers_with_nothing(self, store: PredictionStore) -> None:
        assert store.latest() == []
        assert store.latest("btc") == []
        assert store.history("BTC/USD").predictions == []
        assert store.history("BTC/USD").next_token == ""
        assert store.unscored("btc", START_MS * 2) == []

    def test_ensure_again_keeps_what_is_stored(self, store: PredictionStore) -> None:
        store.write([a_prediction()])
        store.ensure()
        assert store.latest() == [a_prediction()]

    def test_every_field_comes_back_as_it_was_written(self, store: PredictionStore) -> None:
        full = scored(a_prediction(0, pipeline="full", simulated=True, **WARNS, **LEVELS))
        bare = a_prediction(
            1, pipeline="bare", distribution_skill=None, point_skill=None, model_name="naive", model_version=0
        )
        store.write([full, bare])
        assert store.latest() == [bare, full]
        assert whole_history(store) == [bare, full]

    def test_writing_nothing_is_harmless(self, store: PredictionStore) -> None:
        store.write([])
        assert store.latest() == []

    def test_the_latest_is_readable_at_once_for_each_pipeline_pair_and_horizon(self, store: PredictionStore) -> None:
        of_each = [
            a_prediction(2, pipeline=pipeline, pair=pair, horizon_seconds=horizon)
            for pipeline in ("btc", "eth-and-more")
            for pair in ("BTC/USD", "ETH/USD")
            for horizon in (300, 900)
        ]
        older = [msgspec.structs.replace(p, feature_time_ms=p.feature_time_ms - MINUTE_MS) for p in of_each]
        store.write(older)
        store.write(of_each)
        assert store.latest() == of_each
        assert store.latest("btc") == of_each[:4]
        assert store.latest("none") == []

    def test_an_older_prediction_never_replaces_the_latest(self, store: PredictionStore) -> None:
        store.write([a_prediction(5)])
        store.write([a_prediction(4), scored(a_prediction(3))])
        assert store.latest() == [a_prediction(5)]
        assert len(whole_history(store)) == 3

    def test_within_a_batch_the_newest_is_the_latest_whatever_the_order(self, store: PredictionStore) -> None:
        store.write([a_prediction(2), a_prediction(3), a_prediction(1)])
        assert store.latest() == [a_prediction(3)]

    def test_a_replay_changes_nothing(self, store: PredictionStore) -> None:
        predictions = [a_prediction(minute) for minute in range(5)]
        for _ in range(3):
            store.write(predictions)
        assert whole_history(store) == predictions[::-1]

    def test_a_score_replaces_the_unscored_and_is_never_replaced_by_it(self, store: PredictionStore) -> None:
        store.write([a_prediction()])
        store.write([scored(a_prediction())])
        store.write([a_prediction()])
        assert whole_history(store) == [scored(a_prediction())]
        assert store.latest() == [scored(a_prediction())]
        store.write([scored(a_prediction(), 50_500.0)])
        assert whole_history(store) == [scored(a_prediction(), 50_500.0)]

    def test_within_a_batch_a_score_wins_too(self, store: PredictionStore) -> None:
        store.write([scored(a_prediction(1)), a_prediction(1), a_prediction(2), scored(a_prediction(2))])
        assert whole_history(store) == [scored(a_prediction(2)), scored(a_prediction(1))]
        assert store.latest() == [scored(a_prediction(2))]

    def test_an_unscored_prediction_made_again_replaces_the_one_before(self, store: PredictionStore) -> None:
        store.write([a_prediction()])
        store.write([a_prediction(model_version=4)])
        assert whole_history(store) == [a_prediction(model_version=4)]
        assert store.latest() == [a_prediction(model_version=4)]

    def test_history_is_by_target_time_newest_first_and_whole_over_pages(self, store: PredictionStore) -> None:
        predictions = [
            a_prediction(minute, horizon_seconds=horizon) for minute in range(8) for horizon in (60, 300, 900)
        ]
        store.write(predictions)
        expected = sorted(predictions, key=lambda p: (p.target_time_ms, p.id), reverse=True)
        for limit in (1, 5, 24, 100):
            assert whole_history(store, limit=limit) == expected

    def test_history_is_filtered(self, store: PredictionStore) -> None:
        store.write([a_prediction(minute, pipeline=pipeline) for minute in range(4) for pipeline in ("btc", "other")])
        store.write([a_prediction(minute, horizon_seconds=900) for minute in range(4)])
        store.write([a_prediction(9, pair="ETH/USD")])
        assert whole_history(store, "ETH/USD") == [a_prediction(9, pair="ETH/USD")]
        assert {p.pipeline for p in whole_history(store, pipeline="other")} == {"other"}
        assert len(whole_history(store, horizon_seconds=900)) == 4
        window = whole_history(
            store,
            pipeline="btc",
            horizon_seconds=300,
            start_ms=a_prediction(1).target_time_ms,
            end_ms=a_prediction(2).target_time_ms,
        )
        assert window == [a_prediction(2), a_prediction(1)]

    def test_pages_are_not_disturbed_by_newer_predictions(self, store: PredictionStore) -> None:
        store.write([a_prediction(minute) for minute in range(4)])
        first = store.history("BTC/USD", limit=2)
        store.write([a_prediction(minute) for minute in range(4, 8)])
        second = store.history("BTC/USD", limit=2, token=first.next_token)
        assert [*first.predictions, *second.predictions] == [a_prediction(minute) for minute in (3, 2, 1, 0)]

    def test_a_token_of_other_filters_or_none_at_all_is_refused(self, store: PredictionStore) -> None:
        store.write([a_prediction(minute) for minute in range(4)])
        token = store.history("BTC/USD", limit=2).next_token
        with pytest.raises(PageTokenError, match="other filters"):
            store.history("BTC/USD", horizon_seconds=300, token=token)
        with pytest.raises(PageTokenError, match="not a token"):
            store.history("BTC/USD", token="%%%")

    def test_unscored_gives_those_whose_time_has_come(self, store: PredictionStore) -> None:
        store.write([a_prediction(minute) for minute in range(4)])
        store.write([a_prediction(0, pipeline="other"), scored(a_prediction(1))])
        due = store.unscored("btc", a_prediction(2).target_time_ms)
        assert due == [a_prediction(0), a_prediction(2)]

    def test_a_large_batch_is_stored_whole(self, store: PredictionStore) -> None:
        predictions = [a_prediction(minute) for minute in range(2_500)]
        store.write(predictions)
        assert whole_history(store, limit=1_000) == predictions[::-1]
        assert len(store.unscored("btc", START_MS * 2)) == 2_500

    def test_concurrent_writers_leave_the_newest_and_the_scores(self, store: PredictionStore) -> None:
        errors: list[Exception] = []

        def write(offset: int) -> None:
            try:
                for minute in range(20):
                    store.write([a_prediction(minute), scored(a_prediction((minute + offset) % 20))])
            except Exception as error:
                errors.append(error)

        writers = [threading.Thread(target=write, args=(offset,)) for offset in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert errors == []
        assert store.latest() == [scored(a_prediction(19))]
        assert store.unscored("btc", START_MS * 2) == []
