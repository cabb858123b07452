"""The prediction store in SQL: SQLite on a laptop, PostgreSQL where there is no Elasticsearch.

A prediction is kept as its message, beside the columns it is found by: a field added to the message needs no
migration. The latest of each pipeline, pair and horizon has a row of its own, so that serving reads a few rows
whatever the length of the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from pricecast_core.messages import Prediction, decode, encode
from pricecast_core.stores.predictions import Page, Series, newest
from pricecast_core.stores.scores import Score
from pricecast_core.stores.sql import SqlDatabase
from pricecast_core.stores.tokens import decode_token, encode_token

_Id = sa.String().with_variant(sa.String(collation="C"), "postgresql")  # ordered by bytes, as the other stores do

_metadata = sa.MetaData()
_predictions = sa.Table(
    "predictions",
    _metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("pipeline", sa.String, nullable=False),
    sa.Column("pair", sa.String, nullable=False),
    sa.Column("horizon_seconds", sa.Integer, nullable=False),
    sa.Column("target_time_ms", sa.BigInteger, nullable=False),
    sa.Column("scored", sa.Boolean, nullable=False),
    sa.Column("document", sa.Text, nullable=False, comment="The prediction message, JSON"),
)
sa.Index("predictions_by_pair", _predictions.c.pair, _predictions.c.target_time_ms, _predictions.c.id)
sa.Index(
    "predictions_unscored",
    _predictions.c.pipeline,
    _predictions.c.target_time_ms,
    sqlite_where=~_predictions.c.scored,
    postgresql_where=~_predictions.c.scored,
)
_latest = sa.Table(
    "latest_predictions",
    _metadata,
    sa.Column("pipeline", sa.String, primary_key=True),
    sa.Column("pair", sa.String, primary_key=True),
    sa.Column("horizon_seconds", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("feature_time_ms", sa.BigInteger, nullable=False),
    sa.Column("scored", sa.Boolean, nullable=False),
    sa.Column("document", sa.Text, nullable=False, comment="The prediction message, JSON"),
)


class SqlPredictionStore:
    """A `PredictionStore` in SQLite or PostgreSQL.

    Args:
        url: SQLAlchemy URL of the database.

    Raises:
        SettingsError: If the URL can't be used.
    """

    def __init__(self, url: str) -> None:
        self._database = SqlDatabase(url)

    def ensure(self) -> None:
        """Creates the tables. Safe to call by several processes at once."""
        self._database.create(_metadata)

    def write(self, predictions: Sequence[Prediction]) -> None:
        """Stores predictions by their ids in one transaction, scored ones over unscored ones."""
        if not predictions:
            return
        insert = self._database.insert(_predictions)
        upsert = insert.on_conflict_do_update(
            index_elements=["id"],
            set_={name: insert.excluded[name] for name in ("target_time_ms", "scored", "document")},
            where=insert.excluded.scored | ~_predictions.c.scored,
        )
        insert_latest = self._database.insert(_latest)
        excluded = insert_latest.excluded
        upsert_latest = insert_latest.on_conflict_do_update(
            index_elements=["pipeline", "pair", "horizon_seconds"],
            set_={name: excluded[name] for name in ("feature_time_ms", "scored", "document")},
            where=(excluded.feature_time_ms > _latest.c.feature_time_ms)
            | ((excluded.feature_time_ms == _latest.c.feature_time_ms) & (excluded.scored | ~_latest.c.scored)),
        )
        # Sorted, so that concurrent writers lock rows in one order; stable, so that the last of equal ids wins.
        rows = [_row(prediction) for prediction in sorted(predictions, key=lambda prediction: prediction.id)]
        latest_rows = [_latest_row(prediction) for prediction in newest(predictions)]
        with self._database.write() as connection:
            connection.execute(upsert, rows)
            connection.execute(upsert_latest, latest_rows)

    def latest(self, pipeline: str | None = None) -> list[Prediction]:
        """Returns the latest prediction of each pipeline, pair and horizon, in one call."""
        query = sa.select(_latest.c.document).order_by(_latest.c.pipeline, _latest.c.pair, _latest.c.horizon_seconds)
        if pipeline is not None:
            query = query.where(_latest.c.pipeline == pipeline)
        with self._database.read() as connection:
            return _decode_all(connection.execute(query).scalars())

    def history(
        self,
        pair: str,
        *,
        pipeline: str | None = None,
        horizon_seconds: int | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 100,
        token: str = "",
    ) -> Page:
        """Returns predictions of a pair by target time, newest first.

        Raises:
            PageTokenError: If the token isn't one of this query.
            StoreError: If the database can't be read.
        """
        filters = (pair, pipeline, horizon_seconds, start_ms, end_ms)
        columns = _predictions.c
        query = sa.select(columns.document).where(columns.pair == pair)
        if pipeline is not None:
            query = query.where(columns.pipeline == pipeline)
        if horizon_seconds is not None:
            query = query.where(columns.horizon_seconds == horizon_seconds)
        if start_ms is not None:
            query = query.where(columns.target_time_ms >= start_ms)
        if end_ms is not None:
            query = query.where(columns.target_time_ms <= end_ms)
        if token:
            target_time_ms, last_id = decode_token(token, filters)
            position = sa.tuple_(sa.literal(target_time_ms, sa.BigInteger), sa.literal(last_id, _Id))
            query = query.where(sa.tuple_(columns.target_time_ms, columns.id) < position)
        query = query.order_by(columns.target_time_ms.desc(), columns.id.desc()).limit(limit + 1)
        with self._database.read() as connection:
            predictions = _decode_all(connection.execute(query).scalars())
        if len(predictions) <= limit:
            return Page(predictions, "")
        last = predictions[limit - 1]
        return Page(predictions[:limit], encode_token((last.target_time_ms, last.id), filters))

    def unscored(self, pipeline: str, until_ms: int) -> list[Prediction]:
        """Returns predictions whose target time is at or before `until_ms` and that have no actual price yet."""
        query = (
            sa.select(_predictions.c.document)
            .where(
                _predictions.c.pipeline == pipeline,
                _predictions.c.target_time_ms <= until_ms,
                ~_predictions.c.scored,
            )
            .order_by(_predictions.c.target_time_ms, _predictions.c.id)
        )
        with self._database.read() as connection:
            return _decode_all(connection.execute(query).scalars())

    def scores(self, pairs: Sequence[str], since_ms: int, pipeline: str | None = None) -> dict[Series, Score]:
        """Returns the sums over the scored predictions of each series since a target time, in one query."""
        columns = _predictions.c
        document: Any = (
            sa.type_coerce(columns.document, sa.JSON)
            if self._database.is_sqlite
            else sa.cast(columns.document, postgresql.JSONB)
        )
        loss, naive_loss = document["pinball_loss"].as_float(), document["naive_pinball_loss"].as_float()
        compared = loss.is_not(None) & naive_loss.is_not(None)
        sums = [
            sa.func.sum(document["absolute_error"].as_float()),
            sa.func.sum(document["naive_absolute_error"].as_float()),
            sa.func.sum(sa.case((document["inside_interval"].as_boolean(), 1), else_=0)),
            sa.func.sum(sa.case((compared, loss))),
            sa.func.sum(sa.case((compared, naive_loss))),
        ]
        series = (columns.pipeline, columns.pair, columns.horizon_seconds)
        query = (
            sa.select(*series, sa.func.count(), *sums)
            .where(columns.pair.in_(list(pairs)), columns.target_time_ms >= since_ms, columns.scored)
            .group_by(*series)
        )
        if pipeline is not None:
            query = query.where(columns.pipeline == pipeline)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return {
            (row[0], row[1], row[2]): Score(
                count=row[3],
                error=row[4] or 0.0,
                naive_error=row[5] or 0.0,
                inside=row[6] or 0,
                pinball=row[7] or 0.0,
                naive_pinball=row[8] or 0.0,
            )
            for row in rows
        }

    def close(self) -> None:
        """Gives back connections."""
        self._database.close()


def _row(prediction: Prediction) -> dict[str, Any]:
    return {
        "id": prediction.id,
        "pipeline": prediction.pipeline,
        "pair": prediction.pair,
        "horizon_seconds": prediction.horizon_seconds,
        "target_time_ms": prediction.target_time_ms,
        "scored": prediction.is_scored,
        "document": encode(prediction).decode(),
    }


def _latest_row(prediction: Prediction) -> dict[str, Any]:
    return {
        "pipeline": prediction.pipeline,
        "pair": prediction.pair,
        "horizon_seconds": prediction.horizon_seconds,
        "feature_time_ms": prediction.feature_time_ms,
        "scored": prediction.is_scored,
        "document": encode(prediction).decode(),
    }


def _decode_all(documents: Iterable[str]) -> list[Prediction]:
    return [decode(Prediction, document.encode()) for document in documents]
