"""The model registry in SQL, for those without a Comet account.

A model's row in `models` numbers its versions and is the lock under which one version follows another in production.
Artifacts and reports lie in a table of their own, so that asking which version serves doesn't read them.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa

from pricecast_core.errors import StoreError
from pricecast_core.stores.models import Lineage, ModelVersion, Promotion, TrainingRun
from pricecast_core.stores.sql import SqlDatabase

_metadata = sa.MetaData()
_LINEAGE = [each.name for each in fields(Lineage)]

_models = sa.Table(
    "models",
    _metadata,
    sa.Column("model_name", sa.String, primary_key=True),
    sa.Column("latest_version", sa.Integer, nullable=False),
    sa.Column("training_reason", sa.Text, comment="Why an early training is asked for; null if none is"),
)
_versions = sa.Table(
    "model_versions",
    _metadata,
    sa.Column("model_name", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("stage", sa.String, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("trained_through_ms", sa.BigInteger, nullable=False),
    sa.Column("parameters", sa.Text, nullable=False, comment="JSON object"),
    sa.Column("metrics", sa.Text, nullable=False, comment="JSON object"),
)
_artifacts = sa.Table(
    "model_artifacts",
    _metadata,
    sa.Column("model_name", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("artifact", sa.LargeBinary, nullable=False),
    sa.Column("report_html", sa.Text, nullable=False),
)
_lineage = sa.Table(
    "model_lineage",
    _metadata,
    sa.Column("model_name", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("trained_from_ms", sa.BigInteger, nullable=False),
    sa.Column("feature_set", sa.String, nullable=False),
    sa.Column("code_version", sa.String, nullable=False),
    sa.Column("parent", sa.Integer, nullable=False, comment="The version in production when it was trained; 0 if none"),
)
_known = sa.select(
    *_versions.c, *(column for column in _lineage.c if column.name not in ("model_name", "version"))
).outerjoin_from(
    _versions,
    _lineage,
    sa.and_(_versions.c.model_name == _lineage.c.model_name, _versions.c.version == _lineage.c.version),
)
"""Versions with their lineage, which those of before there was any lack."""
_promotions = sa.Table(
    "model_promotions",
    _metadata,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("model_name", sa.String, nullable=False, index=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("former", sa.Integer, nullable=False, comment="The version in production before; 0 if none was"),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)
sa.Index(
    "one_production_version_per_model",
    _versions.c.model_name,
    unique=True,
    sqlite_where=_versions.c.stage == "production",
    postgresql_where=_versions.c.stage == "production",
)


class SqlModelRegistry:
    """A `ModelRegistry` in SQLite or PostgreSQL.

    Args:
        url: SQLAlchemy URL of the database; its tables are created if need be.

    Raises:
        SettingsError: If the URL can't be used.
        StoreError: If the database can't be reached.
    """

    def __init__(self, url: str) -> None:
        self._database = SqlDatabase(url)
        self._database.create(_metadata)

    def register(self, run: TrainingRun) -> ModelVersion:
        """Stores the run and its model as the next version, in stage `registered`."""
        insert = self._database.insert(_models).values(model_name=run.model_name, latest_version=1)
        upsert = insert.on_conflict_do_update(
            index_elements=["model_name"],
            set_={"latest_version": _models.c.latest_version + 1, "training_reason": None},
        ).returning(_models.c.latest_version)
        with self._database.write() as connection:
            version = ModelVersion(
                model_name=run.model_name,
                version=int(connection.execute(upsert).scalar_one()),
                stage="registered",
                reason="",
                created_at_ms=time.time_ns() // 1_000_000,
                trained_through_ms=run.trained_through_ms,
                parameters=dict(run.parameters),
                metrics=dict(run.metrics),
                lineage=run.lineage,
            )
            connection.execute(_versions.insert(), _to_row(version))
            of_version = {"model_name": version.model_name, "version": version.version}
            connection.execute(_lineage.insert(), {**of_version, **asdict(run.lineage)})
            connection.execute(
                _artifacts.insert(),
                {
                    "model_name": run.model_name,
                    "version": version.version,
                    "artifact": run.artifact,
                    "report_html": run.report_html,
                },
            )
        return version

    def promote(self, model_name: str, version: int, reason: str) -> ModelVersion:
        """Puts the version into production and archives the one before, in one step.

        Raises:
            StoreError: If there is no such version.
        """
        with self._database.write() as connection:
            connection.execute(sa.select(_models).where(_models.c.model_name == model_name).with_for_update())
            serving = (_versions.c.model_name == model_name, _versions.c.stage == "production")
            former = connection.execute(sa.select(_versions.c.version).where(*serving)).scalar_one_or_none() or 0
            if former != version:
                connection.execute(_versions.update().where(*serving).values(stage="archived"))
                row = {"model_name": model_name, "version": version, "former": former, "reason": reason}
                connection.execute(_promotions.insert(), {**row, "at_ms": time.time_ns() // 1_000_000})
            return _update(connection, model_name, version, stage="production", reason=reason)

    def reject(self, model_name: str, version: int, reason: str) -> ModelVersion:
        """Records why a version was not promoted.

        Raises:
            StoreError: If there is no such version.
        """
        with self._database.write() as connection:
            return _update(connection, model_name, version, reason=reason)

    def production(self, model_names: list[str]) -> dict[str, ModelVersion]:
        """Returns the version in production of each of the models that has one, in one call, without artifacts."""
        query = _known.where(_versions.c.model_name.in_(model_names), _versions.c.stage == "production")
        with self._database.read() as connection:
            return {row.model_name: _from_row(row) for row in connection.execute(query)}

    def newest(self, model_names: list[str]) -> dict[str, int]:
        """Returns the newest version of each of the models that has one, in one call: those before it are there, too."""
        query = sa.select(_models).where(_models.c.model_name.in_(model_names), _models.c.latest_version > 0)
        with self._database.read() as connection:
            return {row.model_name: row.latest_version for row in connection.execute(query)}

    def promotions(self, model_names: list[str], most: int) -> list[Promotion]:
        """Returns the last changes of the version in production, newest first, at most so many of each model, in one call."""
        back = sa.func.row_number().over(partition_by=_promotions.c.model_name, order_by=_promotions.c.number.desc())
        made = sa.select(_promotions, back.label("back")).where(_promotions.c.model_name.in_(model_names)).subquery()
        query = sa.select(made).where(made.c.back <= most).order_by(made.c.number.desc())
        with self._database.read() as connection:
            return [
                Promotion(row.model_name, row.version, row.former, row.at_ms, row.reason)
                for row in connection.execute(query)
            ]

    def artifact(self, model_name: str, version: int) -> bytes:
        """Returns the serialised model.

        Raises:
            StoreError: If there is no such version.
        """
        return bytes(self._of_version(_artifacts.c.artifact, model_name, version))

    def report(self, model_name: str, version: int) -> str:
        """Returns the training report, HTML.

        Raises:
            StoreError: If there is no such version.
        """
        return str(self._of_version(_artifacts.c.report_html, model_name, version))

    def versions(self, model_name: str) -> list[ModelVersion]:
        """Returns all versions, newest first."""
        query = _known.where(_versions.c.model_name == model_name).order_by(_versions.c.version.desc())
        with self._database.read() as connection:
            return [_from_row(row) for row in connection.execute(query)]

    def request_training(self, model_name: str, reason: str) -> None:
        """Asks for an early training; a second request before it is met changes nothing."""
        insert = self._database.insert(_models).values(model_name=model_name, latest_version=0, training_reason=reason)
        upsert = insert.on_conflict_do_update(
            index_elements=["model_name"],
            set_={"training_reason": sa.func.coalesce(_models.c.training_reason, insert.excluded.training_reason)},
        )
        with self._database.write() as connection:
            connection.execute(upsert)

    def training_requests(self, model_names: list[str]) -> dict[str, str]:
        """Returns the open requests and their reasons. Registering a version meets the model's request."""
        query = sa.select(_models).where(
            _models.c.model_name.in_(model_names), _models.c.training_reason.is_not(sa.null())
        )
        with self._database.read() as connection:
            return {row.model_name: row.training_reason for row in connection.execute(query)}

    def close(self) -> None:
        """Gives back connections."""
        self._database.close()

    def _of_version(self, column: sa.Column[Any], model_name: str, version: int) -> Any:
        query = sa.select(column).where(_artifacts.c.model_name == model_name, _artifacts.c.version == version)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise _no_such_version(model_name, version)
        return row[0]


def _update(connection: sa.Connection, model_name: str, version: int, **values: str) -> ModelVersion:
    chosen = (_versions.c.model_name == model_name, _versions.c.version == version)
    connection.execute(_versions.update().where(*chosen).values(**values))
    row = connection.execute(_known.where(*chosen)).one_or_none()
    if row is None:
        raise _no_such_version(model_name, version)
    return _from_row(row)


def _no_such_version(model_name: str, version: int) -> StoreError:
    return StoreError(f"version: {version} of model {model_name!r} is not registered; list its versions")


def _to_row(version: ModelVersion) -> dict[str, Any]:
    return {
        "model_name": version.model_name,
        "version": version.version,
        "stage": version.stage,
        "reason": version.reason,
        "created_at_ms": version.created_at_ms,
        "trained_through_ms": version.trained_through_ms,
        "parameters": json.dumps(version.parameters),
        "metrics": json.dumps(version.metrics),
    }


def _from_row(row: sa.Row[Any]) -> ModelVersion:
    values = dict(row._mapping)
    made = {name: values.pop(name) for name in _LINEAGE}
    lineage = Lineage() if made["trained_from_ms"] is None else Lineage(**made)
    told = {"parameters": json.loads(values["parameters"]), "metrics": json.loads(values["metrics"])}
    return ModelVersion(**{**values, **told}, lineage=lineage)
