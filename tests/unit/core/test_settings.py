"""Settings: read from a document and from variables, refused with the name of the setting and of where it was read."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pricecast_core.errors import SettingsError
from pricecast_core.settings import (
    NewsSettings,
    PricePredictorSettings,
    ServiceSettings,
    TechnicalIndicatorsSettings,
    TradesSettings,
    load,
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (TradesSettings, PricePredictorSettings):
        for name in kind.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)


def document(folder: Path, content: dict[str, Any]) -> dict[str, str]:
    """Returns the environment that names a document."""
    file = folder / "settings.json"
    file.write_text(json.dumps(content))
    return {"PRICECAST_SETTINGS": str(file)}


def test_settings_survive_the_document(tmp_path: Path) -> None:
    written = TradesSettings(
        pipeline="btc", pairs=["XBT/USD", "eth-usd"], source="replay", replay_files=[Path("a,b.csv")], replay_speed=2
    )
    assert load(TradesSettings, document(tmp_path, written.document())) == written


def test_a_url_with_a_comma_stays_one(tmp_path: Path) -> None:
    urls = ["https://news.example/feed?tags=btc,eth", "https://other.example/"]
    assert load(NewsSettings, document(tmp_path, {"pipeline": "p", "rss_urls": urls})).rss_urls == urls
    assert load(NewsSettings, {"PIPELINE": "p", "RSS_URLS": json.dumps(urls)}).rss_urls == urls


def test_a_variable_comes_before_the_document_and_what_is_given_before_both(tmp_path: Path) -> None:
    environ = {**document(tmp_path, {"pipeline": "btc", "pairs": ["BTC/USD"], "since": "1d"}), "SINCE": "2d"}
    assert load(TradesSettings, environ).since == "2d"
    assert load(TradesSettings, environ, since="3d").since == "3d"
    assert load(TradesSettings, {**environ, "SINCE": ""}).since == "1d"


def test_an_indicators_periods_are_no_items_of_the_list() -> None:
    environ = {"PIPELINE": "p", "INDICATORS": "rsi(14), macd(10,24,9),obv"}
    assert load(TechnicalIndicatorsSettings, environ).indicators == ["rsi(14)", "macd(10,24,9)", "obv"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"pair": ["BTC/USD"]}, "settings.json: pair: is unknown; remove it. Known are pipeline, "),
        ({"comet_api_key": "hush"}, "comet_api_key: is a secret; remove it, and set the variable COMET_API_KEY"),
        ({"pipeline": "btc", "pairs": ["BTC/USD", "B"]}, "settings.json: pairs: 'B': "),
        ({"pipeline": "btc", "pairs": "BTC/USD"}, "settings.json: pairs: 'BTC/USD': "),
        ({"pipeline": "btc", "pairs": ["BTC/USD"], "training_folds": 1}, "settings.json: training_folds: 1: "),
    ],
)
def test_what_is_wrong_in_a_document_is_named_with_its_file(tmp_path: Path, content: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(PricePredictorSettings, document(tmp_path, content))
    assert told in str(refused.value)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"), [("{", "is not JSON"), ("[]", "write a JSON object"), (None, "can't be read")]
)
def test_a_document_that_is_none_is_named(tmp_path: Path, text: str | None, told: str) -> None:
    file = tmp_path / "settings.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match=f"PRICECAST_SETTINGS: {file}: .*{told}"):
        load(PricePredictorSettings, {"PRICECAST_SETTINGS": str(file)})


def test_a_list_that_starts_like_json_and_is_none_is_named() -> None:
    with pytest.raises(SettingsError, match=r"PAIRS: '.BTC/USD': starts like a JSON array"):
        load(TradesSettings, {"PIPELINE": "btc", "PAIRS": "[BTC/USD"})


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE", "btc")
    monkeypatch.setenv("PAIRS", "BTC/USD, ETH/USD")
    monkeypatch.setenv("HORIZONS_SECONDS", "60,300")
    settings = load(PricePredictorSettings)
    assert settings.pairs == ["BTC/USD", "ETH/USD"]
    assert settings.horizons_seconds == [60, 300]


def test_secrets_stay_out_of_the_document_that_is_written() -> None:
    settings = PricePredictorSettings(
        pipeline="btc", pairs=["BTC/USD"], comet_api_key=SecretStr("hush"), model_registry_url=SecretStr("hush")
    )
    assert settings.document() == {"pipeline": "btc", "pairs": ["BTC/USD"]}
    assert "hush" not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PAIRS", "BTC"),
        ("PAIRS", ""),
        ("PIPELINE", "Not A Name"),
        ("HTTP_PORT", "eighty"),
        ("REPLAY_SPEED", "-1"),
        ("SOURCE", "nyse"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv("PIPELINE", "btc")
    monkeypatch.setenv("PAIRS", "BTC/USD")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable):
        load(TradesSettings)


def test_a_missing_setting_says_how_to_set_it() -> None:
    with pytest.raises(SettingsError, match="PIPELINE: is not set; set it in the environment"):
        load(ServiceSettings)


def test_a_rule_over_several_settings_names_the_one_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE", "btc")
    monkeypatch.setenv("PAIRS", "BTC/USD")
    monkeypatch.setenv("SOURCE", "replay")
    with pytest.raises(SettingsError, match="replay_files: is empty; give at least one"):
        load(TradesSettings)


def test_every_setting_is_described() -> None:
    kinds: list[type[ServiceSettings]] = [ServiceSettings]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
        for name, field in kind.model_fields.items():
            assert field.description, f"{kind.__name__}.{name} has no description"
