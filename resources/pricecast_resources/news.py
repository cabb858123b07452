"""`spec.news` of a pipeline: where news comes from, and who reads it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from pricecast_core.settings import NewsSettings, NewsSignalSettings
from pricecast_core.settings.news_signal import ENCODER_HEAD
from pricecast_core.values import DISTINCT, JOB_NAME, HttpUrl, OptionalHttpUrl
from pricecast_resources.base import SET, Model, SecretKeyRef, of_setting, rule, rules
from pricecast_resources.values import Coins


class CryptoPanicNews(Model):
    """News of CryptoPanic."""

    url: HttpUrl = of_setting(
        NewsSettings,
        "cryptopanic_url",
        "Base URL with the account's plan and the API's version: https://cryptopanic.com/api/PLAN/v2.",
    )
    api_key_secret_ref: SecretKeyRef = Field(description="Where the API key is.")


class RssNews(Model):
    """News of RSS or Atom feeds."""

    urls: Annotated[list[HttpUrl], DISTINCT] = Field(
        default_factory=list,
        max_length=64,
        description="Addresses of the feeds; none means the list of crypto news feeds that comes with the service.",
        json_schema_extra=SET,
    )


class GdeltNews(Model):
    """News of GDELT, which watches the media of the whole world and needs no account."""

    url: HttpUrl = of_setting(NewsSettings, "gdelt_url", "Address of the document API.")
    query: str = of_setting(
        NewsSettings, "gdelt_query", "What to look for, in GDELT's query language.", min_length=1, max_length=2048
    )


class ArchiveNews(Model):
    """News of an archive, read once."""

    location: str = Field(min_length=1, max_length=2048, description="File or URL: .csv, .zip or .rar.")


class EncoderFiles(Model):
    """Where the encoder is and what was learnt on top of it."""

    head: str = Field(
        str(ENCODER_HEAD),
        min_length=1,
        max_length=2048,
        description="What `pricecast news train` learnt: a file; in a pod one of services.news-signal.volumes.",
    )
    weights: str = of_setting(
        NewsSignalSettings,
        "encoder_weights",
        "The encoder: a folder, a .zip or .jar, package:NAME or hub:OWNER/NAME; empty means where it was in training.",
        max_length=2048,
    )


class NewsSignals(Model):
    """Who reads the news."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.provider in ['Lexicon', 'Encoder'] || has(self.model) && self.model != ''"
                " || has(self.finetuneJob) && self.finetuneJob != ''",
                "is empty; name the provider's model, or a finetuneJob",
                "model",
            ),
            rule(
                "self.provider != 'Anthropic' || has(self.apiKeySecretRef)",
                "is missing; Anthropic needs an API key",
                "apiKeySecretRef",
            ),
            rule(
                "!has(self.finetuneJob) || self.finetuneJob == '' || self.provider == 'Ollama'",
                "needs provider Ollama, which a FinetuneJob publishes to",
                "finetuneJob",
            ),
            rule("!has(self.encoder) || self.provider == 'Encoder'", "needs provider Encoder", "encoder"),
        )
    )

    provider: Literal["Lexicon", "Encoder", "Ollama", "Anthropic", "OpenAI"] = Field(
        "Lexicon",
        description="Who turns headlines into signals; Lexicon, a word list, and Encoder need no server. A laptop where "
        "an encoder's head was trained reads by it if nothing is said here.",
    )
    encoder: EncoderFiles | None = Field(None, description="The files of provider Encoder.")
    model: str = Field("", max_length=253, description="Model name as the provider calls it.")
    url: OptionalHttpUrl = Field(
        "",
        description="Address of Ollama or of an OpenAI-compatible server.",
    )
    api_key_secret_ref: SecretKeyRef | None = Field(None, description="Where the provider's API key is.")
    finetune_job: str = Field(
        "",
        pattern=f"^({JOB_NAME})?$",
        description="FinetuneJob whose published model is used as soon as that job completes.",
    )

    @model_validator(mode="after")
    def _provider_is_described(self) -> NewsSignals:
        if self.provider not in ("Lexicon", "Encoder") and not self.model and not self.finetune_job:
            raise ValueError(f"model: is empty; name the {self.provider} model, or a finetuneJob")
        if self.provider == "Anthropic" and self.api_key_secret_ref is None:
            raise ValueError("apiKeySecretRef: is missing; Anthropic needs an API key")
        if self.finetune_job and self.provider != "Ollama":
            raise ValueError("finetuneJob: needs provider Ollama, which a FinetuneJob publishes to")
        if self.encoder is not None and self.provider != "Encoder":
            raise ValueError("encoder: needs provider Encoder")
        return self


class News(Model):
    """Where news comes from and who reads it. The sources that are given are read beside each other; none means rss."""

    rss: RssNews | None = Field(None, description="Read feeds.")
    crypto_panic: CryptoPanicNews | None = Field(None, description="Read CryptoPanic.")
    gdelt: GdeltNews | None = Field(None, description="Read GDELT.")
    archive: ArchiveNews | None = Field(None, description="Read an archive, once.")
    poll_seconds: int = of_setting(NewsSettings, "poll_seconds", "Time between two reads.")
    coins: Coins = Field(default_factory=list, description="Coins that signals are about.")
    signals: NewsSignals = Field(default_factory=NewsSignals, description="Who reads the news.")
