"""Settings of the news service."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from pricecast_core.settings.base import CommaSeparated, StreamSettings


class NewsSettings(StreamSettings):
    """Where headlines come from."""

    source: Literal["cryptopanic", "rss", "archive"] = Field("rss", description="Kind of news source")
    cryptopanic_url: str = Field(
        "https://cryptopanic.com/api/developer/v2", description="Base URL of CryptoPanic's API, with its version"
    )
    cryptopanic_api_key: SecretStr | None = Field(None, description="API key of CryptoPanic")
    rss_urls: CommaSeparated = Field(default_factory=list, description="Feeds to read, comma separated")
    archive: str = Field("", description="File or URL of headlines: .csv, .jsonl, .zip or .rar")
    archive_max_bytes: int = Field(1_000_000_000, ge=1, description="Largest archive, packed and unpacked")
    poll_seconds: float = Field(60, ge=1, description="Time between two reads of a live source")
    coins: CommaSeparated = Field(
        default_factory=list, description="Coins that CryptoPanic is asked about; empty means all news"
    )
