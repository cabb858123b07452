"""`pricecast features copy` and `pricecast models copy`: resumed where they stopped, compared at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pricecast_cli.main import app
from pricecast_core.errors import StoreError
from pricecast_core.stores.copying import copy_group
from pricecast_core.stores.features import FeatureGroup, Value, news_signals_group
from pricecast_core.stores.features_sql import SqlFeatureStore
from pricecast_core.stores.models_sql import SqlModelRegistry
from tests.contracts.features import GROUP, START_MS, a_row
from tests.contracts.models import NAME, a_run

PIPELINE = "btc-live"


class Counting(SqlFeatureStore):
    """A store that counts the rows written to it, and breaks after some."""

    def __init__(self, url: str, most: int = 1_000_000) -> None:
        super().__init__(url)
        self.written = 0
        self.most = most

    def write(self, group: FeatureGroup, rows: Sequence[Mapping[str, Value]]) -> None:
        if self.written >= self.most:
            raise StoreError("away")
        super().write(group, rows)
        self.written += len(rows)


@pytest.fixture
def source(tmp_path: Path) -> SqlFeatureStore:
    store = SqlFeatureStore(f"sqlite:///{tmp_path}/source.db")
    store.ensure(GROUP)
    store.write(GROUP, [a_row(minute, pair) for pair in ("BTC/USD", "ETH/USD") for minute in range(7_000)])
    return store


def test_features_are_copied_whole(source: SqlFeatureStore, tmp_path: Path) -> None:
    news = news_signals_group(PIPELINE)
    source.ensure(news)
    source.write(
        news,
        [{"coin": "BTC", "model_name": "m", "news_id": "1", "timestamp_ms": START_MS, "signal": 1, "reasoning": "é"}],
    )
    places = ["--from", f"sqlite:///{tmp_path}/source.db", "--to", f"sqlite:///{tmp_path}/target.db"]
    ran = CliRunner().invoke(app, ["features", "copy", PIPELINE, *places])
    assert ran.exit_code == 0, ran.output
    target = SqlFeatureStore(f"sqlite:///{tmp_path}/target.db")
    for name in (GROUP.name, news.name):
        assert target.read(name).equals(source.read(name))


def test_a_copy_that_broke_goes_on_where_it_stopped(source: SqlFeatureStore, tmp_path: Path) -> None:
    target = Counting(f"sqlite:///{tmp_path}/target.db", most=5_000)
    with pytest.raises(StoreError, match="away"):
        list(copy_group(GROUP, source, target))
    target.most, target.written = 1_000_000, 0
    assert list(copy_group(GROUP, source, target)) == [("BTC/USD", 7_000), ("ETH/USD", 7_000)]
    assert target.written <= 9_001
    target.written = 0
    list(copy_group(GROUP, source, target))
    assert target.written == 0


def test_rows_that_differ_are_copied_again(source: SqlFeatureStore, tmp_path: Path) -> None:
    target = Counting(f"sqlite:///{tmp_path}/target.db")
    list(copy_group(GROUP, source, target))
    target.write(GROUP, [a_row(3, "BTC/USD", rsi_14=99.0)])
    list(copy_group(GROUP, source, target))
    assert target.read(GROUP.name).equals(source.read(GROUP.name))
    target.write(GROUP, [a_row(9_000, "BTC/USD")])
    with pytest.raises(StoreError, match="BTC/USD: 7000 rows were copied and 7001 are there"):
        list(copy_group(GROUP, source, target))


def manifest_of(tmp_path: Path) -> str:
    manifest: dict[str, Any] = {"apiVersion": "pricecast.dev/v1alpha1", "kind": "PricePipeline"}
    manifest |= {"metadata": {"name": "btc"}, "spec": {"pairs": ["BTC/USD"]}}
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(manifest))
    return str(file)


def test_models_are_copied_with_what_serves(tmp_path: Path) -> None:
    source, target = (SqlModelRegistry(f"sqlite:///{tmp_path}/{name}.db") for name in ("source", "target"))
    for number in range(3):
        source.register(a_run(artifact=f"model {number}".encode()))
    source.promote(NAME, 1, "first")
    source.promote(NAME, 2, "better")
    source.reject(NAME, 3, "worse")
    target.register(a_run(artifact=b"model 0"))  # where a copy before had stopped
    places = ["--from", f"sqlite:///{tmp_path}/source.db", "--to", f"sqlite:///{tmp_path}/target.db"]
    ran = CliRunner().invoke(app, ["models", "copy", manifest_of(tmp_path), *places])
    assert ran.exit_code == 0, ran.output
    for mine, other in zip(source.versions(NAME), target.versions(NAME), strict=True):
        assert (mine.version, mine.stage, mine.reason) == (other.version, other.stage, other.reason)
        assert source.artifact(NAME, mine.version) == target.artifact(NAME, other.version)


def test_models_are_not_copied_over_others(tmp_path: Path) -> None:
    source, target = (SqlModelRegistry(f"sqlite:///{tmp_path}/{name}.db") for name in ("source", "target"))
    source.register(a_run(artifact=b"mine"))
    target.register(a_run(artifact=b"another"))
    places = ["--from", f"sqlite:///{tmp_path}/source.db", "--to", f"sqlite:///{tmp_path}/target.db"]
    ran = CliRunner().invoke(app, ["models", "copy", manifest_of(tmp_path), *places])
    assert isinstance(ran.exception, StoreError)
    assert "another model" in str(ran.exception)
