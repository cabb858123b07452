"""The feature store in Hopsworks: a feature group is a stream feature group, stored online and offline.

A batch goes to the project's Kafka topic and is awaited until it is in the online store, so that a row written is a
row that can be read, and so that a slow store holds back its writer. A job of Hopsworks' own brings the topic to the
offline store on a schedule. What serves reads the newest rows online, by SQL; what trains reads batches offline, by
the query service, and what isn't there yet online.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from pricecast_core.errors import StoreError
from pricecast_core.stores.features import FeatureGroup, Value
from pricecast_core.stores.hopsworks import HopsworksAccess, errors, feature_store, release

VERSION = 1
MATERIALISED_EVERY_HOURS = 1
"""Schedule of the job that brings rows to the offline store."""
_LONGEST_NAME = 63
_OVERLAP_MS = 86_400_000
"""Rows this much older than the newest offline one are read online too: late ones may not be offline yet."""
_ONLINE_SECONDS = 60
_WRITE: Mapping[str, Any] = {
    "start_offline_materialization": False,
    "wait_for_online_ingestion": True,
    "online_ingestion_options": {"timeout": _ONLINE_SECONDS, "period": 0.1},
    "kafka_producer_config": {"message.timeout.ms": _ONLINE_SECONDS * 1_000, "linger.ms": 5},
}
_NOT_MATERIALISED = ("No hudi properties found", "No commits found", "No data found")
_OFFLINE_TYPES: Mapping[type, str] = {str: "string", int: "bigint", float: "double"}
_POLARS: Mapping[str, Any] = {"string": pl.String, "bigint": pl.Int64, "double": pl.Float64}
_KEY_TEXT, _TEXT = "varchar(255)", "varchar(4000)"  # RonDB keeps rows of up to 30,000 bytes


class HopsworksFeatureStore:
    """A `FeatureStore` in a project of Hopsworks. It connects with the first call.

    Args:
        access: Host, project and key.
    """

    def __init__(self, access: HopsworksAccess) -> None:
        self._access = access
        self._store: Any = None
        self._groups: dict[str, Any] = {}

    def ensure(self, group: FeatureGroup) -> None:
        """Creates the feature group, or appends the features that it lacks. Safe to call by several processes.

        Raises:
            StoreError: If the group is there with another key or another type of a column: Hopsworks can't change
                those, and rows of both kinds in one group would train a model on nonsense.
        """
        with errors(self._access, f"ensure {group.name}"):
            found = self._find(group.name, anew=True)
            if found is None:
                self._create(group)
                found = self._find(group.name, anew=True)
            _refuse_other_schema(group, found)
            there = {feature.name for feature in found.columns}
            missing = [name for name in group.columns if name not in there]
            if missing:
                self._append(group, found, missing)
            job = found.materialization_job
            if job.job_schedule is None:
                now = datetime.now(UTC)
                job.schedule(f"0 {now.minute} 0/{MATERIALISED_EVERY_HOURS} ? * * *", start_time=now)

    def write(self, group: FeatureGroup, rows: Sequence[Mapping[str, Value]]) -> None:
        """Inserts the rows and waits until the online store has them; a row whose key is there is replaced.

        Raises:
            StoreError: If a row has a column that the group lacks, or Hopsworks didn't take every row.
        """
        if not rows:
            return
        for row in rows:
            if not row.keys() <= group.columns.keys():
                unknown = sorted(row.keys() - group.columns.keys())
                raise StoreError(f"{group.name}: has no column {unknown[0]!r}; add it to the group and call ensure")
        with errors(self._access, f"write {group.name}"):
            found = self._find(group.name)
            if found is None or {feature.name for feature in found.columns} < group.columns.keys():
                found = self._find(group.name, anew=True)
            if found is None:
                raise StoreError(f"{group.name}: there is no such feature group; call ensure")
            unique = {tuple(row[name] for name in group.primary_key): row for row in rows}
            schema = {feature.name: _POLARS[feature.type] for feature in found.columns}
            values = [{name: row.get(name) for name in schema} for row in unique.values()]
            frame = pl.DataFrame(values, schema=schema)
            # The client asks for the length of a column's longest text, and fails where no row has any text.
            empty = [text for text in frame.select(pl.col(pl.String)) if text.null_count() == frame.height]
            found.insert(
                frame.with_columns(text.fill_null("") for text in empty),
                write_options=_copied(_WRITE),
                validation_options={"run_validation": False, "fetch_expectation_suite": False},
            )
            ingestion = found.get_latest_online_ingestion()
            failed = [result for result in ingestion.results if result.status == "FAILED"] if ingestion else []
            if failed:
                raise StoreError(f"{group.name}: the online store refused {sum(part.rows for part in failed)} rows")

    def columns(self, name: str) -> list[str]:
        """Returns the columns of the group of that name; empty where there is no such group."""
        with errors(self._access, f"columns of {name}"):
            found = self._find(name, anew=True)
            return [] if found is None else [feature.name for feature in found.columns]

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
        with errors(self._access, f"read {name}"):
            found = self._find(name, anew=True)
            if found is None:
                return pl.DataFrame()
            if entities is not None and not entities:
                return pl.DataFrame(schema=_schema(found))
            time, entity = found.event_time, _entity(found)
            if last is not None:
                wanted = entities if entities is not None else self._entities(found)
                parts = [self._newest(found, one, start_ms, end_ms, last) for one in dict.fromkeys(wanted)]
                frame = pl.concat(parts) if parts else pl.DataFrame(schema=_schema(found))
            else:
                offline = self._offline(found, entities, start_ms, end_ms)
                since = start_ms
                if not offline.is_empty():
                    newest: Any = offline[time].max()
                    since = max(start_ms or 0, newest - _OVERLAP_MS)
                online = self._online(found, _conditions(found, entities, since, end_ms))
                frame = pl.concat([offline, online]).unique(found.primary_key, keep="last", maintain_order=True)
            ties = [key for key in _key_of(found) if key not in (entity, time)]
            return frame.sort(entity, time, *ties)

    def count(self, name: str, entity: str) -> int:
        """Returns how many rows an entity has; 0 where there is no such group."""
        with errors(self._access, f"count {name}"):
            found = self._find(name)
            if found is None:
                return 0
            where = _conditions(found, [entity], None, None)
            counted = self._sql(f"SELECT COUNT(*) AS n FROM {_table(found)}{where}")
            return int(counted["n"].iloc[0])

    def close(self) -> None:
        """Gives back the connection."""
        if self._store is not None:
            self._store = None
            self._groups.clear()
            release()

    def _connected(self) -> Any:
        if self._store is None:
            self._store = feature_store(self._access)
        return self._store

    def _find(self, name: str, *, anew: bool = False) -> Any:
        """Returns Hopsworks' own object of a group, asked for again if `anew`: others may have changed it."""
        if anew or name not in self._groups:
            self._groups[name] = self._connected().get_feature_group(stored_name(name), version=VERSION)
        return self._groups[name]

    def _create(self, group: FeatureGroup) -> None:
        created = self._connected().create_feature_group(
            stored_name(group.name),
            version=VERSION,
            description=f"Written by pricecast: {group.name}; entity {group.entity}",
            primary_key=list(group.primary_key),
            event_time=group.event_time,
            features=[_feature(group, name) for name in group.columns],
            online_enabled=True,
            stream=True,
            time_travel_format="HUDI",  # upserts by key; the other formats are written by the client itself
            statistics_config={"enabled": True, "histograms": False, "correlations": False},
        )
        try:
            created.save()
        except Exception:
            if self._find(group.name, anew=True) is None:  # else another process was faster
                raise

    def _append(self, group: FeatureGroup, found: Any, names: Sequence[str]) -> None:
        try:
            found.append_features([_feature(group, name) for name in names])
        except Exception:
            found = self._find(group.name, anew=True)
            if not {feature.name for feature in found.columns} >= set(names):  # else another process was faster
                raise
        self._find(group.name, anew=True)

    def _entities(self, found: Any) -> list[str]:
        entity = _entity(found)
        distinct = self._sql(f"SELECT DISTINCT `{entity}` AS e FROM {_table(found)}")
        return [str(value) for value in distinct["e"]]

    def _newest(self, found: Any, entity: str, start_ms: int | None, end_ms: int | None, last: int) -> pl.DataFrame:
        ties = [key for key in _key_of(found) if key not in (_entity(found), found.event_time)]
        order = ", ".join(f"`{name}` DESC" for name in (found.event_time, *ties))
        where = _conditions(found, [entity], start_ms, end_ms)
        return self._online(found, f"{where} ORDER BY {order} LIMIT {last:d}")

    def _online(self, found: Any, rest: str) -> pl.DataFrame:
        names = ", ".join(f"`{feature.name}`" for feature in found.columns)
        rows = self._sql(f"SELECT {names} FROM {_table(found)}{rest}")
        return pl.DataFrame(
            {name: pl.from_pandas(rows[name]).cast(kind, strict=False) for name, kind in _schema(found).items()}
        )

    def _sql(self, query: str) -> Any:
        return self._connected().sql(query, online=True, dataframe_type="pandas")

    def _offline(
        self, found: Any, entities: Sequence[str] | None, start_ms: int | None, end_ms: int | None
    ) -> pl.DataFrame:
        query = found.select_all()
        time = found.get_feature(found.event_time)
        if entities is not None:
            query = query.filter(found.get_feature(_entity(found)).isin(list(dict.fromkeys(entities))))
        if start_ms is not None:
            query = query.filter(time >= start_ms)
        if end_ms is not None:
            query = query.filter(time <= end_ms)
        empty = pl.DataFrame(schema=_schema(found))
        try:
            with query.read_batches() as batches:
                frames = [pl.DataFrame(batch) for batch in batches]
        except Exception as error:
            if any(words in str(error) for words in _NOT_MATERIALISED):
                return empty
            raise
        return pl.concat([empty, *(frame.select(_casts(found)) for frame in frames)])


def stored_name(name: str) -> str:
    """Returns what a group is called in Hopsworks, which takes 63 characters."""
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _feature(group: FeatureGroup, name: str) -> Any:
    from hsfs.feature import Feature  # noqa: PLC0415 - see hopsworks.py

    kind = group.columns[name]
    text = _KEY_TEXT if name in group.primary_key else _TEXT
    online = text if kind is str else _OFFLINE_TYPES[kind]
    return Feature(name=name, type=_OFFLINE_TYPES[kind], online_type=online)


def _refuse_other_schema(group: FeatureGroup, found: Any) -> None:
    remedy = "give the pipeline another name, or delete the feature group"
    if set(found.primary_key) != set(group.primary_key) or found.event_time != group.event_time:
        raise StoreError(
            f"{group.name}: has the key {sorted(found.primary_key)} by {found.event_time} in Hopsworks, "
            f"not {sorted(group.primary_key)} by {group.event_time}; {remedy}"
        )
    for feature in found.columns:
        kind = group.columns.get(feature.name)
        if kind is not None and feature.type != _OFFLINE_TYPES[kind]:
            raise StoreError(
                f"{group.name}: column {feature.name!r} is {feature.type} in Hopsworks, "
                f"not {_OFFLINE_TYPES[kind]}; {remedy}"
            )


def _schema(found: Any) -> dict[str, Any]:
    return {feature.name: _POLARS[feature.type] for feature in found.columns}


def _casts(found: Any) -> list[pl.Expr]:
    return [pl.col(name).cast(kind) for name, kind in _schema(found).items()]


def _key_of(found: Any) -> list[str]:
    """Returns the key in the order of the columns, whatever order Hopsworks gives it in."""
    return [feature.name for feature in found.columns if feature.name in found.primary_key]


def _entity(found: Any) -> str:
    return _key_of(found)[0]


def _table(found: Any) -> str:
    return f"`{found.name}_{found.version}`"


def _conditions(found: Any, entities: Sequence[str] | None, start_ms: int | None, end_ms: int | None) -> str:
    parts = []
    if entities is not None:
        parts.append(f"`{_entity(found)}` IN ({', '.join(map(_quoted, dict.fromkeys(entities)))})")
    if start_ms is not None:
        parts.append(f"`{found.event_time}` >= {start_ms:d}")
    if end_ms is not None:
        parts.append(f"`{found.event_time}` <= {end_ms:d}")
    return f" WHERE {' AND '.join(parts)}" if parts else ""


def _quoted(text: str) -> str:
    r"""Returns a string of MySQL, within SQL that SQLAlchemy reads: there, a colon would begin a parameter."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''").replace(":", "\\:") + "'"


def _copied(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options that the client may change: it takes some out."""
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in options.items()}
