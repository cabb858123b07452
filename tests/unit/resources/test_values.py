"""A value is good or bad everywhere alike: in the spec, the CRD's schema, the settings, the messages and the API."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pricecast_core.errors import BadMessageError, SettingsError
from pricecast_core.indicators import INDICATORS, LONGEST_PERIOD
from pricecast_core.messages import Candle, NewsSignal, Trade, decode, encode
from pricecast_core.settings import (
    CandlesSettings,
    NewsSignalSettings,
    PricePredictorSettings,
    TechnicalIndicatorsSettings,
    load,
)
from pricecast_core.stores.predictions_sql import SqlPredictionStore
from pricecast_core.values import KRAKEN_TO_COMMON, LONGEST_CANDLE_SECONDS, LONGEST_HORIZON_SECONDS
from pricecast_operator.crds.schema import PRICE_PIPELINE, custom_resource_definition
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as pb
from pricecast_prediction_api.latest import LatestPredictions
from pricecast_prediction_api.methods import PredictionMethods
from pricecast_prediction_api.problems import ApiError
from pricecast_resources.finetunejob import FinetuneJobSpec
from pricecast_resources.manifest import load_manifest
from pricecast_resources.pricepipeline import PricePipelineSpec
from tests.contracts.manifests import FINETUNE, PIPELINE
from tests.contracts.predictions import START_MS, a_prediction

SCHEMA = custom_resource_definition(PRICE_PIPELINE)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]


def accepts(call: Callable[[], Any]) -> bool:
    try:
        call()
    except (ValidationError, SettingsError, BadMessageError, ApiError, AssertionError):
        return False
    return True


def spec(**fields: Any) -> PricePipelineSpec:
    return PricePipelineSpec.model_validate({"pairs": ["BTC/USD"], **fields})


def schema_allows(path: str, value: Any) -> None:
    """Asserts what the API server does, but for the CEL rules: those are tried on a real one."""
    node = SCHEMA["spec"]
    for part in path.split("."):
        node = node["items"] if part == "[]" else node["properties"][part]
    if isinstance(value, str):
        assert len(value) <= node["maxLength"]
        assert re.search(node["pattern"].removesuffix("$") + r"\Z", value)
    else:
        assert node["minimum"] <= value <= node["maximum"]


def served(pair: str, horizon_seconds: int, pipeline: str = "btc") -> None:
    """Stores a prediction, reads it back and asks the API for it."""

    async def ask(folder: str) -> None:
        store = SqlPredictionStore(f"sqlite:///{folder}/predictions.db")
        store.ensure()
        store.write([a_prediction(pair=pair, horizon_seconds=horizon_seconds, pipeline=pipeline)])
        latest = LatestPredictions(store.latest, max_staleness_seconds=20, refresh_seconds=20)
        methods = PredictionMethods(latest, store)
        reading = asyncio.create_task(latest.run())
        try:
            reply = await methods.predict(
                pb.PredictRequest(pair=pair, horizon_seconds=horizon_seconds, pipeline=pipeline)
            )
            page = await methods.list_predictions(
                pb.ListPredictionsRequest(pair=pair, horizon_seconds=horizon_seconds, pipeline=pipeline)
            )
        finally:
            reading.cancel()
            methods.close()
            store.close()
        prediction = reply.message.prediction  # type: ignore[attr-defined]
        assert (prediction.pair, prediction.horizon_seconds) == (pair, horizon_seconds)
        assert len(page.message.predictions) == 1  # type: ignore[attr-defined]

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(ask(folder))


def decoded(message: Any) -> None:
    assert decode(type(message), encode(message)) == message


def trade(pair: str) -> Trade:
    return Trade(pair=pair, price=1.0, volume=1.0, timestamp_ms=START_MS)


def candle(seconds: int) -> Candle:
    return Candle(
        pair="BTC/USD",
        open=1.0,
        high=1.0,
        low=1.0,
        close=1.0,
        volume=0.0,
        trade_count=0,
        window_start_ms=START_MS,
        window_end_ms=START_MS + seconds * 1000,
        candle_seconds=seconds,
    )


def signal(coin: str) -> NewsSignal:
    return NewsSignal(coin=coin, signal=1, model_name="lexicon", news_id="1", timestamp_ms=START_MS)


def named(name: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump({**PIPELINE, "metadata": {"name": name}}, file)
        file.flush()
        load_manifest(Path(file.name))


LETTERS = st.text("AZaz09xX/-\n é", max_size=37) | st.from_regex(r"\A[A-Z0-9]{1,17}x?/[A-Z0-9]{1,17}x?\Z")


@given(LETTERS)
@example("T/USD")
@example("AAPLx/USD")
@example("A" * 16 + "x/" + "Z" * 16 + "x")
@example("A" * 17 + "/USD")
@example("BTC/USD\n")
@example("XBTx/USD")
@settings(max_examples=60, deadline=None)
def test_a_pair(pair: str) -> None:
    verdicts = {
        "spec": accepts(lambda: spec(pairs=[pair])),
        "companion": accepts(lambda: spec(features={"companionPairs": [pair]})),
        "schema": accepts(lambda: schema_allows("pairs.[]", pair)),
        "companion's schema": accepts(lambda: schema_allows("features.companionPairs.[]", pair)),
        "messages": accepts(lambda: decoded(trade(pair))),
    }
    if verdicts["messages"] and not set(pair.split("/")) & KRAKEN_TO_COMMON.keys():
        assert load(CandlesSettings, pipeline="p", pairs=[pair]).pairs == [pair]
        verdicts["API"] = accepts(lambda: served(pair, 300))
        assert set(verdicts.values()) == {True}, verdicts
    elif verdicts["messages"]:
        assert not verdicts["spec"]
        assert not verdicts["companion"]
    else:
        assert set(verdicts.values()) == {False}, verdicts


@pytest.mark.parametrize("coin", KRAKEN_TO_COMMON)
def test_krakens_names_are_refused_in_the_spec_and_read_in_settings(coin: str) -> None:
    for fields in ({"pairs": [f"{coin}/USD"]}, {"features": {"companionPairs": [f"ETH/{coin}"]}}):
        with pytest.raises(ValidationError, match=rf"{coin}.*: is Kraken's name; write .*{KRAKEN_TO_COMMON[coin]}"):
            spec(**fields)
    settings = load(PricePredictorSettings, pipeline="p", pairs=[f"{coin}/usd"], companion_pairs=[f"ETH/{coin}"])
    assert settings.pairs == [f"{KRAKEN_TO_COMMON[coin]}/USD"]
    assert settings.companion_pairs == [f"ETH/{KRAKEN_TO_COMMON[coin]}"]


@given(st.integers(-2, 2) | st.integers(LONGEST_HORIZON_SECONDS - 2, LONGEST_HORIZON_SECONDS + 2))
@example(86_401)
@example(172_800)
@settings(max_examples=20, deadline=None)
def test_a_horizon(seconds: int) -> None:
    verdicts = {
        "spec": accepts(
            lambda: spec(
                candles={"seconds": 1}, training={"lookback": "999999d"}, prediction={"horizonsSeconds": [seconds]}
            )
        ),
        "schema": accepts(lambda: schema_allows("prediction.horizonsSeconds.[]", seconds)),
        "settings": accepts(
            lambda: load(PricePredictorSettings, pipeline="p", pairs=["BTC/USD"], horizons_seconds=[seconds])
        ),
        "messages": accepts(lambda: decoded(a_prediction(horizon_seconds=seconds))),
        "API": seconds != 0 and accepts(lambda: served("BTC/USD", seconds)),  # where 0 asks for any horizon
    }
    assert len(set(verdicts.values())) == 1, verdicts


@given(st.integers(-2, 2) | st.integers(LONGEST_CANDLE_SECONDS - 2, LONGEST_CANDLE_SECONDS + 2))
@settings(max_examples=10, deadline=None)
def test_a_candles_length(seconds: int) -> None:
    training = {"lookback": "999999d"}
    verdicts = {
        "spec": accepts(
            lambda: spec(
                candles={"seconds": seconds}, training=training, prediction={"horizonsSeconds": [abs(seconds) or 1]}
            )
        ),
        "schema": accepts(lambda: schema_allows("candles.seconds", seconds)),
        "settings": accepts(lambda: load(CandlesSettings, pipeline="p", pairs=["BTC/USD"], candle_seconds=seconds)),
        "messages": accepts(lambda: decoded(candle(seconds))),
    }
    assert len(set(verdicts.values())) == 1, verdicts


PERIODS = st.lists(st.sampled_from(["0", "1", "14", "014", str(LONGEST_PERIOD), str(LONGEST_PERIOD + 1), "-1", ""]))
TERMS = st.builds(
    lambda name, periods: f"{name}({', '.join(periods)})" if periods else name,
    st.sampled_from([*(one.name for one in INDICATORS), "rsii", "RSI", ""]),
    PERIODS,
)


@given(TERMS)
@example("sma(400)")
@example(f"stochrsi({LONGEST_PERIOD},{LONGEST_PERIOD},{LONGEST_PERIOD})")
@example("rsi(14)\n")
def test_an_indicator(term: str) -> None:
    good = accepts(lambda: spec(indicators=[term]))
    if term:  # of settings, an empty list is the default one
        assert good == accepts(lambda: load(TechnicalIndicatorsSettings, pipeline="p", indicators=[term])), term
    if good:
        schema_allows("indicators.[]", term)


NAMES = st.text("ab1-.A_ ", max_size=42) | st.from_regex(r"\A[a-z]([-a-z0-9]{0,45}[a-z0-9])?\Z")


@given(NAMES)
@example("a" * 40)
@example("a" * 41)
@example("1inch-usd")
@example("b-")
@example("a.b")
@example("a")
@example("a\n")
@example("")
@settings(max_examples=60, deadline=None)
def test_a_pipelines_name(name: str) -> None:
    [rule] = PRICE_PIPELINE.rules
    pattern = rule["rule"].partition("matches('")[2].removesuffix("')").removesuffix("$")
    verdicts = {
        "manifest": accepts(lambda: named(name)),
        "CRD": re.search(pattern + r"\Z", name) is not None,
        "settings": accepts(lambda: load(CandlesSettings, pipeline=f"prices.{name}", pairs=["BTC/USD"])),
        "messages": accepts(lambda: decoded(a_prediction(pipeline=f"prices.{name}"))),
    }
    verdicts["API"] = verdicts["messages"] and accepts(lambda: served("BTC/USD", 300, f"prices.{name}"))
    assert len(set(verdicts.values())) == 1, verdicts


@given(st.text("AZaz09xX/-\n é", max_size=19) | st.from_regex(r"\A[A-Z0-9]{1,17}x?\Z"))
@example("T")
@example("AAPLx")
@example("A" * 16 + "x")
@example("A" * 17)
@example("XBT")
@example("BTC\n")
@settings(max_examples=60, deadline=None)
def test_a_coin(coin: str) -> None:
    archive = {"archive": {"location": "/data/news.csv"}}
    verdicts = {
        "pipeline": accepts(lambda: spec(news={**archive, "coins": [coin]})),
        "job": accepts(lambda: FinetuneJobSpec.model_validate({**FINETUNE["spec"], "coins": [coin]})),
        "schema": accepts(lambda: schema_allows("news.coins.[]", coin)),
        "messages": accepts(lambda: decoded(signal(coin))),
    }
    if coin in KRAKEN_TO_COMMON:
        assert not verdicts["pipeline"]
        assert not verdicts["job"]
        assert load(NewsSignalSettings, pipeline="p", coins=[coin]).coins == [KRAKEN_TO_COMMON[coin]]
        return
    assert len(set(verdicts.values())) == 1, verdicts
    if verdicts["messages"]:
        assert load(NewsSignalSettings, pipeline="p", coins=[coin]).coins == [coin]
        assert accepts(lambda: served(f"{coin}/USD", 300))  # the API knows coins as sides of pairs


@pytest.mark.parametrize(
    ("candle", "horizons", "enough", "short"),
    [(60, [60, 604_800], "25550m", "25549m"), (86_400, [86_400], "353d", "352d"), (60, [300], "2000m", "1999m")],
)
def test_the_lookback_is_what_training_takes(candle: int, horizons: list[int], enough: str, short: str) -> None:
    spec: dict[str, Any] = {"pairs": ["BTC/USD"], "candles": {"seconds": candle}, "prediction": {}}
    spec["prediction"]["horizonsSeconds"] = horizons
    rows = {"minRows": 200 if candle == 86_400 else 2_000}
    PricePipelineSpec.model_validate(spec | {"training": rows | {"lookback": enough}})
    with pytest.raises(ValidationError, match=rf"training\.lookback: {short} holds fewer candles of {candle} s than"):
        PricePipelineSpec.model_validate(spec | {"training": rows | {"lookback": short}})
