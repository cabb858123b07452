"""The contracts of the model registry and the prediction store on a real PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from pricecast_core.stores.models import ModelRegistry
from pricecast_core.stores.models_sql import SqlModelRegistry
from pricecast_core.stores.predictions import PredictionStore
from pricecast_core.stores.predictions_sql import SqlPredictionStore
from tests.contracts.models import ModelRegistryContract
from tests.contracts.predictions import PredictionStoreContract


@pytest.fixture
def database(postgres_url: str) -> Iterator[str]:
    """A database of the test's own."""
    url = sa.make_url(postgres_url).set(drivername="postgresql+psycopg")
    name = f"test_{uuid.uuid4().hex}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield url.set(database=name, drivername="postgresql").render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


@pytest.fixture
def store(database: str) -> Iterator[PredictionStore]:
    store = SqlPredictionStore(database)
    store.ensure()
    yield store
    store.close()


@pytest.fixture
def registry(database: str) -> Iterator[ModelRegistry]:
    registry = SqlModelRegistry(database)
    yield registry
    registry.close()


class TestPredictions(PredictionStoreContract):
    pass


class TestModels(ModelRegistryContract):
    pass


def test_processes_that_start_at_once_create_the_tables_once(database: str) -> None:
    def start(_: int) -> None:
        store = SqlPredictionStore(database)
        store.ensure()
        store.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start, range(8)))
