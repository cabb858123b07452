"""The callers that a file of tokens names."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from pricecast_core import logs
from pricecast_core.access_tokens import Token, digest, parse
from pricecast_core.errors import SettingsError
from pricecast_prediction_api.access.caller import Caller

_LOOK_SECONDS = 1.0
log = logs.get(__name__)


class Tokens:
    """The callers that a file of tokens names; a file that changes is read again.

    Args:
        file: The file. Kubernetes replaces it when its Secret changes.

    Raises:
        SettingsError: If it can't be read, or isn't one.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = self._state()
        self._entries = self._read()
        self._looked = time.monotonic()

    def find(self, secret: str) -> Caller | None:
        """Returns who holds the secret, or None where nobody does or it has expired."""
        self._refresh()
        entry = self._entries.get(digest(secret))
        if entry is None or (entry.expires is not None and entry.expires <= datetime.now(UTC)):
            return None
        return Caller(entry.name, tuple(entry.pipelines), entry.requests_per_second)

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        try:
            stamp = self._state()
            if stamp == self._stamp:
                return
            self._entries = self._read()
        except SettingsError as error:  # half a change, or a wrong one: who had access keeps it
            log.error("tokens can't be read again", error=str(error))
            return
        self._stamp = stamp
        log.info("tokens read again", count=len(self._entries))

    def _state(self) -> tuple[int, int, int]:
        try:
            found = self._file.stat()
        except OSError as error:
            raise SettingsError(f"API_TOKENS_FILE: {self._file}: can't be read: {error.strerror}") from None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self) -> dict[str, Token]:
        try:
            data = self._file.read_bytes()
        except OSError as error:
            raise SettingsError(f"API_TOKENS_FILE: {self._file}: can't be read: {error.strerror}") from None
        return parse(data, f"API_TOKENS_FILE: {self._file}")
