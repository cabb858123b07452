"""The model registry's contract on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pricecast_core.stores.models import ModelRegistry
from pricecast_core.stores.models_sql import SqlModelRegistry
from tests.contracts.models import NAME, ModelRegistryContract, a_run


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[ModelRegistry]:
    registry = SqlModelRegistry(f"sqlite:///{tmp_path}/models.db")
    yield registry
    registry.close()


class TestSqlite(ModelRegistryContract):
    pass


def test_what_is_registered_outlives_the_process(registry: ModelRegistry, tmp_path: Path) -> None:
    registry.register(a_run())
    again = SqlModelRegistry(f"sqlite:///{tmp_path}/models.db")
    assert again.artifact(NAME, 1) == a_run().artifact
    again.close()
