"""The life of one server process: start, ready, stop, kill, start again with its data, wipe.

A server owns a folder. What is known of the running process is kept there, so that the command line can stop what an
earlier call started, and so that a server that comes back is found where it was.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pricecast_testbed import cache
from pricecast_testbed.shell import TestbedError

__all__ = ["Server", "TestbedError", "alive", "free_port", "start_process", "stop_process", "wait_until"]

_START_SECONDS = 120.0
_STOP_SECONDS = 30.0
_PORTS = range(20_000, 30_000)
"""Below those that systems take for outgoing connections, of which one could have a stopped server's port when it
returns (32768 and up on Linux), and below a cluster's node ports."""


def free_port() -> int:
    """Returns a port that nobody listens on, and that no other process is given while this one lives.

    Raises:
        TestbedError: If there is none.
    """
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
        if cache.kept(f"port-{port}"):
            return port
    raise TestbedError(f"no port of {_PORTS.start} to {_PORTS.stop - 1} is free")


def _birth(pid: int) -> str | None:
    """Returns what tells this process from a later one of the same number; None where it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else fields[18]


def alive(process: Mapping[str, Any] | None) -> bool:
    """Says whether a process that `start_process` started still runs."""
    return process is not None and process["birth"] is not None and _birth(process["pid"]) == process["birth"]


def start_process(
    command: list[str | Path],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    user: int | None = None,
) -> dict[str, Any]:
    """Starts a process that outlives this one and returns how to find it again."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else {**os.environ, **env},
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            cwd="/",
        )
    return running_process(child.pid)


def running_process(pid: int) -> dict[str, Any]:
    """Returns how to find a process again that has this number now."""
    return {"pid": pid, "birth": _birth(pid)}


def stop_process(
    process: Mapping[str, Any] | None, how: signal.Signals = signal.SIGTERM, seconds: float = _STOP_SECONDS
) -> None:
    """Ends a process by its number and waits for its end; kills it where it does not obey."""
    for sent in (how, signal.SIGKILL):
        if process is None or not alive(process):
            break
        os.kill(process["pid"], sent)
        deadline = time.monotonic() + seconds
        while alive(process) and time.monotonic() < deadline:
            _reap(process["pid"])
            time.sleep(0.02)
    if process is not None:
        _reap(process["pid"])


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # started by an earlier call of the command line


def wait_until(ready: Any, process: Mapping[str, Any], log: Path, seconds: float = _START_SECONDS) -> None:
    """Waits until `ready()` is true.

    Raises:
        TestbedError: The process ended, or it took too long; with the end of its log.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        ended = not alive(process)
        if ended or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-4000:] if log.exists() else ""
            raise TestbedError(f"{log.stem} {'ended' if ended else f'was not ready in {seconds:.0f} s'}:\n{tail}")
        time.sleep(0.05)


class Server(ABC):
    """One server of the testbed.

    A subclass says how it is installed, configured, started and asked whether it is ready.

    Attributes:
        name: As the command line calls it.
        url_variable: The environment variable that names a server to use instead.
        stop_signal: What asks it to end in order, without waiting for its clients.
    """

    name: ClassVar[str]
    url_variable: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, home: Path, *, node_address: str | None = None) -> None:
        """Describes the server in a folder; starts nothing.

        Args:
            home: Its folder: data, configuration, log.
            node_address: An address of this machine on which pods reach it, beside loopback.
        """
        self.home = home
        self.node_address = node_address

    @property
    @abstractmethod
    def url(self) -> str:
        """How clients on this machine reach it."""

    @property
    @abstractmethod
    def node_url(self) -> str:
        """How pods reach it."""

    @abstractmethod
    def install(self) -> None:
        """Fetches or builds what it needs into the cache; does nothing the second time."""

    @abstractmethod
    def configure(self) -> None:
        """Writes its configuration and prepares its data folder where that is new."""

    @abstractmethod
    def command(self) -> list[str | Path]:
        """Returns the command line of the server process."""

    @abstractmethod
    def ready(self) -> bool:
        """Says whether it answers."""

    def environment(self) -> dict[str, str]:
        """Returns what is added to the environment of the server process."""
        return {}

    def user(self) -> int | None:
        """Returns the user to run as; None for this one."""
        return None

    @property
    def data(self) -> Path:
        """The folder that `wipe` deletes."""
        return self.home / "data"

    @property
    def log(self) -> Path:
        """What the server process prints."""
        return self.home / f"{self.name}.log"

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return alive(self._state().get("process"))

    def start(self) -> None:
        """Starts it with the data that it has, on the port that it had, and returns when it answers.

        One that runs is restarted if it does not listen on the node's address, and is to.
        """
        if self.running:
            if self.node_address in (None, self._state().get("node_address")):
                return
            self.stop()
        self.home.mkdir(parents=True, exist_ok=True)
        self.install()
        self.configure()
        process = start_process(self.command(), self.log, env=self.environment(), user=self.user())
        self._save(process=process, node_address=self.node_address)
        try:
            wait_until(self.ready, process, self.log)
        except TestbedError:
            stop_process(process)
            raise

    def stop(self) -> None:
        """Ends it in order; its data stays. Does nothing where it does not run."""
        stop_process(self._state().get("process"), self.stop_signal)

    def kill(self) -> None:
        """Ends it as a crash would; its data stays."""
        stop_process(self._state().get("process"), signal.SIGKILL)

    def wipe(self) -> None:
        """Ends it and deletes its data."""
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)

    def port(self, name: str) -> int:
        """Returns one of the server's ports: the same in each of its lives."""
        ports: dict[str, int] = self._state().get("ports", {})
        if name not in ports:
            ports[name] = free_port()
            self._save(ports=ports)
        return ports[name]

    def _state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads((self.home / "server.json").read_text())
        except FileNotFoundError:
            return {}
        return state

    def _save(self, **changes: Any) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "server.json").write_text(json.dumps(self._state() | changes))
