"""Bearer tokens of the prediction API.

A file names each with the SHA-256 of its secret, so that the file gives nobody access.

The secrets are random and long, which is why a plain hash is enough: there is nothing to guess from.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec

from pricecast_core.errors import SettingsError

PREFIX = "pct_"
"""What every secret begins with, so that scanners of repositories can find one that was committed."""
_PATTERN = r"^[a-z0-9*?.-]{1,128}$"


class Token(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """An entry of the file.

    Attributes:
        name: Who holds it; in logs.
        sha256: SHA-256 of the secret, in hexadecimal.
        pipelines: Patterns of the pipelines that it may see.
        requests_per_second: Rate limit; 0 sets none.
        expires: From when on it is refused; none never.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._@-]{1,64}$")]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    pipelines: list[Annotated[str, msgspec.Meta(pattern=_PATTERN)]] = msgspec.field(default_factory=lambda: ["*"])
    requests_per_second: Annotated[float, msgspec.Meta(ge=0)] = 0
    expires: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class TokenFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: `{"tokens": [...]}`."""

    tokens: list[Token]


def read(file: Path) -> list[Token]:
    """Returns the entries of a file.

    Raises:
        SettingsError: If it can't be read, or isn't one.
    """
    try:
        return list(parse(file.read_bytes(), str(file)).values())
    except OSError as error:
        raise SettingsError(f"{file}: can't be read: {error.strerror}") from None


def encode(file: TokenFile) -> bytes:
    """Returns the file's content."""
    return msgspec.json.format(msgspec.json.encode(file)) + b"\n"


def digest(secret: str) -> str:
    """Returns the SHA-256 of a secret, in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def create(name: str, pipelines: list[str], requests_per_second: float, expires: datetime | None) -> tuple[str, Token]:
    """Returns a new secret, which is kept nowhere, and its entry.

    Raises:
        SettingsError: If a value doesn't fit the entry.
    """
    secret = PREFIX + secrets.token_urlsafe(32)
    entry = Token(
        name=name,
        sha256=digest(secret),
        pipelines=pipelines,
        requests_per_second=requests_per_second,
        expires=expires,
    )
    parse(encode(TokenFile([entry])), "token")
    return secret, entry


def parse(data: bytes, where: str) -> dict[str, Token]:
    """Returns the entries of a file by the digest of their secrets.

    Raises:
        SettingsError: If the file isn't one; names the entry's field.
    """
    try:
        entries = msgspec.json.decode(data, type=TokenFile).tokens
    except msgspec.DecodeError as error:
        raise SettingsError(f"{where}: {_without_secrets(str(error))}; see `pricecast token --help`") from None
    found = {entry.sha256: entry for entry in entries}
    if len(found) < len(entries):
        raise SettingsError(f"{where}: two entries have one sha256; give each caller a token of its own")
    return found


def _without_secrets(text: str) -> str:
    return re.sub(rf"{PREFIX}\w+", "***", text)
