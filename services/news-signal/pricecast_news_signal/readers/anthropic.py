"""Anthropic's models."""

from __future__ import annotations

from anthropic import AsyncAnthropic
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

from pricecast_core.errors import SettingsError
from pricecast_core.settings import NewsSignalSettings
from pricecast_news_signal.readers.typed_llm import TypedExtractor


def open_extractor(settings: NewsSignalSettings) -> TypedExtractor:
    """Returns the model that the settings name; an empty address means Anthropic's own.

    Raises:
        SettingsError: If no key is set.
    """
    if settings.api_key is None or not settings.api_key.get_secret_value():
        raise SettingsError("API_KEY: is not set; Anthropic needs one")
    client = AsyncAnthropic(
        api_key=settings.api_key.get_secret_value(),
        base_url=settings.anthropic_url or None,
        timeout=settings.timeout_seconds,
        max_retries=0,
    )
    model = AnthropicModel(settings.model, provider=AnthropicProvider(anthropic_client=client))
    return TypedExtractor(model, settings.coins, guidelines=settings.guidelines)
