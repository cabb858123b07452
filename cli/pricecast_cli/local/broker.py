"""The broker of a pipeline for a command that looks at its topics: the one that runs, else the embedded one, started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import Iterator

from pricecast_cli.local.folder import DataFolder
from pricecast_cli.local.ports import free_port
from pricecast_cli.local.probe import ask
from pricecast_cli.local.programs import broker_program
from pricecast_core.errors import PricecastError, SettingsError
from pricecast_core.kafka import Brokers
from pricecast_core.settings import StreamSettings, load

_START_SECONDS = 30.0
_LOOK_SECONDS = 0.1


@contextlib.contextmanager
def brokers_of(folder: DataFolder) -> Iterator[Brokers]:
    """Gives the bootstrap servers of a pipeline that was run from this folder.

    Raises:
        SettingsError: If the folder holds no topics.
        PricecastError: If the broker doesn't start.
    """
    state = folder.read_state()
    if folder.supervisor() is not None:
        reached = {name: state[name] for name in ("kafka_protocol", "kafka_mechanism") if name in state}
        yield load(
            StreamSettings, os.environ, pipeline=str(state["pipeline"]), kafka_brokers=str(state["kafka"]), **reached
        ).kafka
    elif not folder.broker.exists():
        other = os.environ.get("KAFKA_BROKERS", "") or state.get("kafka", "")
        raise SettingsError(f"data folder: {folder.path} holds no topics; name the broker that does: --brokers {other}")
    else:
        folder.lock()  # nobody else may start a broker on it meanwhile
        try:
            with _embedded(folder) as address:
                yield address
        finally:
            folder.unlock()


@contextlib.contextmanager
def _embedded(folder: DataFolder) -> Iterator[str]:
    port, health = free_port(), free_port()
    program = broker_program(folder, port, partitions=1)
    with folder.log_of(program.name).open("ab") as log:
        process = subprocess.Popen(
            program.command, env={**os.environ, **program.env, "HTTP_PORT": str(health)}, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not asyncio.run(ask(health, "/readyz", 1.0)).ok:
            if process.poll() is not None or time.monotonic() > deadline:
                raise PricecastError(f"{program.name}: doesn't start; see {folder.log_of(program.name)}")
            time.sleep(_LOOK_SECONDS)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
