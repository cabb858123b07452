"""From settings to the one that reads the headlines."""

from __future__ import annotations

from pricecast_core.errors import SettingsError
from pricecast_core.settings import NewsSignalSettings
from pricecast_news_signal.extractor import Extractor, Lexicon
from pricecast_news_signal.ollama_chat import OllamaExtractor


def open_extractor(settings: NewsSignalSettings) -> Extractor:
    """Returns the extractor that the settings name.

    Raises:
        SettingsError: If what the provider needs is not set.
    """
    if settings.provider == "lexicon":
        return Lexicon(settings.coins)
    if settings.provider == "ollama":
        return OllamaExtractor(
            url=settings.ollama_url,
            model=settings.model,
            coins=settings.coins,
            timeout_seconds=settings.timeout_seconds,
            keep_alive=settings.keep_alive,
            num_thread=settings.num_thread,
        )
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    from pricecast_news_signal import typed_llm  # noqa: PLC0415 (a second to load, and only these two need it)

    if settings.provider == "anthropic":
        if not key:
            raise SettingsError("API_KEY: is not set; Anthropic needs one")
        model = typed_llm.anthropic_model(settings.model, key, settings.anthropic_url, settings.timeout_seconds)
    else:
        model = typed_llm.openai_model(settings.model, key, settings.openai_url, settings.timeout_seconds)
    return typed_llm.TypedExtractor(model, settings.coins, by_schema=settings.provider == "openai")
