"""Servers that speak OpenAI's protocol: OpenAI's own, and vLLM, llama.cpp, LM Studio and the like."""

from __future__ import annotations

from openai import AsyncOpenAI
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from pricecast_core.settings import NewsSignalSettings
from pricecast_news_signal.readers.typed_llm import TypedExtractor


def open_extractor(settings: NewsSignalSettings) -> TypedExtractor:
    """Returns the model that the settings name; an empty address means OpenAI's own."""
    client = AsyncOpenAI(
        api_key=(settings.api_key.get_secret_value() if settings.api_key else "") or "none",
        base_url=settings.openai_url or None,
        timeout=settings.timeout_seconds,
        max_retries=0,
    )
    model = OpenAIChatModel(settings.model, provider=OpenAIProvider(openai_client=client))
    return TypedExtractor(model, settings.coins, guidelines=settings.guidelines, by_schema=True)
