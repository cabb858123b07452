"""When training is due on a laptop."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_cli.local.training_schedule import (
    PAUSE_SECONDS,
    Trained,
    WarmUp,
    due,
    look,
    names_of,
    next_time,
    outcomes,
)
from pricecast_core.settings import PricePredictorSettings
from pricecast_core.stores.models import TrainingRun
from pricecast_core.stores.models_sql import SqlModelRegistry

SIX_HOURLY = "0 */6 * * *"
NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC).timestamp()
MINUTE = 60


def trained(*times: float | None, **requests: str) -> Trained:
    newest = {f"model-{number}": None if at is None else int(at * 1000) for number, at in enumerate(times)}
    return Trained(newest, requests)


@pytest.mark.parametrize(
    ("known", "now", "last_end", "expected"),
    [
        (trained(None), NOON + MINUTE, 0, "no model yet"),
        (trained(NOON, None), NOON + MINUTE, 0, "no model yet"),
        (trained(NOON), NOON + MINUTE, 0, None),
        (trained(NOON), NOON + 6 * 3600 - 1, 0, None),
        (trained(NOON), NOON + 6 * 3600, 0, "on schedule"),
        (trained(NOON - 86_400), NOON + MINUTE, 0, "on schedule"),
        (trained(NOON, **{"model-0": "skill below zero"}), NOON + MINUTE, 0, "model-0: skill below zero"),
    ],
    ids=["first", "one-of-two", "fresh", "just-before", "on-time", "missed-while-down", "asked-for"],
)
def test_training_is_due_without_a_model_on_schedule_and_when_asked_for(
    known: Trained, now: float, last_end: float, expected: str | None
) -> None:
    assert due(known, SIX_HOURLY, now, last_end) == expected


@given(seconds=st.floats(0, PAUSE_SECONDS - 1), wanted=st.booleans())
def test_a_training_that_brought_no_model_is_not_repeated_at_once(seconds: float, wanted: bool) -> None:
    known = trained(None, **({"model-0": "asked for"} if wanted else {}))
    end = NOON + MINUTE
    assert due(known, SIX_HOURLY, end + seconds, end) is None
    assert due(known, SIX_HOURLY, end + PAUSE_SECONDS, end) == "no model yet"


def test_a_schedule_that_passed_while_training_counts_as_met() -> None:
    assert due(trained(NOON - MINUTE), SIX_HOURLY, NOON + 2 * MINUTE, NOON + MINUTE) is None


def test_schedules_are_in_utc_whatever_the_machines_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    assert next_time("0 18 * * *", NOON) == NOON + 6 * 3600


def test_there_is_a_model_for_each_pair_and_horizon() -> None:
    settings = PricePredictorSettings(pipeline="btc", pairs=["BTC/USD", "ETH/USD"], horizons_seconds=[300, 600])
    assert names_of(settings) == [
        "btc-btc-usd-300s",
        "btc-btc-usd-600s",
        "btc-eth-usd-300s",
        "btc-eth-usd-600s",
    ]


def test_what_became_of_a_training_is_told_with_its_reason() -> None:
    registry = SqlModelRegistry("sqlite:///:memory:")
    for name in ("a", "b"):
        registry.register(TrainingRun(name, {}, {}, trained_through_ms=1, artifact=b"model"))
    registry.promote("a", 1, "beats naive by 3%")
    registry.reject("b", 1, "no better than naive")
    assert outcomes(registry, ["a", "b", "c"]) == [
        "a v1 serves: beats naive by 3%",
        "b v1 does not serve: no better than naive",
    ]
    registry.close()


def test_a_horizon_with_too_few_candles_waits_and_tells_how_far_it_is() -> None:
    settings = PricePredictorSettings(
        pipeline="btc", pairs=["BTC/USD"], horizons_seconds=[300, 172_800], training_min_rows=500
    )
    short, long = names_of(settings)
    registry = SqlModelRegistry("sqlite:///:memory:")
    rows = 177
    warm_up = WarmUp(settings, lambda _pair: rows)
    needed = settings.rows_to_learn(172_800)
    first = look(registry, [short, long], warm_up)
    assert first.warming_up == {long: f"{long}: 177 of {needed} candles"}
    assert due(first, SIX_HOURLY, NOON, 0) == "no model yet"  # the training waits for the 500 rows itself
    registry.register(TrainingRun(short, {}, {}, trained_through_ms=1, artifact=b"model"))
    rows = needed - 1
    assert long in look(registry, [short, long], warm_up).warming_up
    rows = needed
    ready = look(registry, [short, long], warm_up)
    assert not ready.warming_up
    warm_up.tried(ready.newest_ms)  # it was left out all the same
    assert look(registry, [short, long], warm_up).warming_up == {
        long: f"{long}: {needed} of {-(-needed * 11 // 10)} candles"
    }
    registry.close()


def test_models_that_cannot_be_learned_yet_are_not_trained_for() -> None:
    waiting = Trained({"long": None}, {}, {"long": "long: 177 of 330 candles"})
    assert due(waiting, SIX_HOURLY, NOON + MINUTE, 0) is None
