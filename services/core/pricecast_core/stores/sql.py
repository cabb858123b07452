"""SQL databases as the stores use them: SQLite on a laptop, PostgreSQL in a cluster, by one URL.

Several processes share a database, so SQLite runs in WAL mode and a write takes its lock when it begins: a
transaction that reads first and writes later can't fail halfway because another one wrote in between. Whatever goes
wrong comes out as `StoreError`, without the URL's password.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url

from pricecast_core.addresses import checked_port
from pricecast_core.errors import SettingsError, StoreError

_LOCK_WAIT_SECONDS = 30
_CREATE_LOCK = 0x70726963
"""Key of the PostgreSQL advisory lock that makes `CREATE ... IF NOT EXISTS` safe among processes."""


class SqlDatabase:
    """One database, with transactions for reading and for writing.

    Args:
        url: SQLAlchemy URL: `sqlite:///FILE`, or `postgresql://USER:PASSWORD@HOST/DATABASE`.
        durable: Whether SQLite's commits must survive a power cut too, at the price of a sync of the disk each.

    Raises:
        SettingsError: If the URL is none, or names another system.
    """

    def __init__(self, url: str, *, durable: bool = False) -> None:
        self._url = parse_url(url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self._engine = _sqlite_engine(self._url, durable=durable)
        else:
            self._engine = sa.create_engine(
                self._url,
                pool_pre_ping=True,
                pool_size=2,
                connect_args={"connect_timeout": 10, "application_name": "pricecast"},
            )

    def __str__(self) -> str:
        return self._url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Opens a transaction that only reads, on one snapshot."""
        with self._errors("read"), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Opens a transaction that writes: committed at the end, or rolled back if anything is raised."""
        with (
            self._errors("write"),
            self._engine.connect().execution_options(pricecast_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    def create(self, metadata: sa.MetaData) -> None:
        """Creates the tables and indexes that don't exist yet. Safe to call by several processes at once."""
        with self.write() as connection:
            self.lock_schema(connection)
            metadata.create_all(connection)

    def lock_schema(self, connection: sa.Connection) -> None:
        """Keeps other processes from changing the schema until the transaction ends."""
        if not self.is_sqlite:  # SQLite's writing transaction is exclusive anyway
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATE_LOCK)))

    def quote(self, name: str) -> str:
        """Returns a table's or column's name as it stands in SQL."""
        return self._engine.dialect.identifier_preparer.quote(name)

    def insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """Returns an `INSERT` that can say `ON CONFLICT`."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def close(self) -> None:
        """Gives back all connections."""
        self._engine.dispose()

    @contextmanager
    def _errors(self, operation: str) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise StoreError(
                f"{operation} failed: {str(cause).strip()}; check that {self} can be reached and written"
            ) from error


def parse_url(url: str) -> sa.URL:
    """Returns a store's URL, taken apart.

    Raises:
        SettingsError: If it is none, or names another system; the message doesn't repeat it.
    """
    try:
        parsed = make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # the latter for a port that is no number, and it may quote a password
        raise SettingsError(
            "store URL: is not a URL; write sqlite:///FILE or postgresql://USER:PASSWORD@HOST[:PORT]/DB, "
            "with @ and % in a password as %40 and %25"
        ) from None
    if "@" in f"{parsed.host}{parsed.database}":  # the end of a password, taken for a host or a database
        raise SettingsError("store URL: has a password with @ or /; write them as %40 and %2F")
    if parsed.port is not None:
        checked_port(parsed.port, "store URL")
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise SettingsError(f"store URL: {parsed.drivername!r} is not supported; use sqlite:/// or postgresql://")
    return parsed


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Switches to the write-ahead log: of several who open a new file at once, SQLite lets all but one fail at once."""
    deadline = time.monotonic() + _LOCK_WAIT_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _sqlite_engine(url: sa.URL, *, durable: bool) -> sa.Engine:
    if url.database and url.database != ":memory:":
        folder = Path(url.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"{url}: the folder {folder} can't be made ({error.strerror}); name another one"
            ) from None
    engine = sa.create_engine(url, connect_args={"timeout": _LOCK_WAIT_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        cursor = connection.cursor()
        _use_wal(cursor)
        # NORMAL survives a killed process; a power cut may cost the last commits
        cursor.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def on_begin(connection: sa.Connection) -> None:
        write = connection.get_execution_options().get("pricecast_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine
