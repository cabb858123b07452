"""PostgreSQL: the machine's own, else Debian's package."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import socket
import struct
from pathlib import Path

from pricecast_testbed.server import Server
from pricecast_testbed.shell import TestbedError, apt_install, run

_PODS = "10.244.0.0/16"
_USER = "pricecast"


class Postgres(Server):
    """A PostgreSQL server with one superuser and one database, both `pricecast`; `url` is theirs."""

    name = "postgres"
    url_variable = "POSTGRES_URL_TEST"
    stop_signal = signal.SIGINT

    @property
    def url(self) -> str:
        """URL of the database on loopback."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port('postgres')}/{_USER}"

    @property
    def node_url(self) -> str:
        """URL of the database on the node's address."""
        return f"postgresql://{_USER}@{self.node_address}:{self.port('postgres')}/{_USER}"

    @property
    def data(self) -> Path:
        """The data folder: the server refuses to be root, so for root it lies where another user can go."""
        if os.geteuid() != 0:
            return self.home / "data"
        mark = hashlib.sha256(str(self.home.resolve()).encode()).hexdigest()[:16]
        return Path("/var/tmp/pricecast-testbed") / f"postgres-{mark}"

    def user(self) -> int | None:
        """Returns who runs it: this user, or for root the system's own for it, else nobody."""
        return self._account().pw_uid if os.geteuid() == 0 else None

    def install(self) -> None:
        """Finds the newest binaries of the machine; installs Debian's where there are none."""
        folder = _installed()
        if folder is None:
            apt_install("postgresql")
            folder = _installed()
        if folder is None:
            raise TestbedError("PostgreSQL is installed, but neither on the path nor where Debian puts it")
        self._bin = folder

    def configure(self) -> None:
        """Makes the cluster of databases where there is none; allows loopback, and the pods where asked."""
        if (self.data / "PG_VERSION").exists():
            return
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.data.parent.chmod(self.data.parent.stat().st_mode | 0o011)
        account = self._account()
        if os.geteuid() == 0:
            os.chown(self.data, account.pw_uid, account.pw_gid)
        user = self.user()
        initdb: list[str | Path] = [self._bin / "initdb", "-D", self.data, "-U", _USER, "--auth=trust"]
        run([*initdb, "--encoding=UTF8", "--locale=C", "--no-sync"], user=user)
        single: list[str | Path] = [self._bin / "postgres", "--single", "-D", self.data, "template1"]
        run(single, user=user, stdin=f"CREATE DATABASE {_USER}\n")
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.writelines(f"host all all {source} trust\n" for source in (_PODS, "samehost"))

    def command(self) -> list[str | Path]:
        """Returns the command line of the server. What a crash of the machine would lose is not of interest."""
        hosts = "127.0.0.1" if self.node_address is None else f"127.0.0.1,{self.node_address}"
        settings = ["-c", "fsync=off", "-c", f"listen_addresses={hosts}", "-c", "unix_socket_directories="]
        return [self._bin / "postgres", "-D", self.data, "-p", str(self.port("postgres")), *settings]

    def ready(self) -> bool:
        """Starts a session: the first answer to a trusted user is `AuthenticationOk`."""
        words = b"".join(word + b"\0" for word in (b"user", _USER.encode(), b"database", _USER.encode())) + b"\0"
        body = struct.pack(">i", 3 << 16) + words
        try:
            with socket.create_connection(("127.0.0.1", self.port("postgres")), timeout=2) as connection:
                connection.sendall(struct.pack(">i", len(body) + 4) + body)
                answer = connection.recv(1)
                connection.sendall(b"X\0\0\0\x04")
        except OSError:
            return False
        return answer == b"R"

    def _account(self) -> pwd.struct_passwd:
        try:
            return pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        except KeyError:
            return pwd.getpwnam("nobody")


def _installed() -> Path | None:
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]), reverse=True)
    on_path = [Path(found).resolve().parent for found in [shutil.which("postgres")] if found]
    for folder in [*packaged, *on_path]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None
