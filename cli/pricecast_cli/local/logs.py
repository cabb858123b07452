"""The services' log files as a person reads them: JSON lines in, aligned text out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_OWN = ("timestamp", "level", "event", "service", "logger", "exception")
_TAIL_BYTES = 262_144


def tail(log: Path, lines: int, since: int = 0) -> list[str]:
    """Returns the last lines of a log, at most those in its last 256 KiB.

    Args:
        log: The file.
        lines: How many.
        since: Only what was written from this offset on, the beginning of a line; of a log that is shorter, all.
    """
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            start = max(since if since <= end else 0, end - _TAIL_BYTES)
            file.seek(start)
            found = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    whole = found if start in (0, since) else found[1:]
    return whole[-lines:] if lines else []


def size(log: Path) -> int:
    """Returns the size of a log; 0 where there is none yet."""
    return log.stat().st_size if log.exists() else 0


def follow(log: Path) -> Iterator[str | None]:
    """Gives the lines that are written from now on, and None whenever there is none: the caller decides how to wait.

    A log that is rotated is read from its new beginning.
    """
    position = size(log)
    rest = b""
    while True:
        end = size(log)
        if end < position:
            position, rest = 0, b""
        if end == position:
            yield None
            continue
        with log.open("rb") as file:
            file.seek(position)
            data = file.read(end - position)
        position += len(data)
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")


def readable(line: str) -> str:
    """Returns a line as `12:00:03 warning  not yet  error=...`; one that is no JSON object unchanged."""
    entry = _parse(line)
    if entry is None:
        return line
    time = str(entry.get("timestamp", ""))[11:19]
    exception = f"\n{entry['exception']}" if entry.get("exception") else ""
    return f"{time} {entry.get('level', ''):8} {brief(line)}{exception}"


def brief(line: str) -> str:
    """Returns what a line says, without when and how loud: `training  rows=4023`."""
    entry = _parse(line)
    if entry is None:
        return line.strip()
    facts = "  ".join(f"{key}={_plain(value)}" for key, value in entry.items() if key not in _OWN)
    return f"{entry.get('event', '')}  {facts}".strip()


def last_words(log: Path, since: int = 0) -> str:
    """Returns why a program ended, from the end of its log: the last error or warning, else its last line.

    Args:
        log: The program's log file.
        since: Where its log began with its start.
    """
    lines = tail(log, 50, since)
    for line in reversed(lines):
        entry = _parse(line)
        if entry is not None and entry.get("level") in ("error", "critical", "warning"):
            if entry.get("exception"):
                return str(entry["exception"]).strip().splitlines()[-1]
            return str(entry.get("error") or entry.get("event") or "")
    for line in reversed(lines):
        if line.strip() and _parse(line) is None:
            return line.strip()[:300]
    return ""


def last_event(log: Path, event: str, since: int = 0) -> dict[str, Any] | None:
    """Returns the newest entry of an event among the last lines of a log; None if it isn't there."""
    for line in reversed(tail(log, 200, since)):
        entry = _parse(line)
        if entry is not None and entry.get("event") == event:
            return entry
    return None


def _parse(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return None
    return entry if isinstance(entry, dict) else None


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
