"""The lines of a file and the rows in them, forwards or backwards, in bounded memory."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from pricecast_core.errors import BadMessageError, SettingsError
from pricecast_core.files import rows
from pricecast_core.files.rows import Kind, Row

_CHUNK_BYTES = 1 << 20
_LINE_BYTES = 1 << 16
_LEAP_MS = 86_400_000
"""A row that is so far ahead of the one before it and of the one after it is taken for corrupt."""
_MAX_PENDING = 1_000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class BadLine(NamedTuple):
    """A line that is no row of the history.

    Attributes:
        error: Why.
        path: The file.
        number: The line's number, from 1.
        line: The line.
    """

    error: BadMessageError
    path: Path
    number: int
    line: bytes


Entry = tuple[int, Row | BadLine | None]
"""The time so far in ms, and a row, a line that is none, or None for a bar that stands there twice."""


def lines(path: Path) -> Iterator[bytes]:
    """Yields the lines of a file, unpacked if it is `.gz`; one much longer than 64 KiB comes in pieces, never whole.

    Raises:
        SettingsError: If the file can't be read.
    """
    try:
        with _open(path) as file:
            rest, chunk = b"", file.read(_CHUNK_BYTES).removeprefix(_BYTE_ORDER_MARK)
            while chunk:
                *whole, rest = (rest + chunk).split(b"\n")
                yield from whole
                if len(rest) > _LINE_BYTES:
                    yield rest
                    rest = b""
                chunk = file.read(_CHUNK_BYTES)
            if rest:
                yield rest
    except (OSError, EOFError, zlib.error) as error:
        raise SettingsError(_unreadable(path, error)) from None


def numbered_lines(path: Path, *, backwards: bool = False) -> Iterator[tuple[int, bytes]]:
    """Yields the lines with their numbers from 1, first or last line first.

    Raises:
        SettingsError: If the file can't be read, or is to be read backwards and is packed.
    """
    if not backwards:
        yield from enumerate(lines(path), 1)
        return
    if is_packed(path):
        raise SettingsError(f"{path}: its rows run backwards in time; unpack the file, or sort its rows by time")
    try:
        with path.open("rb") as file:
            number = _count(file)
            for line in _lines_backwards(file):
                yield number, line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
                number -= 1
    except OSError as error:
        raise SettingsError(_unreadable(path, error)) from None


def last_lines(path: Path) -> Iterator[bytes]:
    """Yields the last few lines, last line first: enough to find one that is whole.

    Raises:
        SettingsError: If the file can't be read.
    """
    if is_packed(path):  # has to be unpacked from the beginning
        kept: list[bytes] = []
        for line in lines(path):
            kept.append(line)
            if len(kept) > 2_000:
                del kept[:1_000]
        yield from reversed(kept)
        return
    for count, (_, line) in enumerate(numbered_lines(path, backwards=True)):
        if count == 1_000:
            return
        yield line


def is_packed(path: Path) -> bool:
    """Returns whether the file is compressed."""
    return path.suffix == ".gz"


def entries(path: Path, kind: Kind, *, spacing_ms: int = 0, backwards: bool = False) -> Iterator[Entry]:
    """Yields the rows of a file by time, and why a line is none.

    A row that goes back in time is refused, or the one before it, where that one had leapt ahead: one corrupt
    timestamp then costs one row. Trades of one time are several trades; a bar that is there twice counts once, and
    two different bars of one time are an error.

    Args:
        path: The file.
        kind: What it holds.
        spacing_ms: What the times of bars are multiples of; 0 allows any.
        backwards: Whether its last row is its oldest.

    Raises:
        SettingsError: If the file can't be read.
    """
    pending: list[Entry] = []  # the newest row, unless it proves corrupt, and what follows
    newest: tuple[Row, int, bytes] | None = None  # of pending[0], while it is a row: it, its line's number and text
    after_ms = 0
    for number, line in numbered_lines(path, backwards=backwards):
        if not line or line.isspace():
            continue
        try:
            row = rows.parse(kind, line)
            time_ms = row.time_ms
            if spacing_ms and time_ms % spacing_ms:
                raise BadMessageError(
                    f"timestamp: {time_ms / 1000:g} is no multiple of the bars' {spacing_ms / 1000:g} s", "timestamp"
                )
            limit_ms = newest[0].time_ms if newest is not None else after_ms
            if time_ms < limit_ms or (kind == "bars" and time_ms == limit_ms):
                if newest is not None and row == newest[0]:
                    pending.append((limit_ms, None))
                    continue
                if newest is None or limit_ms - after_ms <= _LEAP_MS or time_ms < after_ms:
                    raise _out_of_order(time_ms, limit_ms)
                leapt = BadLine(_out_of_order(limit_ms, time_ms), path, newest[1], newest[2])
                pending = [(after_ms, leapt), *((after_ms, entry) for _, entry in pending[1:])]
            elif newest is not None:
                after_ms = newest[0].time_ms
            yield from pending
            pending = [(time_ms, row)]
            newest = row, number, line
        except BadMessageError as error:
            if number == 1 and rows.is_header(line):
                continue
            so_far_ms = newest[0].time_ms if newest is not None else after_ms
            pending.append((so_far_ms, BadLine(error, path, number, line)))
            if len(pending) > _MAX_PENDING or newest is None:
                yield from pending
                pending, after_ms, newest = [], so_far_ms, None
    yield from pending


def _out_of_order(time_ms: int, other_ms: int) -> BadMessageError:
    return BadMessageError(
        f"timestamp: {time_ms} ms and {other_ms} ms are out of order", "timestamp", reason="out_of_order"
    )


def _open(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path, "rb")) if is_packed(path) else path.open("rb")


def _unreadable(path: Path, error: Exception) -> str:
    reason = (error.strerror if isinstance(error, OSError) else None) or f"damaged ({error})"
    return f"{path}: can't be read: {reason}; name a CSV file, or one packed as .csv.gz"


def _count(file: BinaryIO) -> int:
    """Returns how many lines `_lines_backwards` yields."""
    return sum(1 for _ in _lines_backwards(file))


def _lines_backwards(file: BinaryIO) -> Iterator[bytes]:
    at = size = file.seek(0, 2)
    rest, first, cut = b"", True, False
    while at > 0:
        length = min(at, _CHUNK_BYTES)
        at -= length
        file.seek(at)
        rest, *whole = (file.read(length) + rest).split(b"\n")
        if first and whole and not whole[-1]:
            whole.pop()  # what follows the end of the last line is no line
        first = False
        yield from reversed(whole)
        cut = len(rest) > _LINE_BYTES
        if cut:
            yield rest
            rest = b""
    if size and not cut:
        yield rest
