"""Ollama: its own chat API with a JSON schema, which its server enforces token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import ollama

from pricecast_core.news import prompt
from pricecast_core.news.prompt import Answer
from pricecast_news_signal.extractor import UnavailableError

MAX_ANSWER_TOKENS = 512
"""Bounds an answer that doesn't end: fifteen coins need some 250."""


class OllamaExtractor:
    """Signals by a model that an Ollama server runs.

    Args:
        url: Address of the server.
        model: Model with its tag.
        coins: The coins that signals may be about.
        timeout_seconds: Longest wait for one answer.
        keep_alive: How long the server keeps the model in memory, such as `10m`.
        num_thread: CPU threads of the server; 0 leaves it to the server.
    """

    cacheable = True

    def __init__(
        self,
        *,
        url: str,
        model: str,
        coins: Sequence[str],
        timeout_seconds: float = 60.0,
        keep_alive: str = "10m",
        num_thread: int = 0,
    ) -> None:
        self._url, self._model, self._coins = url, model, tuple(coins)
        self._keep_alive = keep_alive
        self._schema = prompt.json_schema(self._coins)
        self._options: dict[str, Any] = {
            "num_predict": MAX_ANSWER_TOKENS,
            "repeat_penalty": 1.0,  # the default punishes the keys that JSON repeats
        }
        if num_thread:
            self._options["num_thread"] = num_thread
        self._client = ollama.AsyncClient(host=url, timeout=timeout_seconds)

    async def extract(self, headline: str, attempt: int) -> Answer:
        """Returns the signals. Attempts after the first draw at random, or they would say the same again."""
        options = self._options | {"temperature": 0.0 if attempt == 0 else 0.5, "seed": attempt}
        try:
            response = await self._client.chat(
                self._model,
                messages=prompt.messages(headline, self._coins),
                format=self._schema,
                options=options,
                keep_alive=self._keep_alive,
            )
        except ollama.ResponseError as error:
            remedy = f"; publish or pull {self._model}" if error.status_code == 404 else ""
            raise UnavailableError(f"ollama at {self._url}: {error.error} ({error.status_code}){remedy}") from None
        except (ConnectionError, httpx.HTTPError) as error:
            raise UnavailableError(f"ollama at {self._url}: no answer: {type(error).__name__}") from None
        return prompt.parse(response.message.content or "", self._coins)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client._client.aclose()
