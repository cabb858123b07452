"""What the API tells besides forecasts: candles, news, models, scores, calibration, and how a pipeline fares."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.stores.predictions import Series
from pricecast_core.stores.predictions_sql import SqlPredictionStore
from pricecast_core.stores.scores import Score
from pricecast_prediction_api.access.caller import Caller
from pricecast_prediction_api.calibration import calibration
from pricecast_prediction_api.gen.pricecast.v1 import history_pb2 as pb
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as prediction_pb
from pricecast_prediction_api.pipelines import pipeline_state, read_processes
from pricecast_prediction_api.reading import Reading
from pricecast_prediction_api.records import Records, Sources
from pricecast_prediction_api.snapshot import Snapshot
from tests.contracts.predictions import MINUTE_MS, START_MS, a_prediction, scored
from tests.unit.prediction_api.conftest import ApiProcess
from tests.waiting import eventually

LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def bare(store: SqlPredictionStore, store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    """A server that is given predictions alone."""
    process = ApiProcess(tmp_path_factory.mktemp("bare") / "log", PREDICTION_STORE_URL=store_url)
    try:
        process.wait_ready()
        yield process
    finally:
        process.close()


def get(http: httpx.Client, path: str, **query: Any) -> Any:
    answer = http.get(f"/v1/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_candles_come_newest_first_and_page_by_page(http: httpx.Client) -> None:
    found = []
    end: dict[str, str] = {}
    while page := get(http, "pairs/BTC-USD/candles", page_size=20, **end)["candles"]:
        found += page
        end = {"end_time": page[-1]["endTime"]}
    assert [candle["endTime"] for candle in found] == sorted({candle["endTime"] for candle in found}, reverse=True)
    assert len(found) == 50
    assert found[-1] == {
        "endTime": "2026-01-01T00:01:00Z", "seconds": 60, "open": 50_000.0, "high": 50_002.0, "low": 49_998.0,
        "close": 50_001.0, "volume": 0.5, "tradeCount": 9,
    }  # fmt: skip
    assert get(http, "pairs/ETH-USD/candles") == {"candles": []}


def test_news_of_the_base_coin_come_with_headline_and_signal_and_no_link_that_runs(http: httpx.Client) -> None:
    second, first = get(http, "pairs/BTC-USD/news")["news"]
    assert (first["title"], first["signal"], first["url"]) == ("Headline 1", 1, "https://news.example/1")
    assert (second["title"], second["url"]) == ("Headline 2", "")
    assert get(http, "pairs/BTC-USD/news", end_time=second["time"])["news"] == [first]


def test_models_come_newest_first_with_the_reason_of_each(http: httpx.Client) -> None:
    versions = get(http, "pairs/BTC-USD/models", horizon_seconds=300)["versions"]
    assert [(v["version"], v["stage"]) for v in versions] == [(3, "registered"), (2, "production"), (1, "archived")]
    assert versions[1]["reason"] == "better than version 1"
    assert versions[1]["kind"] == "Ensemble"
    assert {m["name"]: m["value"] for m in versions[1]["measures"]} == {
        "distribution_skill": 0.02,
        "HarSeasonal.lead": 0.02,
    }
    older = get(http, "pairs/BTC-USD/models", horizon_seconds=300, before_version=3, page_size=1)["versions"]
    assert [v["version"] for v in older] == [2]


def test_scores_of_every_pair_are_those_of_the_last_day(http: httpx.Client, store: SqlPredictionStore) -> None:
    now_ms = int(time.time() * 1000) // MINUTE_MS * MINUTE_MS
    m = (now_ms - START_MS) // MINUTE_MS - 60
    store.write([scored(a_prediction(m, pair="XRP/USD"))])
    eventually(lambda: http.get("/v1/pairs/XRP-USD/prediction").status_code == 200)
    answer = get(http, "scores")
    [score] = [each for each in answer["scores"] if each["pair"] == "XRP/USD"]
    assert score["score"] == {
        "count": 1,
        "coverage": 0.0,
        "distributionSkill": 0.5,
        "pointSkill": pytest.approx(1 - abs(50_010.5 + m - 50_020) / abs(50_000 + m - 50_020)),
    }
    assert "BTC/USD" not in {each["pair"] for each in answer["scores"]}  # scored in January


async def test_many_callers_wait_for_one_read_of_the_day() -> None:
    began, may_end = threading.Event(), threading.Event()
    reads: list[list[str]] = []

    class Store(SqlPredictionStore):
        def scores(self, pairs: Sequence[str], since_ms: int, pipeline: str | None = None) -> dict[Series, Score]:
            reads.append(list(pairs))
            began.set()
            may_end.wait(60)
            return {("btc", "BTC/USD", 300): Score()}

    async def snapshot(_: Caller) -> Snapshot:
        return Snapshot([a_prediction(1)])

    reading = Reading()
    records = Records(snapshot, reading, Store("sqlite://"), "", Sources())
    callers = [asyncio.create_task(records.list_scores(prediction_pb.ListScoresRequest())) for _ in range(100)]
    await asyncio.to_thread(began.wait, 60)
    callers[0].cancel()  # one that gives up leaves the read to the others
    may_end.set()
    answers = await asyncio.gather(*callers[1:])
    reading.close()
    assert reads == [["BTC/USD"]]
    assert {len(answer.message.scores) for answer in answers} == {1}  # type: ignore[attr-defined]


def test_calibration_is_of_the_newest_scored_forecasts(http: httpx.Client) -> None:
    found = get(http, "pairs/BTC-USD/calibration", horizon_seconds=300)
    assert found["score"]["count"] == 40
    assert found["score"]["coverage"] == 1.0
    assert found["score"]["distributionSkill"] == pytest.approx(0.5)
    assert (found["since"], found["until"]) == ("2026-01-01T00:05:00Z", "2026-01-01T00:44:00Z")
    assert found["reliability"] == []  # made before forecasts had levels
    assert [bucket["number"] for bucket in found["byHour"]] == [0]
    assert sum(bucket["score"]["count"] for bucket in found["overTime"]) == 40
    assert [bucket["score"]["count"] for bucket in found["byWidth"]] == [8] * 5


def test_pipelines_tell_what_is_wrong(http: httpx.Client) -> None:
    states = {each["pipelineId"]: each for each in get(http, "pipelines")["pipelines"]}
    assert set(states) == {"btc", "demo"}
    assert states["demo"]["simulated"]
    assert not states["btc"]["ready"]
    assert states["btc"]["message"].startswith("the time of the last forecast of every pair is over since ")


@pytest.mark.parametrize(
    ("path", "setting"),
    [("candles", "FEATURE_STORE_URL"), ("news", "FEATURE_STORE_URL"), ("models", "MODEL_REGISTRY_URL")],
)
def test_a_server_without_a_store_says_which_setting_it_needs(bare: ApiProcess, path: str, setting: str) -> None:
    answer = httpx.get(f"{bare.http}/v1/pairs/BTC-USD/{path}")
    assert answer.status_code == 501
    assert setting in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("pairs/BTC-USD/candles?page_size=-1", "page_size"),
        ("pairs/BTC-USD/news?page_size=-1", "page_size"),
        ("pairs/BTC-USD/models?page_size=-1", "page_size"),
        ("pairs/BTC-USD/models?horizon_seconds=-1", "horizon_seconds"),
        ("pairs/BTC-USD/calibration?horizon_seconds=-1", "horizon_seconds"),
        ("pairs/BTC/candles", "pair"),
    ],
)
def test_a_field_out_of_bounds_is_named(http: httpx.Client, path: str, field: str) -> None:
    answer = http.get(f"/v1/{path}")
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(field)


def forecasts(actuals: list[float]) -> list[Any]:
    return [
        scored(
            a_prediction(
                minute, levels=LEVELS, quantiles=(90.0, 100.0, 110.0), lower=90.0, upper=110.0, last_price=100.0
            ),
            actual,
        )
        for minute, actual in enumerate(actuals)
    ]


def test_reliability_counts_prices_below_each_level() -> None:
    found = calibration("btc", "BTC/USD", 300, forecasts([80, 95, 95, 105, 120]))
    assert [(each.level, each.observed) for each in found.reliability] == [(0.1, 0.2), (0.5, 0.6), (0.9, 0.8)]
    assert [(each.from_level, each.to_level, each.share) for each in found.pit] == [
        (0.0, 0.1, 0.2), (0.1, 0.5, 0.4), (0.5, 0.9, 0.2), (0.9, 1.0, 0.2),
    ]  # fmt: skip


@given(st.lists(st.floats(50, 150), max_size=200))
def test_every_scored_forecast_is_counted_once_in_each_part(actuals: list[float]) -> None:
    found = calibration("btc", "BTC/USD", 300, [*forecasts(actuals), a_prediction(500)])
    assert found.score.count == len(actuals)
    for parts in (found.over_time, found.by_width, found.by_hour):
        assert sum(part.score.count for part in parts) == len(actuals)
    assert len(found.over_time) <= 48
    assert sum(each.share for each in found.pit) == pytest.approx(1 if actuals else 0)


def process(name: str, state: str, message: str = "") -> pb.ProcessState:
    return pb.ProcessState(name=name, state=state, message=message)


def test_a_broken_process_is_the_cause_before_what_follows_from_it() -> None:
    processes = [process("candles", "starting"), process("trades", "restarting", "Kraken can't be reached")]
    state = pipeline_state("btc", [a_prediction()], processes, START_MS)
    assert not state.ready
    assert state.message == "trades is restarting: Kraken can't be reached"


def test_a_forecast_whose_time_is_over_is_told_and_one_that_isn_t_is_well() -> None:
    predictions = [a_prediction(0), a_prediction(9, pair="ETH/USD")]
    well = pipeline_state("btc", predictions, [process("trades", "ready")], START_MS)
    assert (well.ready, well.message, well.pair_count) == (True, "", 2)
    late = pipeline_state("btc", predictions, [], START_MS + 6 * MINUTE_MS)
    assert (
        late.message
        == "the time of the last forecast of 1 of 2 pairs (BTC/USD first) is over since 2026-01-01 00:05:00 UTC"
    )
    assert pipeline_state("btc", [], [process("train", "running", "177 of 330 candles")], 0).message == (
        "no forecast has been made yet (train: 177 of 330 candles)"
    )


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"programs": 3}', '{"programs": {"trades": {"since": "x"}}}', '{"programs": {"trades": 3}}'],
)
def test_a_state_file_that_can_t_be_read_shows_no_processes(tmp_path: Path, text: str) -> None:
    file = tmp_path / "state.json"
    file.write_text(text)
    assert read_processes(file) == []
    assert read_processes(tmp_path / "none") == []
