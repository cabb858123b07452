"""The data folder of a pipeline on a laptop: what lies where, who holds it, and what runs from it.

The folder is the pipeline: delete it and nothing remains. One supervisor at a time holds its lock. `state.json` tells
other terminals (`pricecast status`, `down`, `logs`) what runs; a process id counts only together with the time at
which that process was started, because ids are used again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from pricecast_core.errors import PricecastError, SettingsError

ROOT = Path(".pricecast")
"""Where data folders lie unless one is named: `.pricecast/<pipeline>` under the working directory."""


class FolderInUseError(PricecastError):
    """Another supervisor runs from the folder."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, told apart from a later one with the same number.

    Attributes:
        pid: The operating system's number.
        created: When it was started, Unix seconds.
    """

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """Returns the identity of a running process."""
        return cls(pid, psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """Returns the process if it still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 0.05
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None

    def to_json(self) -> dict[str, Any]:
        """Returns it for the state file."""
        return {"pid": self.pid, "created": self.created}


class DataFolder:
    """Everything of one pipeline on this machine.

    Args:
        path: The folder; made when it is first locked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: IO[str] | None = None

    @property
    def broker(self) -> Path:
        """The embedded broker's data."""
        return self.path / "broker"

    @property
    def state_file(self) -> Path:
        """What runs, for other terminals."""
        return self.path / "state.json"

    def database(self, name: str) -> str:
        """Returns the SQLAlchemy URL of a store: `features`, `models`, `predictions` or `news-signals`."""
        return f"sqlite:///{self.path / name}.db"

    def state_of(self, program: str) -> Path:
        """Returns the folder of a program's own state."""
        return self.path / "state" / program

    def settings_of(self, program: str) -> Path:
        """Returns the settings document of a program."""
        return self.path / "settings" / f"{program}.json"

    def write_settings(self, program: str, document: Mapping[str, Any]) -> None:
        """Replaces the settings document of a program in one step."""
        _replace(self.settings_of(program), document)

    def log_of(self, program: str) -> Path:
        """Returns the log file of a program."""
        return self.path / "logs" / f"{program}.log"

    def logs(self) -> list[str]:
        """Returns the names of the programs that have a log."""
        return sorted(file.stem for file in (self.path / "logs").glob("*.log"))

    def lock(self) -> None:
        """Makes the folder and holds it until `unlock` or the end of this process.

        Raises:
            FolderInUseError: If another supervisor holds it.
            SettingsError: If it can't be made or written.
        """
        try:
            (self.path / "logs").mkdir(parents=True, exist_ok=True)
            file = (self.path / "lock").open("a")
        except OSError as error:
            raise SettingsError(
                f"data folder: {self.path} can't be written: {error.strerror}; name another --data-dir"
            ) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            holder = self.read_state().get("supervisor", {}).get("pid")
            by = f" by process {holder}" if holder else ""
            raise FolderInUseError(
                f"data folder: {self.path} is in use{by}: this pipeline is up already; "
                "see `pricecast status`, stop it with `pricecast down`, or name another --data-dir"
            ) from None
        self._lock = file

    def unlock(self) -> None:
        """Gives the folder back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Replaces the state file in one step: readers see the old one or the new one."""
        _replace(self.state_file, state)

    def read_state(self) -> dict[str, Any]:
        """Returns what the state file says; empty where there is none."""
        try:
            state = json.loads(self.state_file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return state if isinstance(state, dict) else {}

    def supervisor(self) -> psutil.Process | None:
        """Returns the supervisor that runs from this folder, if one does."""
        return _identity(self.read_state().get("supervisor")).find()

    def strays(self) -> dict[str, psutil.Process]:
        """Returns processes, by program, that a supervisor started which is gone."""
        programs = self.read_state().get("programs", {})
        found = {name: _identity(entry.get("process")).find() for name, entry in programs.items()}
        return {name: process for name, process in found.items() if process is not None}


def _replace(file: Path, content: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(temporary, file)


def _identity(entry: Mapping[str, Any] | None) -> ProcessId:
    return ProcessId(int(entry["pid"]), float(entry["created"])) if entry else ProcessId(0, 0.0)


def known_folders(root: Path = ROOT) -> list[DataFolder]:
    """Returns the data folders below `root` from which a pipeline was started."""
    return [DataFolder(file.parent) for file in sorted(root.glob("*/state.json"))]
