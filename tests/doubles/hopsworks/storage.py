"""What the double keeps: feature groups' metadata, their rows online (SQLite read as MySQL) and offline."""

from __future__ import annotations

import io
import json
import sqlite3
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import fastavro
import pyarrow as pa
from confluent_kafka import Consumer, KafkaError
from confluent_kafka.admin import AdminClient, NewTopic

_SQLITE = {"string": "TEXT", "bigint": "INTEGER", "double": "REAL"}
_ARROW = {"string": pa.string(), "bigint": pa.int64(), "double": pa.float64()}
_AVRO = {"string": "string", "bigint": "long", "double": "double"}
Row = dict[str, Any]


@dataclass
class Group:
    """A feature group.

    Attributes:
        metadata: As the REST API gives it.
        topic: Where rows of it are written to.
        pending: Rows that the materialization job hasn't brought offline.
        offline: Rows in the offline store by key; None until the job has run.
        ingestions: Results of online ingestions by id.
    """

    metadata: dict[str, Any]
    topic: str
    pending: list[Row] = field(default_factory=list)
    offline: dict[tuple[Any, ...], Row] | None = None
    ingestions: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def table(self) -> str:
        return f"{self.metadata['name']}_{self.metadata['version']}"

    @property
    def columns(self) -> dict[str, str]:
        return {feature["name"]: feature["type"] for feature in self.metadata["features"]}

    @property
    def key(self) -> list[str]:
        return [feature["name"] for feature in self.metadata["features"] if feature["primary"]]

    @property
    def schema(self) -> str:
        """The Avro schema of its rows, as the backend derives it from the features."""
        fields = [{"name": name, "type": ["null", _AVRO[kind]]} for name, kind in self.columns.items()]
        return json.dumps(
            {"type": "record", "name": self.table, "namespace": "pricecast_featurestore.db", "fields": fields}
        )


class Storage:
    """All groups, and the OnlineFS that reads their topics into the online store."""

    def __init__(self, brokers: str) -> None:
        self.brokers = brokers
        self.groups: dict[int, Group] = {}
        self.lock = threading.RLock()
        self.online = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self.refuse_rows = False
        self.materialise_at_once = False
        self._ids = iter(range(1, 1_000_000))
        self._prefix = uuid.uuid4().hex[:8]  # several doubles may share a broker
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._ingest, name="onlinefs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join(10)
        self.online.close()

    def next_id(self) -> int:
        with self.lock:
            return next(self._ids)

    def group(self, name: str, version: int) -> Group | None:
        found = (one for one in self.groups.values() if one.table == f"{name}_{version}")
        return next(found, None)

    def create(self, metadata: dict[str, Any]) -> Group:
        number = self.next_id()
        topic = f"{self._prefix}_119_{number}_{metadata['name']}_{metadata['version']}"
        group = Group({**metadata, "id": number, "onlineTopicName": topic, "location": "", "created": ""}, topic)
        admin = AdminClient({"bootstrap.servers": self.brokers})
        admin.create_topics([NewTopic(topic, 1)])[topic].result(10)
        columns = ", ".join(f'"{name}" {_SQLITE[kind]}' for name, kind in group.columns.items())
        key = ", ".join(f'"{name}"' for name in group.key)
        with self.lock:
            self.online.execute(f'CREATE TABLE "{group.table}" ({columns}, PRIMARY KEY ({key}))')
            self.groups[number] = group
        return group

    def alter(self, group: Group, features: list[dict[str, Any]]) -> None:
        """Takes a new list of features; the backend only ever lets it grow."""
        with self.lock:
            for feature in features:
                if feature["name"] not in group.columns:
                    self.online.execute(
                        f'ALTER TABLE "{group.table}" ADD COLUMN "{feature["name"]}" {_SQLITE[feature["type"]]}'
                    )
            group.metadata["features"] = features

    def query(self, sql: str) -> tuple[list[tuple[Any, ...]], list[str]]:
        with self.lock:
            cursor = self.online.execute(sql)
            return cursor.fetchall(), [column[0] for column in cursor.description or ()]

    def materialise(self, group: Group) -> None:
        """Brings what was written to the offline store, as the job does."""
        with self.lock:
            offline = group.offline if group.offline is not None else {}
            for row in group.pending:
                offline[tuple(row[name] for name in group.key)] = row
            group.pending, group.offline = [], offline

    def arrow(self, group: Group, columns: list[str], where: str) -> pa.Table:
        """Returns rows of the offline store; `where` is a condition of SQL."""
        with self.lock:
            rows = list((group.offline or {}).values())
        with sqlite3.connect(":memory:") as scratch:
            names = list(group.columns)
            declared = ", ".join(f'"{name}" {_SQLITE[kind]}' for name, kind in group.columns.items())
            scratch.execute(f"CREATE TABLE offline ({declared})")
            marks = ", ".join("?" * len(names))
            scratch.executemany(f"INSERT INTO offline VALUES ({marks})", [[row.get(n) for n in names] for row in rows])
            chosen = ", ".join(f'"{name}"' for name in columns)
            found = scratch.execute(f"SELECT {chosen} FROM offline {where}").fetchall()
        arrays = list(zip(*found, strict=True)) or [()] * len(columns)
        return pa.table(
            {name: pa.array(values, _ARROW[group.columns[name]]) for name, values in zip(columns, arrays, strict=True)}
        )

    def _ingest(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self.brokers,
                "group.id": f"{self._prefix}_onlinefs",
                "auto.offset.reset": "earliest",
                "topic.metadata.refresh.interval.ms": 100,
                "fetch.wait.max.ms": 20,
                "session.timeout.ms": 6_000,
            }
        )
        known: set[str] = set()
        while not self._stopped.is_set():
            topics = {group.topic for group in list(self.groups.values())}
            if topics != known:
                consumer.subscribe(sorted(topics))
                known = topics
            for message in consumer.consume(1_000, timeout=0.05) if known else [self._stopped.wait(0.02)]:
                if isinstance(message, bool):
                    continue
                if message.error() is None:
                    self._store(dict(message.headers() or ()), message.value())
                elif message.error().code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise RuntimeError(message.error())
        consumer.close()

    def _store(self, headers: Mapping[str, bytes], value: bytes) -> None:
        group = self.groups[int(headers["featureGroupId"])]
        row = fastavro.schemaless_reader(io.BytesIO(value), json.loads(group.schema), None)
        assert isinstance(row, dict)
        with self.lock:
            status = "FAILED" if self.refuse_rows else "UPSERTED"
            if headers.get("storage") != b"offline" and not self.refuse_rows:
                names = ", ".join(f'"{name}"' for name in row)
                marks = ", ".join("?" * len(row))
                self.online.execute(
                    f'INSERT OR REPLACE INTO "{group.table}" ({names}) VALUES ({marks})', list(row.values())
                )
            if headers.get("storage") != b"online":
                group.pending.append(row)
                if self.materialise_at_once:
                    self.materialise(group)
            if (number := headers.get("onlineIngestionId")) is not None:
                results = group.ingestions[int(number)]["results"]
                mine = next((result for result in results if result["status"] == status), None)
                if mine is None:
                    mine = {"onlineIngestionId": int(number), "status": status, "rows": 0}
                    results.append(mine)
                mine["rows"] += 1
