"""Starts and stops the broker from Python: what the tests and benchmarks use.

The local runtime supervises the console script as it does every service; this module is for code that wants a broker
of its own for a while, and wants to take it away (outage tests) and bring it back on the same port with its data.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STOP_SECONDS = 30.0


class BrokerError(Exception):
    """The broker isn't there or did not start."""


def binary() -> Path:
    """Returns the path of the compiled broker.

    Raises:
        BrokerError: The package was installed without it.
    """
    path = Path(__file__).with_name("bin") / "pricecast-broker"
    if not path.exists():
        raise BrokerError(
            f"{path} is missing: it is compiled at install; run "
            "`uv sync --all-packages --reinstall-package pricecast-embedded-broker`"
        )
    return path


class EmbeddedBroker:
    """One broker process, which can be taken away and brought back. It ends with this process, however that ends.

    Attributes:
        address: `host:port` for clients; the same for the whole life of the object.
        health_url: Base of `/healthz` and `/readyz`.
    """

    def __init__(
        self,
        data_dir: Path | str | None = None,
        *,
        port: int = 0,
        partitions: int = 1,
        clean_interval_seconds: float = 300,
    ) -> None:
        """Prepares a broker, which `start` starts.

        Args:
            data_dir: Folder of its data; None keeps them in memory, until it stops.
            port: Loopback port; 0 takes a free one at the first start.
            partitions: Partitions of a topic that is made without a number.
            clean_interval_seconds: How often retention and compaction run.
        """
        self.address = ""
        self.health_url = ""
        self._data_dir = data_dir
        self._port = port
        self._partitions = partitions
        self._clean_interval_ms = round(clean_interval_seconds * 1000)
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Starts the broker and returns when it accepts connections.

        Raises:
            BrokerError: It ended instead; the message carries its reason.
        """
        command = [str(binary()), f"--port={self._port}", f"--partitions={self._partitions}", "--health-port=0"]
        command += [f"--clean-interval={self._clean_interval_ms}ms", "--until-stdin-closes"]
        if self._data_dir is not None:
            command.append(f"--data-dir={self._data_dir}")
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise BrokerError(f"the embedded broker ended with status {process.wait()}: its reason is on stderr")
        ready = json.loads(line)
        self._process = process
        self.address = ready["address"]
        self.health_url = f"http://{ready['health']}"
        self._port = int(self.address.rpartition(":")[2])

    def stop(self) -> None:
        """Ends the broker in order: its state is written. Does nothing where it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the broker as a crash would."""
        self._end(signal.SIGKILL)

    @property
    def pid(self) -> int | None:
        """The process's id, or None where it does not run."""
        return self._process.pid if self._process is not None else None

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


@contextmanager
def running(data_dir: Path | str | None = None, *, port: int = 0, partitions: int = 1) -> Iterator[str]:
    """Runs a broker for the length of a `with` block and gives its `host:port`."""
    broker = EmbeddedBroker(data_dir, port=port, partitions=partitions)
    broker.start()
    try:
        yield broker.address
    finally:
        broker.stop()
