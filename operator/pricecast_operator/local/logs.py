"""The services' log files as a person reads them: JSON lines in, aligned text out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_OWN = ("timestamp", "level", "event", "service", "logger", "exception")
_TAIL_BYTES = 262_144


def tail(log: Path, lines: int) -> list[str]:
    """Returns the last lines of a log, at most those in its last 256 KiB."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            found = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return (found[1:] if size > _TAIL_BYTES else found)[-lines:] if lines else []


def follow(log: Path) -> Iterator[str | None]:
    """Gives the lines that are written from now on, and None whenever there is none: the caller decides how to wait.

    A log that is rotated is read from its new beginning.
    """
    position = log.stat().st_size if log.exists() else 0
    rest = b""
    while True:
        size = log.stat().st_size if log.exists() else 0
        if size < position:
            position, rest = 0, b""
        if size == position:
            yield None
            continue
        with log.open("rb") as file:
            file.seek(position)
            data = file.read(size - position)
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
    facts = "  ".join(f"{key}={_plain(value)}" for key, value in entry.items() if key not in _OWN)
    text = f"{time} {entry.get('level', ''):8} {entry.get('event', '')}"
    exception = f"\n{entry['exception']}" if entry.get("exception") else ""
    return f"{text}  {facts}{exception}" if facts else f"{text}{exception}"


def last_words(log: Path) -> str:
    """Returns why a program ended, from the end of its log: the last error or warning, else its last line.

    Args:
        log: The program's log file.
    """
    lines = tail(log, 50)
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
