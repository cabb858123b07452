"""The feature store in SQL: SQLite on a laptop, PostgreSQL in a cluster. A feature group is a table.

A batch is written by one statement, and read ordered by the database's index on (entity, event time), so that the
joins in time happen in polars over sorted frames. Columns are added as groups grow; a row written before has nulls
there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import sqlalchemy as sa

from pricecast_core.errors import StoreError
from pricecast_core.stores.features import FeatureGroup, Value
from pricecast_core.stores.sql import SqlDatabase

_Text = sa.String().with_variant(sa.String(collation="C"), "postgresql")  # ordered by bytes, as SQLite does
_TYPES: Mapping[type, Any] = {str: _Text, int: sa.BigInteger(), float: sa.Double()}
_POSTGRESQL_ARRAYS: Mapping[type, str] = {str: "text[]", int: "bigint[]", float: "double precision[]"}


class SqlFeatureStore:
    """A `FeatureStore` in SQLite or PostgreSQL. It connects with the first call.

    Args:
        url: SQLAlchemy URL of the database.

    Raises:
        SettingsError: If the URL can't be used.
    """

    def __init__(self, url: str) -> None:
        self._database = SqlDatabase(url, durable=True)
        self._layouts: dict[str, _Layout] = {}

    def ensure(self, group: FeatureGroup) -> None:
        """Creates the table and its index, or adds the columns that it lacks. Safe to call by several processes."""
        table = _table(group)
        self._database.create(table.metadata)
        with self._database.write() as connection:
            self._database.lock_schema(connection)
            there = {column["name"] for column in sa.inspect(connection).get_columns(group.name)}
            for column in table.columns:
                if column.name not in there:
                    kind = column.type.compile(connection.dialect)
                    quote = self._database.quote
                    connection.exec_driver_sql(
                        f"ALTER TABLE {quote(group.name)} ADD COLUMN {quote(column.name)} {kind}"
                    )
        self._layouts.pop(group.name, None)

    def write(self, group: FeatureGroup, rows: Sequence[Mapping[str, Value]]) -> None:
        """Stores the rows in one statement; a row whose key is there already is replaced.

        Raises:
            StoreError: If a row has a column that the group lacks, or the database refuses: nothing is stored then.
        """
        if not rows:
            return
        for row in rows:
            if not row.keys() <= group.columns.keys():
                unknown = sorted(row.keys() - group.columns.keys())
                raise StoreError(f"{group.name}: has no column {unknown[0]!r}; add it to the group and call ensure")
        # PostgreSQL refuses a statement that meets a key twice: the later row wins, as it does among statements
        unique = {tuple(row[name] for name in group.primary_key): row for row in rows}
        names = list(group.columns)
        values = [tuple(row.get(name) for name in names) for row in unique.values()]
        statement = self._upsert(group)
        with self._database.write() as connection:
            if self._database.is_sqlite:
                connection.exec_driver_sql(statement, values)
            else:
                connection.exec_driver_sql(statement, tuple(map(list, zip(*values, strict=True))))

    def columns(self, name: str) -> list[str]:
        """Returns the columns of the group of that name; empty where there is no such group."""
        layout = self._inspect(name)
        return list(layout.types) if layout is not None else []

    def read(
        self,
        name: str,
        *,
        entities: Sequence[str] | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        last: int | None = None,
    ) -> pl.DataFrame:
        """Returns rows of a group by (entity, event time); empty, without columns, where there is no such group."""
        layout = self._layouts.get(name) or self._inspect(name)
        if layout is None:
            return pl.DataFrame()
        query = _query(layout, entities, start_ms, end_ms, last)
        with self._database.read() as connection:
            result = connection.execute(query)
            names = list(result.keys())
            rows = result.fetchall()
        if not layout.types.keys() >= set(names):  # another process has added columns since we looked
            layout = self._inspect(name) or layout
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(names)
        return pl.DataFrame(
            [pl.Series(column, values, layout.types[column]) for column, values in zip(names, columns, strict=True)]
        )

    def count(self, name: str, entity: str) -> int:
        """Returns how many rows an entity has; 0 where there is no such group."""
        layout = self._layouts.get(name) or self._inspect(name)
        if layout is None:
            return 0
        query = sa.select(sa.func.count()).select_from(sa.table(name)).where(sa.column(layout.entity) == entity)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def close(self) -> None:
        """Gives back connections."""
        self._database.close()

    def _inspect(self, name: str) -> _Layout | None:
        with self._database.read() as connection:
            inspector = sa.inspect(connection)
            if not inspector.has_table(name):
                return None
            columns = inspector.get_columns(name)
            key = inspector.get_pk_constraint(name)["constrained_columns"]
            by_time = next(index for index in inspector.get_indexes(name) if index["name"] == _index_name(name))
        entity, event_time = (str(column) for column in by_time["column_names"])
        types = {column["name"]: _polars_type(column["type"]) for column in columns}
        layout = self._layouts[name] = _Layout(name, entity, event_time, tuple(key), types)
        return layout

    def _upsert(self, group: FeatureGroup) -> str:
        quote = self._database.quote
        names = ", ".join(map(quote, group.columns))
        key = ", ".join(map(quote, group.primary_key))
        changes = ", ".join(
            f"{quote(name)} = excluded.{quote(name)}" for name in group.columns if name not in group.primary_key
        )
        if self._database.is_sqlite:
            source = f"VALUES ({', '.join('?' * len(group.columns))})"
        else:  # a column an array: one statement and one plan, however many rows
            arrays = ", ".join(f"%s::{_POSTGRESQL_ARRAYS[kind]}" for kind in group.columns.values())
            source = f"SELECT * FROM unnest({arrays})"  # noqa: S608 (made of type names)
        return f"INSERT INTO {quote(group.name)} ({names}) {source} ON CONFLICT ({key}) DO UPDATE SET {changes}"


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the database itself says of a group's table."""

    name: str
    entity: str
    event_time: str
    key: tuple[str, ...]
    types: Mapping[str, Any]

    @property
    def table(self) -> sa.TableClause:
        """The table, for queries."""
        return sa.table(self.name, *(sa.column(column) for column in self.types))


def _index_name(group: str) -> str:
    return f"{group}_by_time"


def _table(group: FeatureGroup) -> sa.Table:
    key = group.primary_key
    table = sa.Table(
        group.name,
        sa.MetaData(),
        *(
            sa.Column(name, _TYPES[kind], primary_key=name in key, autoincrement=False, nullable=name not in key)
            for name, kind in group.columns.items()
        ),
    )
    sa.Index(_index_name(group.name), table.c[group.entity], table.c[group.event_time])
    return table


def _polars_type(kind: Any) -> Any:
    if isinstance(kind, sa.Integer):
        return pl.Int64
    return pl.Float64 if isinstance(kind, sa.Float | sa.Numeric) else pl.String


def _query(
    layout: _Layout, entities: Sequence[str] | None, start_ms: int | None, end_ms: int | None, last: int | None
) -> Any:
    table = layout.table
    entity, event_time = table.c[layout.entity], table.c[layout.event_time]
    conditions = []
    if start_ms is not None:
        conditions.append(event_time >= start_ms)
    if end_ms is not None:
        conditions.append(event_time <= end_ms)
    everything: sa.ColumnClause[Any] = sa.literal_column("*")
    ties = [table.c[name] for name in layout.key if name not in (layout.entity, layout.event_time)]
    if last is None:
        if entities is not None:
            conditions.append(entity.in_(list(entities)))
        return sa.select(everything).select_from(table).where(*conditions).order_by(entity, event_time, *ties)
    newest = [column.desc() for column in (event_time, *ties)]
    if entities is None:
        rank = sa.func.row_number().over(partition_by=entity, order_by=newest).label("rank_")
        ranked = sa.select(table, rank).where(*conditions).subquery()
        source = sa.select(*(ranked.c[name] for name in layout.types)).where(ranked.c.rank_ <= last).subquery()
    else:  # a walk down the index for each entity, whatever the length of its history
        parts = [
            sa.select(everything).select_from(
                sa.select(table).where(entity == one, *conditions).order_by(*newest).limit(last).subquery()
            )
            for one in dict.fromkeys(entities)
        ]
        if not parts:
            return sa.select(everything).select_from(table).where(sa.false())
        source = sa.union_all(*parts).subquery()
    columns = [layout.entity, layout.event_time, *(tie.name for tie in ties)]
    return sa.select(everything).select_from(source).order_by(*(sa.column(name) for name in columns))
