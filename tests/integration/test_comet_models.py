"""The model registry's contract on Comet: the real client against a stand-in for its servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pricecast_cli.main import app
from pricecast_core.errors import SettingsError, StoreError
from pricecast_core.settings import PricePredictorSettings
from pricecast_core.stores.models import ModelRegistry
from pricecast_core.stores.models_comet import CometAccess, CometModelRegistry, registered_name
from pricecast_core.stores.open import open_model_registry
from tests.contracts.models import NAME, ModelRegistryContract, a_run
from tests.doubles.comet import CometDouble

CANARY = "canaryZm9yIHRoZSBrZXk0OTIx"
pytestmark = pytest.mark.xdist_group("comet")


@pytest.fixture
def comet() -> Iterator[CometDouble]:
    with CometDouble(CANARY) as double:
        yield double
    assert double.unknown == []


@pytest.fixture
def registry(comet: CometDouble) -> Iterator[ModelRegistry]:
    registry = CometModelRegistry(CometAccess(comet.url, "", "pricecast", CANARY))
    yield registry
    registry.close()


class TestComet(ModelRegistryContract):
    pass


def test_a_person_finds_the_run_in_comet(registry: ModelRegistry, comet: CometDouble) -> None:
    registry.register(a_run())
    (experiment,) = [one for one in comet.experiments.values() if one["assets"]]
    assert (experiment["name"], experiment["project"]) == (NAME, "pricecast")
    assert experiment["parameters"]["max_depth"] == "4"
    assert float(experiment["metrics"]["distribution_skill"]) == 0.031
    assert experiment["html"] == a_run().report_html
    assert {asset["fileName"] for asset in experiment["assets"]} == {"model.bin", "run.json", "report.html"}


@pytest.mark.parametrize(("status", "remedy"), [(401, "COMET_API_KEY"), (403, "role"), (429, "quota")])
def test_a_refusal_says_what_to_do(registry: ModelRegistry, comet: CometDouble, status: int, remedy: str) -> None:
    registry.versions(NAME)
    comet.refusals = [status] * 20
    with pytest.raises(StoreError, match=remedy) as caught:
        registry.versions(NAME)
    assert CANARY not in str(caught.value)
    comet.refusals = []
    assert registry.versions(NAME) == []


def test_names_that_comet_would_mix_up_stay_apart() -> None:
    names = ["a.btc-aapl.x-usd-300s", "a-btc-aapl-x-usd-300s", "a.btc-aaplx-usd-300s", NAME]
    stored = [registered_name(name) for name in names]
    assert len(set(stored)) == len(names)
    assert stored[-1] == NAME


def test_without_a_key_runs_are_archived_and_sent_later(
    comet: CometDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PricePredictorSettings(
        pipeline="btc",
        pairs=["BTC/USD"],
        model_registry="comet",
        model_registry_url=f"sqlite:///{tmp_path}/models.db",  # type: ignore[arg-type]
        comet_archive_dir=tmp_path / "comet",
    )
    registry = open_model_registry(settings)
    assert registry.register(a_run()).version == 1
    assert registry.artifact(NAME, 1) == a_run().artifact
    registry.close()
    monkeypatch.setenv("COMET_API_KEY", "wrong")
    refused = CliRunner().invoke(app, ["models", "upload", str(tmp_path / "comet"), "--url", comet.url])
    assert isinstance(refused.exception, StoreError)
    monkeypatch.setenv("COMET_API_KEY", CANARY)
    sent = CliRunner().invoke(app, ["models", "upload", str(tmp_path / "comet"), "--url", comet.url])
    assert sent.exit_code == 0, sent.output
    online = CometModelRegistry(CometAccess(comet.url, "", "pricecast", CANARY))
    assert online.artifact(NAME, 1) == a_run().artifact
    assert online.versions(NAME)[0].metrics == a_run().metrics
    assert not list((tmp_path / "comet").glob("*.zip"))


def test_the_settings_choose_comet(comet: CometDouble) -> None:
    settings = PricePredictorSettings(
        pipeline="btc",
        pairs=["BTC/USD"],
        model_registry="comet",
        comet_url=comet.url,
        comet_api_key=CANARY,  # type: ignore[arg-type]
    )
    assert CANARY not in repr(settings)
    assert comet.url in settings.addresses
    registry = open_model_registry(settings)
    assert isinstance(registry, CometModelRegistry)
    registry.close()


def test_a_missing_client_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "comet_ml", None)
    with pytest.raises(SettingsError, match=r"pricecast-core\[comet\]"):
        CometModelRegistry(CometAccess("http://127.0.0.1:1", "", "pricecast", CANARY))
