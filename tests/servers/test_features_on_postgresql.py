"""The feature store's contract on a real PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from pricecast_core.stores.features import FeatureStore
from pricecast_core.stores.features_sql import SqlFeatureStore
from tests.contracts.features import FeatureStoreContract, OpenStore


@pytest.fixture
def open_store(postgres_url: str) -> Iterator[OpenStore]:
    """Opens clients on a schema of this test's own."""
    schema = f"features_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    with admin.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    stores: list[FeatureStore] = []

    def open_one() -> FeatureStore:
        separator = "&" if "?" in postgres_url else "?"
        stores.append(SqlFeatureStore(f"{postgres_url}{separator}options=-csearch_path%3D{schema}"))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()
    with admin.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
    admin.dispose()


class TestPostgreSQL(FeatureStoreContract):
    pass
