"""Settings of the news service."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from pricecast_core.settings.base import ANYWHERE, CoinList, StreamSettings

NEWS_SOURCES = ("rss", "cryptopanic", "gdelt", "archive")
"""The kinds of news source; the service has a module for each."""


class NewsSettings(StreamSettings):
    """Where headlines come from."""

    source: list[str] = Field(
        default_factory=lambda: ["rss"],
        min_length=1,
        description=f"Kinds of news source, read beside each other: {', '.join(NEWS_SOURCES)}",
    )
    rss_urls: list[str] = Field(
        default_factory=list, description="Feeds to read; empty means the list that comes with the service"
    )
    cryptopanic_url: str = Field(
        "https://cryptopanic.com/api/developer/v2",
        description="Base URL of CryptoPanic's API, with the account's plan and the version",
    )
    cryptopanic_api_key: SecretStr | None = Field(None, description="API key of CryptoPanic")
    gdelt_url: str = Field("https://api.gdeltproject.org/api/v2/doc/doc", description="Address of GDELT's document API")
    gdelt_query: str = Field(
        "(bitcoin OR ethereum OR cryptocurrency OR crypto) sourcelang:english",
        min_length=1,
        description="What GDELT is asked for, in its query language",
    )
    archive: str = Field("", description="File or URL of headlines: .csv, .jsonl, .zip or .rar")
    archive_max_bytes: int = Field(1_000_000_000, ge=1, description="Largest archive, packed and unpacked")
    poll_seconds: float = Field(60, ge=1, le=86_400, description="Time between two reads of a live source")
    coins: CoinList = Field(
        default_factory=list, description="Coins that CryptoPanic is asked about; empty means all news"
    )

    @field_validator("source")
    @classmethod
    def _are_known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in NEWS_SOURCES:
                raise ValueError(f"{name!r} is unknown; the kinds of news source are {', '.join(NEWS_SOURCES)}")
        return list(dict.fromkeys(names))

    @property
    def addresses(self) -> list[str]:
        """The addresses that its sources name; feeds may lead anywhere else."""
        return [
            ANYWHERE,
            *(self.rss_urls if "rss" in self.source else []),
            *([self.cryptopanic_url] if "cryptopanic" in self.source else []),
            *([self.gdelt_url] if "gdelt" in self.source else []),
        ]
