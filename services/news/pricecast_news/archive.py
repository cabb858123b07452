"""Archives of headlines, such as the public CryptoNewsDataset: CSV with title, sourceId and newsDatetime.

A file or an address; plain `.csv` or `.jsonl`, or a `.zip` or `.rar` with such files in it. Nothing is ever unpacked to
disk, so a member's name can't lead anywhere; members are read as streams, and what comes out is counted against the
bound, whatever the archive claims about itself. Packed RAR members need one of `unrar`, `unar`, `7z` or `bsdtar` on
the machine (Debian's `libarchive-tools` has the last).
"""

from __future__ import annotations

import csv
import hashlib
import io
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import httpx
import msgspec
import rarfile

from pricecast_core import logs
from pricecast_core.errors import BadMessageError, SettingsError, SourceError
from pricecast_core.messages import News
from pricecast_core.news import titles
from pricecast_core.settings import NewsSettings
from pricecast_news import times
from pricecast_news.source import Refused, Surroundings, as_json, headline
from pricecast_news.web import TIMEOUT, USER_AGENT, shown_url

MAX_FIELD_CHARACTERS = 1_000_000
_NEEDED = frozenset({"title", "newsdatetime"})
_BROKEN = (
    zipfile.BadZipFile,
    rarfile.Error,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,  # encrypted, by zipfile
    NotImplementedError,
)
_rarfile: Any = rarfile  # untyped
log = logs.get(__name__)


def open_source(settings: NewsSettings, _surroundings: Surroundings) -> Archive:
    """Returns the archive that the settings name.

    Raises:
        SettingsError: If none is named.
    """
    if not settings.archive:
        raise SettingsError("ARCHIVE: is not set; give a file or an address of headlines")
    return Archive(settings.archive, settings.archive_max_bytes)


class Archive:
    """Headlines of an archive, in the order of their times.

    Args:
        location: File or http(s) address.
        max_bytes: Bound of what is fetched and of what is read out of it.
    """

    name = "archive"
    finite = True
    least_seconds = 0.0

    def __init__(self, location: str, max_bytes: int) -> None:
        self._location = location
        self._shown = shown_url(location) if _is_url(location) else location
        self._max_bytes = max_bytes

    def read(self) -> Iterator[News | Refused]:
        """Yields what can't be used, then all headlines, oldest first."""
        found: list[News] = []
        with ExitStack() as stack:
            path = stack.enter_context(self._fetched()) if _is_url(self._location) else Path(self._location)
            for item in self._items(path):
                if isinstance(item, News):
                    found.append(item)
                else:
                    yield item
        yield from sorted(found, key=lambda news: (news.timestamp_ms, news.id))

    @contextmanager
    def _fetched(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="pricecast-news-") as folder:
            path = Path(folder) / "archive"
            try:
                with (
                    httpx.Client(timeout=TIMEOUT, headers={"User-Agent": USER_AGENT}, follow_redirects=True) as client,
                    client.stream("GET", self._location) as response,
                    path.open("wb") as file,
                ):
                    if not response.is_success:
                        raise SourceError(f"{self._shown}: answered {response.status_code}")
                    for chunk in response.iter_bytes():
                        file.write(chunk)
                        if file.tell() > self._max_bytes:
                            raise self._too_large()
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise SourceError(f"{self._shown}: can't be fetched: {type(error).__name__}: {error}") from None
            yield path

    def _items(self, path: Path) -> Iterator[News | Refused]:
        try:
            if path.stat().st_size > self._max_bytes:
                raise self._too_large()
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    yield from self._members(archive)
            elif _rarfile.is_rarfile(path):
                with _rarfile.RarFile(path) as archive:
                    yield from self._members(archive)
            else:
                with path.open("rb") as file:
                    lines = self._location.partition("?")[0].endswith(".jsonl")
                    items = _json_lines(file, self._shown) if lines else _csv(file, self._shown)
                    if items is None:
                        raise SettingsError(f"archive: {self._shown} has no columns title and newsDatetime")
                    yield from items
        except OSError as error:
            raise SettingsError(f"archive: {self._shown} can't be read ({error.strerror or error})") from None
        except _BROKEN as error:
            raise SourceError(f"archive: {self._shown} can't be unpacked: {type(error).__name__}: {error}") from None

    def _members(self, archive: Any) -> Iterator[News | Refused]:
        left = self._max_bytes
        read_any = False
        for member in archive.infolist():
            if not member.filename.lower().endswith((".csv", ".jsonl")) or member.is_dir():
                continue
            if member.file_size > left:
                raise self._too_large()
            where = f"{self._shown}!{member.filename[:200]}"
            with archive.open(member) as packed:
                stream = _Bounded(packed, left, self._too_large())
                is_lines = member.filename.lower().endswith(".jsonl")
                buffered: Any = io.BufferedReader(stream)
                items = _json_lines(buffered, where) if is_lines else _csv(buffered, where)
                if items is None:
                    log.info("not a file of headlines, passed over", file=where)
                else:
                    read_any = True
                    yield from items
                left = stream.left
        if not read_any:
            raise SettingsError(f"archive: {self._shown} holds no CSV with title and newsDatetime, and no .jsonl")

    def _too_large(self) -> SettingsError:
        return SettingsError(
            f"archive: {self._shown} is larger than archive_max_bytes={self._max_bytes}; raise it if you trust it"
        )


class _Bounded(io.RawIOBase):
    """A stream that refuses to give more than it may, whatever the archive says of its sizes."""

    def __init__(self, stream: IO[bytes], left: int, error: SettingsError) -> None:
        self._stream = stream
        self.left = left
        self._error = error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self.left -= len(data)
        if self.left < 0:
            raise self._error
        buffer[: len(data)] = data
        return len(data)


def _is_url(location: str) -> bool:
    return location.startswith(("http://", "https://"))


def _csv(file: IO[bytes], where: str) -> Iterator[News | Refused] | None:
    """Returns the items, or None where it isn't a table of headlines."""
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
    reader = csv.reader(text)
    try:
        names = [name.strip().lower() for name in next(reader, [])]
    except csv.Error:
        return None
    return _rows(reader, names, where, text) if _NEEDED.issubset(names) else None


def _rows(reader: Any, names: list[str], where: str, text: io.TextIOWrapper) -> Iterator[News | Refused]:
    while True:
        fields: list[str] = []
        try:
            fields = next(reader)
            if fields:
                yield _row(fields, names)
        except StopIteration:
            text.detach()
            return
        except (BadMessageError, csv.Error) as error:
            bad = error if isinstance(error, BadMessageError) else BadMessageError(f"not CSV: {error}")
            yield Refused(bad, where, reader.line_num, as_json(fields))


def _row(fields: list[str], names: list[str]) -> News:
    row = dict(zip(names, fields, strict=False))
    if "newsdatetime" not in row or "title" not in row:
        raise BadMessageError(f"the line has {len(fields)} of {len(names)} fields", "newsDatetime", "truncated")
    source = row.get("sourceid", "").strip() or "archive"
    published = times.parse(row["newsdatetime"])
    identity = row.get("id", "").strip()
    if not identity:
        identity = hashlib.sha256(f"{source}|{titles.normalise(row['title'])}|{published}".encode()).hexdigest()[:24]
    return headline(
        identity=f"archive:{identity}", title=row["title"], source=source, published=published, url=row.get("url", "")
    )


class _Line(msgspec.Struct):
    title: str
    published_at: str
    id: str | int = ""
    source: str = "archive"
    url: str = ""


def _json_lines(file: IO[bytes], where: str) -> Iterator[News | Refused]:
    decoder = msgspec.json.Decoder(_Line)
    for number, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            line = decoder.decode(text)
            digest = hashlib.sha256(f"{titles.normalise(line.title)}|{line.published_at}".encode()).hexdigest()[:24]
            yield headline(
                identity=f"archive:{line.id if line.id != '' else digest}",
                title=line.title,
                source=line.source,
                published=times.parse(line.published_at),
                url=line.url,
            )
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            yield Refused(BadMessageError(f"not a headline: {error}"), where, number, text)
        except BadMessageError as error:
            yield Refused(error, where, number, text)
