"""Copies of features and models from one store to another: begun again where they stopped, compared at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from pricecast_core.errors import StoreError
from pricecast_core.stores.features import (
    CANDLE_COLUMNS,
    FeatureGroup,
    FeatureStore,
    news_signals_group,
    technical_indicators_group,
)
from pricecast_core.stores.models import ModelRegistry, ModelVersion, TrainingRun

_BATCH_ROWS = 5_000


def groups_of(store: FeatureStore, pipeline: str) -> list[FeatureGroup]:
    """Returns a pipeline's groups that are in the store, with the columns that they have there."""
    prices = technical_indicators_group(pipeline, ())
    indicators = [name for name in store.columns(prices.name) if name not in CANDLE_COLUMNS]
    news = news_signals_group(pipeline)
    return [
        *([technical_indicators_group(pipeline, indicators)] if store.columns(prices.name) else []),
        *([news] if store.columns(news.name) else []),
    ]


def copy_group(group: FeatureGroup, source: FeatureStore, target: FeatureStore) -> Iterator[tuple[str, int]]:
    """Copies a group, one entity after the other, and yields each entity with its rows once both stores agree on it.

    An entity whose rows the target has is not written again; one of which it has the older rows goes on from there.

    Raises:
        StoreError: If the stores differ after an entity was copied.
    """
    target.ensure(group)
    newest = source.read(group.name, last=1)
    for entity in newest[group.entity].unique(maintain_order=True) if not newest.is_empty() else ():
        rows = source.read(group.name, entities=[entity])
        there = target.read(group.name, entities=[entity])
        if not _same(group, rows, there):
            if not there.is_empty() and _same(group, _until(group, rows, there), there):
                missing = rows.filter(pl.col(group.event_time) >= there[group.event_time].max())
            else:
                missing = rows
            for batch in missing.iter_slices(_BATCH_ROWS):
                target.write(group, batch.select(list(group.columns)).to_dicts())
            there = target.read(group.name, entities=[entity])
        if not _same(group, rows, there):
            raise StoreError(
                f"{group.name}: {entity}: {rows.height} rows were copied and {there.height} are there, or they differ; "
                "stop what writes to either store, and copy again"
            )
        yield str(entity), rows.height


def copy_model(name: str, source: ModelRegistry, target: ModelRegistry) -> int:
    """Copies a model's versions, oldest first, their reports and which is in production; returns how many there are.

    Raises:
        StoreError: If the target has other versions of the model, or a copy differs.
    """
    versions = sorted(source.versions(name), key=lambda version: version.version)
    there = sorted(target.versions(name), key=lambda version: version.version)
    if len(there) > len(versions):
        raise StoreError(
            f"{name}: the target has {len(there)} versions and the source {len(versions)}; copy to an empty one"
        )
    for mine, other in zip(versions, there, strict=False):
        _compare(name, mine, other, source, target)
    for version in versions[len(there) :]:
        copied = target.register(
            TrainingRun(
                model_name=name,
                parameters=version.parameters,
                metrics=version.metrics,
                trained_through_ms=version.trained_through_ms,
                artifact=source.artifact(name, version.version),
                report_html=source.report(name, version.version),
                lineage=version.lineage,
            )
        )
        _compare(name, version, copied, source, target)
    for version in _by_stage(versions):
        if version.stage == "registered":
            if version.reason:
                target.reject(name, _position(versions, version), version.reason)
        else:  # what was archived has been in production
            target.promote(name, _position(versions, version), version.reason)
    return len(versions)


def _by_stage(versions: Sequence[ModelVersion]) -> list[ModelVersion]:
    """Returns versions with the one in production last: promoting it archives the others."""
    return sorted(versions, key=lambda version: (version.stage == "production", version.version))


def _position(versions: Sequence[ModelVersion], version: ModelVersion) -> int:
    return versions.index(version) + 1


def _compare(name: str, mine: ModelVersion, other: ModelVersion, source: ModelRegistry, target: ModelRegistry) -> None:
    same = (mine.trained_through_ms, mine.lineage, mine.parameters, mine.metrics) == (
        other.trained_through_ms,
        other.lineage,
        other.parameters,
        other.metrics,
    )
    if not same or source.artifact(name, mine.version) != target.artifact(name, other.version):
        raise StoreError(f"{name}: version {other.version} of the target is another model; copy to an empty registry")


def _until(group: FeatureGroup, rows: pl.DataFrame, there: pl.DataFrame) -> pl.DataFrame:
    """Returns the rows that are in the target already, if it has the older ones."""
    keys = there.select(group.primary_key)
    return rows.filter(pl.col(group.event_time) <= there[group.event_time].max()).join(
        keys, on=list(group.primary_key), how="semi"
    )


def _same(group: FeatureGroup, rows: pl.DataFrame, there: pl.DataFrame) -> bool:
    columns = list(group.columns)
    return rows.height == there.height and _checksum(rows.select(columns)) == _checksum(there.select(columns))


def _checksum(rows: pl.DataFrame) -> int:
    """Returns a checksum of rows in any order."""
    return int(rows.hash_rows(seed=0).cast(pl.UInt64).sum() or 0)
