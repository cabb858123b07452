"""The plan of a pipeline: which processes, in which order, with which settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pricecast_cli.local.folder import DataFolder
from pricecast_cli.local.programs import LocalBackends
from pricecast_core import settings as s
from pricecast_resources.base import SecretKeyRef
from pricecast_resources.plan import Plan, plan, prediction_api
from pricecast_resources.pricepipeline import PricePipelineSpec
from pricecast_resources.storage import KafkaStorage

BACKENDS = LocalBackends(DataFolder(Path("/data")), KafkaStorage(brokers="127.0.0.1:9092"))
PRICE_PATH = ["trades", "candles", "technical-indicators", "to-feature-store"]
PREDICTOR = ["train", "retrain", "price-predictor"]

HOPSWORKS = {"host": "hopsworks.example", "project": "prices", "apiKeySecretRef": {"name": "hopsworks", "key": "key"}}


def planned(**spec: Any) -> Plan:
    return plan("btc", PricePipelineSpec.model_validate({"pairs": ["BTC/USD"], **spec}), BACKENDS)


def names(found: Plan) -> list[str]:
    return [process.name for process in found.processes]


def test_the_price_path_stands_in_the_order_in_which_data_flows() -> None:
    assert names(planned()) == [*PRICE_PATH, *PREDICTOR]


def test_news_processes_are_optional_and_come_before_the_predictor() -> None:
    found = planned(news={"rss": {"urls": ["https://example.com/feed"]}})
    assert names(found) == [*PRICE_PATH, "news", "news-signal", "news-features", *PREDICTOR]
    assert [process.name for process in found.processes if process.service.optional] == [
        "news",
        "news-signal",
        "news-features",
    ]


def test_features_of_prices_and_news_go_to_the_same_store() -> None:
    found = planned(
        news={"rss": {"urls": ["https://example.com/feed"]}},
        storage={"features": {"kind": "Hopsworks", "hopsworks": HOPSWORKS}},
    )
    stores = {
        each.settings.feature_store for each in found.processes if isinstance(each.settings, s.ToFeatureStoreSettings)
    }
    assert stores == {"hopsworks"}


@pytest.mark.parametrize(
    ("news", "sources", "finite"),
    [
        ({}, ["rss"], False),
        ({"rss": {}}, ["rss"], False),
        ({"gdelt": {}}, ["gdelt"], False),
        ({"archive": {"location": "news.csv"}}, ["archive"], True),
        ({"archive": {"location": "news.csv"}, "rss": {}}, ["rss", "archive"], False),
        ({"cryptoPanic": {"apiKeySecretRef": {"name": "a", "key": "b"}}, "gdelt": {}}, ["cryptopanic", "gdelt"], False),
    ],
)
def test_news_comes_from_every_source_that_is_given_and_else_from_feeds(
    news: dict[str, Any], sources: list[str], finite: bool
) -> None:
    process = planned(news=news).process("news")
    assert isinstance(process.settings, s.NewsSettings)
    assert process.settings.source == sources
    assert process.finite is finite


def test_topics_of_news_exist_only_with_news() -> None:
    assert "btc.news" not in planned().topics
    assert "btc.news" in planned(news={"archive": {"location": "news.csv"}}).topics


def test_a_replay_of_bars_needs_no_candles_process() -> None:
    replay = {"kind": "Replay", "replay": {"files": ["a.csv"], "format": "bars"}}
    assert "candles" not in names(planned(source=replay))
    replay["replay"] = {"files": ["a.csv"], "format": "trades"}
    assert "candles" in names(planned(source=replay))


@pytest.mark.parametrize(
    ("source", "finite", "live"),
    [
        ({"kind": "Kraken"}, False, True),
        ({"kind": "Kraken", "mode": "Historical"}, True, False),
        ({"kind": "Simulated"}, False, True),
        ({"kind": "Replay", "replay": {"files": ["a.csv"]}}, True, False),
    ],
)
def test_only_a_source_that_ends_is_finite_and_not_live(source: dict[str, Any], finite: bool, live: bool) -> None:
    found = planned(source=source)
    predictor = found.process("price-predictor").settings
    assert isinstance(predictor, s.PricePredictorSettings)
    assert (found.process("trades").finite, predictor.live) == (finite, live)


def test_a_simulated_market_is_named_so_in_every_prediction() -> None:
    settings = planned(source={"kind": "Simulated"}).process("price-predictor").settings
    assert isinstance(settings, s.PricePredictorSettings)
    assert settings.simulated


def test_companion_pairs_are_ingested_but_not_predicted() -> None:
    found = planned(features={"companionPairs": ["ETH/USD"]})
    assert found.process("trades").settings.document()["pairs"] == ["BTC/USD", "ETH/USD"]
    assert found.process("price-predictor").settings.document()["pairs"] == ["BTC/USD"]
    assert found.process("price-predictor").settings.document()["companion_pairs"] == ["ETH/USD"]


def test_the_first_training_and_the_later_ones_are_the_same_command_with_the_same_settings() -> None:
    found = planned(training={"schedule": "0 3 * * *"})
    first, later = found.process("train"), found.process("retrain")
    assert (first.kind, later.kind, later.schedule) == ("job", "schedule", "0 3 * * *")
    assert (first.service.command, first.access) == (later.service.command, later.access)
    assert first.settings == later.settings


def test_secrets_stay_references() -> None:
    news = {"cryptoPanic": {"apiKeySecretRef": {"name": "cryptopanic", "key": "token"}}}
    assert planned(news=news).process("news").access["CRYPTOPANIC_API_KEY"] == SecretKeyRef(
        name="cryptopanic", key="token"
    )


def test_an_override_reaches_its_process_alone() -> None:
    found = planned(services={"candles": {"replicas": 3}})
    assert found.process("candles").override.replicas == 3
    assert found.process("trades").override.replicas is None


def test_every_process_reads_what_was_planned(tmp_path: Path) -> None:
    found = planned(news={"rss": {"urls": ["https://example.com/feed?tags=btc,eth"]}}, candles={"seconds": 30})
    api = prediction_api(BACKENDS, pipeline="btc")
    for process in (*found.processes, api):
        document = tmp_path / f"{process.name}.json"
        document.write_text(json.dumps(process.settings.document()))
        variables = {name: value for name, value in process.access.items() if isinstance(value, str)}
        read = s.load(type(process.settings), {**variables, s.DOCUMENT_VARIABLE: str(document)})
        assert read.model_copy(update=secrets_of(process.settings)) == process.settings


def secrets_of(settings: s.ServiceSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.secrets()}


def test_all_that_is_no_part_of_a_document_is_a_secret_setting() -> None:
    found = planned(news={"rss": {"urls": ["https://example.com/feed"]}})
    for process in (*found.processes, prediction_api(BACKENDS, pipeline="btc")):
        assert {name.lower() for name in process.access} <= set(process.settings.secrets())


def test_the_planners_own_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = planned()
    for name in ("HTTP_PORT", "GRPC_PORT", "SIMULATION_SEED"):
        monkeypatch.setenv(name, "1234")
    monkeypatch.setenv("LOG_LEVEL", "nonsense")
    assert planned() == before


def test_a_horizon_that_is_no_multiple_of_the_candle_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"horizonsSeconds: 90 is not a multiple of candles.seconds"):
        planned(prediction={"horizonsSeconds": [90]})


def test_a_pinned_version_concerns_the_predictor_alone() -> None:
    before, after = planned(), planned(models={"pinned": 3})
    for process in after.processes:
        same = before.process(process.name).settings.document() == process.settings.document()
        assert same == (process.name != "price-predictor"), process.name
    assert after.process("price-predictor").settings.document()["pinned_version"] == 3


def test_many_pairs_are_shared_out_among_predictors_and_trainings() -> None:
    pairs = [f"C{number}/USD" for number in range(500)]
    found = planned(pairs=pairs)
    for declared in ("price-predictor", "train", "retrain"):
        parts = [process for process in found.processes if process.declared == declared]
        assert [process.name for process in parts] == [declared, *(f"{declared}-{number}" for number in range(2, 9))]
        settings = [process.settings for process in parts]
        assert [pair for each in settings for pair in each.pairs] == pairs  # type: ignore[attr-defined]
        assert max(len(each.pairs) for each in settings) == 64  # type: ignore[attr-defined]
        assert len({process.service.group for process in parts}) == 8  # each reads all of the features
    assert len([process for process in found.processes if process.declared == "candles"]) == 1


def test_a_pair_that_is_added_moves_no_other() -> None:
    pairs = [f"C{number}/USD" for number in range(130)]
    before, after = planned(pairs=pairs), planned(pairs=[*pairs, "NEW/USD"])
    for name in ("price-predictor", "train", "price-predictor-2", "train-2"):
        assert before.process(name).settings.document() == after.process(name).settings.document()


def test_what_is_said_of_a_service_is_said_of_all_its_parts() -> None:
    pairs = [f"C{number}/USD" for number in range(70)]
    found = planned(pairs=pairs, services={"price-predictor": {"replicas": 0}})
    assert [found.process(name).override.replicas for name in ("price-predictor", "price-predictor-2")] == [0, 0]
