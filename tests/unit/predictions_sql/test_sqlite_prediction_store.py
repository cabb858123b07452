"""The prediction store's contract on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pricecast_core.errors import SettingsError, StoreError
from pricecast_core.stores.predictions import PredictionStore
from pricecast_core.stores.predictions_sql import SqlPredictionStore
from tests.contracts.predictions import PredictionStoreContract, a_prediction


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PredictionStore]:
    store = SqlPredictionStore(f"sqlite:///{tmp_path}/deep/predictions.db")
    store.ensure()
    yield store
    store.close()


class TestSqlite(PredictionStoreContract):
    pass


def test_two_processes_may_share_the_file(store: PredictionStore, tmp_path: Path) -> None:
    other = SqlPredictionStore(f"sqlite:///{tmp_path}/deep/predictions.db")
    other.ensure()
    store.write([a_prediction(1)])
    assert other.latest() == [a_prediction(1)]
    other.close()


def test_a_store_that_is_not_ready_says_so(tmp_path: Path) -> None:
    store = SqlPredictionStore(f"sqlite:///{tmp_path}/predictions.db")
    with pytest.raises(StoreError, match="no such table"):
        store.latest()


@pytest.mark.parametrize("url", ["nonsense", "mysql://localhost/predictions"])
def test_an_unusable_url_is_refused_with_what_to_write(url: str) -> None:
    with pytest.raises(SettingsError, match="postgresql://"):
        SqlPredictionStore(url)


def test_a_password_is_never_in_an_error() -> None:
    store = SqlPredictionStore("postgresql://user:hunter2@127.0.0.1:1/none")
    with pytest.raises(StoreError) as caught:
        store.latest()
    assert "hunter2" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)
