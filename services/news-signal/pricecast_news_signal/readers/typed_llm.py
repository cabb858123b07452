"""What large models with typed output have in common, by pydantic-ai: one output whatever the provider."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError, UnexpectedModelBehavior, UsageLimitExceeded
from pydantic_ai.models import Model

from pricecast_core.errors import BadMessageError, SettingsError
from pricecast_core.news import prompt
from pricecast_core.news.prompt import Answer
from pricecast_news_signal.extractor import UnavailableError

MAX_ANSWER_TOKENS = 1_024


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _output_type(coins: Sequence[str]) -> type[BaseModel]:
    coin: Any = Literal[tuple(coins)]
    item = create_model(
        "CoinSignal",
        __base__=_Strict,
        coin=(coin, Field(description="The coin")),
        signal=(Literal[-1, 0, 1], Field(description="-1 down, 0 no effect, 1 up")),
        reasoning=(str, Field("", max_length=400, description="Why, in one sentence")),
    )
    items: Any = list[item]
    return create_model("NewsSignals", __base__=_Strict, news_signals=(items, Field(max_length=len(coins))))


def instructions(coins: Sequence[str], guidelines: Path | None) -> str:
    """Returns what a large model is told.

    Args:
        coins: The coins that signals may be about.
        guidelines: A file to take it from, in which `{coins}` stands for the coins.

    Raises:
        SettingsError: If the file can't be read.
    """
    if guidelines is None:
        return prompt.instruction(coins)
    try:
        text = guidelines.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"guidelines: {guidelines} can't be read: {error}; give a text file") from None
    if not text.strip():
        raise SettingsError(f"guidelines: {guidelines} is empty; say how headlines are to be labelled")
    return text.replace("{coins}", " ".join(coins))


class TypedExtractor:
    """Signals by a large model with typed output.

    Args:
        model: The model and its provider.
        coins: The coins that signals may be about.
        guidelines: File with what it is told; by default the built-in instruction.
        by_schema: Asks for the output by a JSON schema, which most servers of OpenAI's protocol enforce, rather than
            as the call of a tool, which many of their models don't know.
    """

    cacheable = True

    def __init__(
        self, model: Model, coins: Sequence[str], *, guidelines: Path | None = None, by_schema: bool = False
    ) -> None:
        self._coins = tuple(coins)
        output = _output_type(coins)
        self._agent: Agent[None, BaseModel] = Agent(
            model,
            output_type=NativeOutput(output) if by_schema else output,
            instructions=instructions(coins, guidelines),
            retries=0,  # the reader counts the attempts
            model_settings={"temperature": 0.0, "max_tokens": MAX_ANSWER_TOKENS},
        )

    async def extract(self, headline: str, attempt: int) -> Answer:
        """Returns the signals, with the model's reasons."""
        del attempt
        try:
            result = await self._agent.run(prompt.messages(headline, self._coins)[1]["content"])
        except ModelHTTPError as error:
            if error.status_code in (401, 403):
                raise SettingsError(f"api_key: {error.model_name} refuses it ({error.status_code})") from None
            raise UnavailableError(f"{error.model_name}: answered {error.status_code}") from None
        except (ModelAPIError, httpx.HTTPError) as error:
            raise UnavailableError(f"no answer: {type(error).__name__}: {error}") from None
        except (UnexpectedModelBehavior, UsageLimitExceeded) as error:
            raise BadMessageError(f"the model's answer is outside the schema: {error}", "news_signals") from None
        return prompt.parse(result.output.model_dump_json(), self._coins)

    async def close(self) -> None:
        """Leaves the connections to the process's end."""
