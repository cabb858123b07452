"""Settings: read from the environment, written back to it, refused with the variable's name."""

from pathlib import Path

import pytest

from pricecast_core.errors import SettingsError
from pricecast_core.settings import PricePredictorSettings, ServiceSettings, TradesSettings, load


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (TradesSettings, PricePredictorSettings):
        for name in kind.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)


def test_settings_survive_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    written = TradesSettings(
        pipeline="btc", pairs=["XBT/USD", "eth-usd"], source="replay", replay_files=[Path("a,b.csv")], replay_speed=2
    )
    for name, value in written.to_env().items():
        monkeypatch.setenv(name, value)
    assert load(TradesSettings) == written


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE", "btc")
    monkeypatch.setenv("PAIRS", "BTC/USD, ETH/USD")
    monkeypatch.setenv("HORIZONS_SECONDS", "60,300")
    settings = load(PricePredictorSettings)
    assert settings.pairs == ["BTC/USD", "ETH/USD"]
    assert settings.horizons_seconds == [60, 300]


def test_secrets_stay_out_of_the_environment_that_is_written() -> None:
    settings = PricePredictorSettings(
        pipeline="btc", pairs=["BTC/USD"], comet_api_key="hush", model_registry_url="hush"
    )
    assert "hush" not in str(settings.to_env())
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
