"""The feature store's contract on SQLite, and what is SQLite's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pricecast_core.errors import StoreError
from pricecast_core.settings.to_feature_store import FeatureStoreSettings
from pricecast_core.stores.features import FeatureStore
from pricecast_core.stores.features_sql import SqlFeatureStore
from pricecast_core.stores.open import open_feature_store
from tests.contracts.features import GROUP, FeatureStoreContract, OpenStore, a_row


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[OpenStore]:
    stores: list[FeatureStore] = []

    def open_one() -> FeatureStore:
        stores.append(SqlFeatureStore(f"sqlite:///{tmp_path}/deep/features.db"))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


class TestSqlite(FeatureStoreContract):
    pass


def test_the_newest_rows_are_found_by_the_index(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store()
    store.ensure(GROUP)
    store.write(GROUP, [a_row(minute) for minute in range(100)])
    with sqlite3.connect(tmp_path / "deep" / "features.db") as connection:
        plan = connection.execute(
            f"EXPLAIN QUERY PLAN SELECT * FROM {GROUP.name} WHERE pair = 'BTC/USD' "
            "ORDER BY window_end_ms DESC, candle_seconds DESC LIMIT 1"
        ).fetchall()
    assert "USING INDEX" in plan[0][-1]


def test_a_locked_or_broken_database_is_a_store_error_that_names_the_database(tmp_path: Path) -> None:
    (tmp_path / "features.db").write_bytes(b"this is no database, whatever its name says" * 30)
    store = SqlFeatureStore(f"sqlite:///{tmp_path}/features.db")
    with pytest.raises(StoreError, match=r"not a database.*features\.db"):
        store.ensure(GROUP)


def test_the_settings_choose_the_store(tmp_path: Path) -> None:
    settings = FeatureStoreSettings(pipeline="btc", feature_store_url=f"sqlite:///{tmp_path}/f.db")  # type: ignore[arg-type]
    store = open_feature_store(settings)
    store.ensure(GROUP)
    assert (tmp_path / "f.db").exists()
    store.close()
