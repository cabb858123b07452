"""Settings of the news-signal service."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, SecretStr

from pricecast_core.news.lexicon import MODEL_NAME as LEXICON
from pricecast_core.settings.base import ANYWHERE, CoinList, StreamSettings

NewsReader = Literal["lexicon", "encoder", "ollama", "anthropic", "openai"]
NEWS_READERS: tuple[str, ...] = get_args(NewsReader)
"""Who can read headlines; the service has a module for each."""
ENCODER = "encoder-v1"
"""Model name of the encoder, where none is given."""
ENCODER_HEAD = Path(".pricecast/encoder/head.json")
DEFAULT_COINS = (
    "BTC",
    "ETH",
    "SOL",
    "XRP",
    "DOGE",
    "ADA",
    "XLM",
    "LTC",
    "BCH",
    "DOT",
    "XMR",
    "EOS",
    "XEM",
    "ZEC",
    "ETC",
)


class NewsSignalSettings(StreamSettings):
    """Who reads the headlines."""

    provider: NewsReader = Field("lexicon", description="Who reads the news")
    model: str = Field(LEXICON, description="Model name, as the provider calls it")
    encoder_head: Path = Field(ENCODER_HEAD, description="What `pricecast news train` learnt, for the encoder")
    encoder_weights: str = Field(
        "",
        description="The encoder: a folder, a .zip or .jar, package:NAME or hub:OWNER/NAME; empty means where it was "
        "when the head was trained",
    )
    ollama_url: str = Field("http://127.0.0.1:11434", description="Address of Ollama")
    anthropic_url: str = Field("", description="Base URL of Anthropic; empty means its own")
    openai_url: str = Field("", description="Base URL of an OpenAI-compatible server; empty means OpenAI's own")
    api_key: SecretStr | None = Field(None, description="API key of the provider")
    guidelines: Path | None = Field(
        None,
        description="File with what Anthropic's or OpenAI's model is told instead of the built-in instruction; "
        "`{coins}` stands for the coins",
    )
    coins: CoinList = Field(default_factory=lambda: list(DEFAULT_COINS), description="Coins that signals are about")
    concurrency: int = Field(2, ge=1, le=64, description="Headlines read at the same time")
    batch_size: int = Field(16, ge=1, le=1_000, description="Headlines taken from the topic at once")
    timeout_seconds: float = Field(60, gt=0, description="Longest wait for one answer")
    attempts: int = Field(3, ge=1, le=10, description="Tries at an answer inside the schema before a dead letter")
    num_thread: int = Field(0, ge=0, le=1_024, description="CPU threads that Ollama uses; 0 leaves it to Ollama")
    keep_alive: str = Field("10m", description="How long Ollama keeps the model in memory")
    cache_url: SecretStr = Field(
        SecretStr("sqlite:///.pricecast/news-signals.db"),
        description="SQLAlchemy URL of the cache by model and headline",
    )

    @property
    def addresses(self) -> list[str]:
        """Where the provider is."""
        if self.provider == "lexicon":
            return []
        if self.provider == "encoder":
            return [ANYWHERE] if self.encoder_weights.startswith("hub:") else []
        if self.provider == "anthropic":
            return [ANYWHERE, self.anthropic_url or ANYWHERE]
        return [self.ollama_url if self.provider == "ollama" else self.openai_url or ANYWHERE]
