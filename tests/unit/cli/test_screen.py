"""What a person sees: it fits a terminal, and says what matters."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pricecast_cli.local import screen, words
from pricecast_cli.local.scores import Scores
from pricecast_cli.local.snapshot import Row, Snapshot, grouped
from pricecast_core.messages import Prediction
from pricecast_core.stores.predictions_sql import SqlPredictionStore
from pricecast_core.stores.scores import Score

NOW = 1_767_268_800.0
NAIVE = Prediction(
    pipeline="demo",
    pair="BTC/USD",
    horizon_seconds=60,
    issued_at_ms=int(NOW * 1000),
    target_time_ms=int((NOW + 60) * 1000),
    feature_time_ms=int(NOW * 1000),
    last_price=50_000.0,
    predicted_price=50_000.0,
    lower=49_950.0,
    upper=50_050.0,
    model_name="naive",
    model_version=0,
    simulated=True,
)


def prediction(base: Prediction = NAIVE, **fields: Any) -> Prediction:
    return Prediction(**{**{name: getattr(base, name) for name in Prediction.__struct_fields__}, **fields})


TRAINED = prediction(
    model_name="demo-btc-usd-60s",
    model_version=3,
    model_trained_through_ms=int((NOW - 240) * 1000),
    distribution_skill=0.05,
    point_skill=-0.001,
    point_is_naive=True,
)


def scored(base: Prediction, number: int, actual: float) -> Prediction:
    shift = number * 10_000
    return prediction(
        base,
        target_time_ms=base.target_time_ms + shift,
        feature_time_ms=base.feature_time_ms + shift,
        actual_price=actual,
        absolute_error=abs(actual - base.predicted_price),
        naive_absolute_error=abs(actual - base.last_price),
        inside_interval=base.lower <= actual <= base.upper,
        pinball_loss=1e-4,
        naive_pinball_loss=2e-4,
    )


SERVICES = [
    "broker",
    "trades",
    "candles",
    "technical-indicators",
    "to-feature-store",
    "train",
    "price-predictor",
    "api",
]


def snapshot(predictions: Sequence[tuple[Prediction, Score]] = (), **fields: Any) -> Snapshot:
    rows = [Row(name, "ready", NOW - 60, info={"lag": {"demo.trades": 7}}) for name in SERVICES]
    base = Snapshot(
        pipeline="demo",
        market="simulated trades",
        simulated=True,
        started=NOW - 100,
        now=NOW,
        rows=rows,
        predictions=predictions,
        addresses={"grpc": "127.0.0.1:50051", "http": "127.0.0.1:8000"},
        pair="BTC/USD",
        events=["12:00:00 trades ready"] * 20,
    )
    return replace(base, **fields)


def drawn(shown: Snapshot) -> list[str]:
    file = io.StringIO()
    Console(width=100, height=30, file=file).print(screen.render(shown))
    return file.getvalue().splitlines()


def test_the_screen_fits_100_columns_by_30_rows() -> None:
    lines = drawn(snapshot([(TRAINED, Score(count=20, error=800, naive_error=810, inside=16))]))
    assert len(lines) <= 30
    assert all(len(line) <= 100 for line in lines)


def test_a_handful_of_predictions_have_a_line_each_and_still_fit() -> None:
    few = [
        (prediction(TRAINED, pair=pair, horizon_seconds=seconds), Score(20, 800, 810, 16))
        for pair in ("BTC/USD", "DOGE/USDT")
        for seconds in (300, 600)
    ]
    lines = drawn(snapshot(few))
    assert len(lines) <= 30
    assert all(len(line) <= 100 for line in lines)
    assert sum("49,950.00 to 50,050.00" in line for line in lines) == 4


def many(count: int) -> list[tuple[Prediction, Score]]:
    """Pairs that move more and more; the third is late, the fourth's interval too wide, the fifth without skill."""
    made = []
    for number in range(count):
        moved = prediction(TRAINED, pair=f"COIN{number}/USDT", predicted_price=50_000.0 * (1 + number * 1e-6))
        score = Score(100, 800, 810, 80, 0.1, 0.2)
        if number == 2:
            moved = prediction(moved, target_time_ms=int((NOW - 75) * 1000))
        if number == 3:
            score = Score(100, 800, 810, 99, 0.1, 0.2)
        if number == 4:
            score = Score(100, 800, 810, 80, 0.21, 0.2)
        made.append((moved, score))
    return made


SHARED = [Row(f"price-predictor-{number}", "ready", NOW - 60, info={"lag": 1}) for number in range(2, 9)]
ALL_ROWS = [
    *[Row(name, "ready", NOW - 60) for name in (*SERVICES, "news", "news-signal", "news-features")],
    *SHARED,
    *[Row(f"train-{number}", "idle", NOW - 60) for number in range(2, 9)],
]


@pytest.mark.parametrize("count", [6, 9, 500])
def test_of_many_pairs_a_summary_and_those_worth_a_look_fit_24_lines(count: int) -> None:
    lines = drawn(snapshot(many(count), rows=ALL_ROWS, pairs=count))
    assert len(lines) <= 24
    assert all(len(line) <= 100 for line in lines)
    shown = "\n".join(lines)
    assert f"all {count} pairs forecast, 1 late; {count} of {count} by a model; {count * 100:,} scored: 8" in shown
    looked = [line for line in lines if "COIN" in line]
    assert ["COIN2/" in looked[0], "COIN3/" in looked[1], "COIN4/" in looked[2]] == [True] * 3
    assert [line.strip("│ ").split("v3")[1].strip() for line in looked[:3]] == [
        "late: was for 75 s ago",
        "99% inside, of 100",
        "skill -5.0%, of 100",
    ]
    if count == 500:
        assert "COIN499/" in looked[3]
    assert "price-predictor x 8" in shown


def test_of_programs_that_share_the_work_the_worst_is_shown() -> None:
    ill = Row("price-predictor-3", "restarting", NOW, restarts=2, message="exit code 1: no memory")
    [shown] = grouped([replace(SHARED[0], name="price-predictor"), SHARED[0], ill])
    assert (shown.state, shown.restarts, shown.alike) == ("restarting", 2, 3)
    assert shown.message == "1 of 3 restarting; price-predictor-3: exit code 1: no memory"


def test_a_name_that_ends_in_a_number_is_no_part_of_another() -> None:
    assert len(grouped([Row("news-2", "ready", NOW), Row("trades", "ready", NOW)])) == 2


@pytest.mark.parametrize("count", [0, 1, 3, 500])
def test_a_line_for_logs_is_under_200_characters_whatever_there_is_to_tell(count: int) -> None:
    waiting = [Row(f"price-predictor-{number}", "running", NOW, message="waits " * 50) for number in range(9)]
    told = words.line(snapshot(many(count), rows=waiting, pairs=500))
    assert len(told) < 200
    assert "\n" not in told
    if count == 3:
        assert "3 of 500 pairs forecast, 1 late" in told


def test_a_simulated_market_is_named_on_every_kind_of_view() -> None:
    shown = snapshot([(TRAINED, Score())])
    assert "SIMULATED MARKET" in drawn(shown)[0]
    assert "SIMULATED MARKET" in words.line(shown)
    assert "SIMULATED MARKET" in words.describe(TRAINED, Score(), NOW)
    assert "SIMULATED" not in "".join(drawn(snapshot(simulated=False)))


def test_the_naive_forecast_is_called_so_until_there_is_a_model() -> None:
    assert "naive (last price, rolling quantiles) until a trained model beats it" in "\n".join(
        drawn(snapshot([(NAIVE, Score())]))
    )
    assert "v3, 4 min old; out of sample: skill +5.0%, point -0.1%, so the last price" in "\n".join(
        drawn(snapshot([(TRAINED, Score())]))
    )


def test_the_error_so_far_stands_beside_the_naive_one() -> None:
    shown = "\n".join(drawn(snapshot([(TRAINED, Score(20, 800, 810, 16, 0.1, 0.2))])))
    assert "20 scored: error 40, naive 40.5; 80% inside the interval; skill +50.0%" in shown


def test_a_service_that_keeps_failing_is_named_before_the_first_prediction() -> None:
    failing = Row("trades", "restarting", NOW, restarts=3, message="exit code 1: no route to host")
    shown = " ".join(" ".join(drawn(snapshot(rows=[failing]))).replace("│", " ").split())
    assert "trades keeps failing (exit code 1: no route to host); see `pricecast logs trades`" in shown


def test_a_line_for_logs_says_what_is_not_ready_and_why() -> None:
    rows = [Row("trades", "running", NOW, message="broker: is away"), Row("candles", "ready", NOW)]
    assert "1/2 ready" in words.line(snapshot(rows=rows))
    assert "trades running: broker: is away" in words.line(snapshot(rows=rows))


@given(st.floats(0, 1e8))
def test_a_duration_is_short(seconds: float) -> None:
    assert len(words.duration(seconds)) <= 8


# --- scores


@pytest.fixture
def store() -> Iterator[SqlPredictionStore]:
    store = SqlPredictionStore("sqlite:///:memory:")
    store.ensure()
    yield store
    store.close()


def test_each_scored_prediction_counts_once_however_often_one_looks(store: SqlPredictionStore) -> None:
    scores = Scores(store, "demo")
    for number in range(5):
        store.write(
            [scored(TRAINED, number, actual=50_010.0 + number), prediction(TRAINED, feature_time_ms=10**13 + number)]
        )
        scores.refresh()
        scores.refresh()
    found = scores.score(TRAINED)
    assert (found.count, found.inside) == (5, 5)
    assert found.mae == pytest.approx(12)
    assert found.distribution_skill == pytest.approx(0.5)


def test_a_view_that_opens_late_sums_what_was_scored_before(store: SqlPredictionStore) -> None:
    store.write([scored(TRAINED, number, actual=50_100.0) for number in range(1_200)])
    scores = Scores(store, "demo")
    scores.refresh()
    found = scores.score(TRAINED)
    assert (found.count, found.coverage) == (1_200, 0)


def test_of_hundreds_of_pairs_some_are_summed_up_at_each_look_until_all_are(store: SqlPredictionStore) -> None:
    pairs = [f"COIN{number}/USD" for number in range(120)]
    store.write([scored(prediction(pair=pair), 0, 50_010.0) for pair in pairs])
    scores = Scores(store, "demo")
    looks = []
    for _ in range(4):
        scores.refresh()
        looks.append(sum(scores.score(latest).count for latest in scores.latest))
    assert looks == [50, 100, 120, 120]


def test_a_loss_without_its_naive_counterpart_counts_in_no_skill() -> None:
    score = Score()
    scored = msgspec.structs.replace(
        TRAINED, actual_price=100.0, absolute_error=1.0, naive_absolute_error=1.0, pinball_loss=1e-4
    )
    score.add(msgspec.structs.replace(scored, naive_pinball_loss=2e-4))
    score.add(msgspec.structs.replace(scored, pinball_loss=3e-4, naive_pinball_loss=None))
    assert score.distribution_skill == pytest.approx(0.5)
