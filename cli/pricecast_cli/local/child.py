"""One operating-system process of the supervisor: how it is started, and that it ends.

It has a session of its own, so that Ctrl-C reaches the supervisor alone and a service's own children end with it. On
Linux the kernel kills it when the supervisor dies, whatever the supervisor died of; elsewhere the next
`pricecast up` finds it by the state file.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pricecast_cli.local.folder import ProcessId

LOG_MAX_BYTES = 10_000_000
"""A log is rotated at this size, and one older piece is kept."""

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Child:
    """A running process.

    Attributes:
        id: Its identity.
        port: Its health port.
    """

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.id = ProcessId.of(process.pid)
        self.port = port

    async def wait(self) -> int:
        """Returns the exit code once it ends; negative is the signal that killed it."""
        return await self._process.wait()

    async def stop(self, grace_seconds: float) -> bool:
        """Asks it to end, and kills it and its own children if it hasn't within the grace period.

        Returns:
            True if it ended by itself.
        """
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), grace_seconds)
        except TimeoutError:
            self.kill()
            await self._process.wait()
            return False
        kill_group(self.id.pid)  # what it started and left behind
        return True

    def kill(self) -> None:
        """Ends it and its own children at once."""
        kill_group(self.id.pid)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


async def start(command: Sequence[str], env: Mapping[str, str], log: Path, port: int, nice: int = 0) -> Child:
    """Starts a process whose output is appended to `log`.

    Raises:
        OSError: If the command can't be executed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={"PYTHONUNBUFFERED": "1", **env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_prepare(os.getpid(), nice),
        )
    return Child(process, port)


def rotate(log: Path, most_bytes: int = LOG_MAX_BYTES) -> None:
    """Moves the content of a log that is too long to `<log>.1`. The writer goes on in the same, now empty, file."""
    try:
        too_long = log.stat().st_size > most_bytes
    except FileNotFoundError:
        return
    if too_long:
        shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)  # the process appends, so it writes at the new end


def kill_group(pid: int) -> None:
    """Kills a process group by its leader's id; does nothing where it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _prepare(parent: int, nice: int) -> Callable[[], None]:
    def in_child() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died before the line above
                os._exit(1)
        if nice:
            os.nice(nice)

    return in_child
