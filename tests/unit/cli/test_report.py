"""`pricecast report` over a pipeline's own stores, by the command's own process entry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pricecast_cli.local.folder import DataFolder
from pricecast_cli.main import app
from pricecast_core.errors import StoreError
from pricecast_core.stores.models import model_name
from pricecast_core.stores.models_sql import SqlModelRegistry
from pricecast_core.stores.predictions_sql import SqlPredictionStore
from tests.contracts.models import a_run
from tests.contracts.predictions import a_prediction


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pipeline of which 300 s and 900 s are predicted, and 300 s has three versions, the second in production."""
    place = DataFolder(tmp_path)
    store = SqlPredictionStore(place.database("predictions"))
    store.ensure()
    predictions = [a_prediction(horizon_seconds=seconds) for seconds in (900, 300)]
    store.write(predictions)
    store.close()
    pipeline = predictions[0].pipeline
    place.write_state({"pipeline": pipeline})
    registry = SqlModelRegistry(place.database("models"))
    name = model_name(pipeline, "btc-usd", 300)
    for _ in range(3):
        registry.register(a_run(name))
    registry.promote(name, 2, "beats naive by 3.1%")
    registry.close()
    return tmp_path


def report(folder: Path, *arguments: str) -> str:
    done = CliRunner().invoke(
        app,
        ["report", "BTC/USD", "--data-dir", str(folder), *arguments],
        catch_exceptions=False,
        env={"COLUMNS": "200"},
    )
    assert done.exit_code == 0, done.output
    return done.output


def test_the_page_of_the_version_in_production_is_written_beside_a_list_of_all(folder: Path) -> None:
    shown = report(folder)
    assert "beats naive by 3.1%" in shown
    assert shown.count("2026-01-01 00:00 UTC") == 3
    assert "version 2: rows since 2025-12-01 00:00 UTC, features a1b2c3, code 0.1.0, none served before it" in shown
    (page,) = (folder / "reports").iterdir()
    assert page.name.endswith("300s-v2.html")
    assert page.read_text(encoding="utf-8") == a_run().report_html


def test_any_version_goes_to_any_file(folder: Path) -> None:
    report(folder, "--version", "3", "--output", str(folder / "here" / "page.html"))
    assert (folder / "here" / "page.html").read_text(encoding="utf-8") == a_run().report_html


def test_how_a_version_did_beside_its_rivals_is_told_with_the_interval(folder: Path) -> None:
    assert "rivals" not in report(folder)
    registry = SqlModelRegistry(DataFolder(folder).database("models"))
    name = model_name(a_prediction().pipeline, "btc-usd", 300)
    figures = {"distribution_skill": 0.0319, "lead": 0.0031, "lead_low": 0.0019, "lead_high": 0.0042}
    run = replace(a_run(name), metrics={f"HarSeasonal.{key}": value for key, value in figures.items()})
    registry.promote(name, registry.register(run).version, "beats naive")
    registry.close()
    (line,) = [line for line in report(folder).splitlines() if "HarSeasonal" in line]
    assert [cell.strip() for cell in line.strip("│┃ ").split("│")] == [
        "HarSeasonal",
        "3.19",
        "+0.31",
        "+0.19 to +0.42",
        "ahead",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--version", "9"), "has no version 9; there are 3, 2, 1"),
        (("--horizon", "900"), "has no version yet"),
    ],
)
def test_what_is_not_there_is_told(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        report(folder, *arguments)
