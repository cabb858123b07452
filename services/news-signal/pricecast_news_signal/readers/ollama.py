"""Ollama: its own chat API with a JSON schema, which its server enforces token by token.

Models that think before they answer are asked not to: the tokens they may use would all go into `thinking`. Some can't
leave it (gpt-oss takes a level in its place), and servers of other makers don't enforce the schema, so an answer is
also found within fences and prose, and an empty one is called that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import msgspec
import ollama

from pricecast_core import logs
from pricecast_core.errors import BadMessageError, SettingsError
from pricecast_core.news import prompt
from pricecast_core.news.prompt import Answer
from pricecast_core.settings import NewsSignalSettings
from pricecast_news_signal.extractor import UnavailableError

MAX_ANSWER_TOKENS = 512
"""Bounds an answer that doesn't end: fifteen coins need some 250."""
_SHOWN_CHARACTERS = 300

log = logs.get(__name__)


def open_extractor(settings: NewsSignalSettings) -> OllamaExtractor:
    """Returns the model that the settings name."""
    return OllamaExtractor(
        url=settings.ollama_url,
        model=settings.model,
        coins=settings.coins,
        timeout_seconds=settings.timeout_seconds,
        keep_alive=settings.keep_alive,
        num_thread=settings.num_thread,
    )


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
        self._think: bool | None = False
        try:
            self._client = ollama.AsyncClient(
                host=url, timeout=timeout_seconds, event_hooks={"response": [_raise_for_status]}
            )
        except (ValueError, httpx.InvalidURL) as error:
            raise SettingsError(f"ollama_url: {url!r} is no address: {error}") from None

    async def extract(self, headline: str, attempt: int) -> Answer:
        """Returns the signals. Attempts after the first draw at random, or they would say the same again."""
        options = self._options | {"temperature": 0.0 if attempt == 0 else 0.5, "seed": attempt}
        response = await self._chat(headline, options)
        content = response.message.content or ""
        cut_off = response.done_reason == "length"
        if not content.strip():
            thought = len(response.message.thinking or "")
            why = f": it thought in {thought:,} characters instead" if thought else ""
            end = f" and came to the end of its {MAX_ANSWER_TOKENS} tokens" if cut_off else ""
            raise BadMessageError(f"{self._model} gave an empty answer{why}{end}", "news_signals")
        try:
            return prompt.find(content, self._coins)
        except BadMessageError as error:
            if cut_off:
                raise BadMessageError(f"{error}; it was cut off at {MAX_ANSWER_TOKENS} tokens", error.field) from None
            raise

    async def _chat(self, headline: str, options: dict[str, Any]) -> ollama.ChatResponse:
        while True:
            think = self._think
            try:
                return await self._client.chat(
                    self._model,
                    messages=prompt.messages(headline, self._coins),
                    format=self._schema,
                    options=options,
                    keep_alive=self._keep_alive,
                    think=think,
                )
            except _HttpError as error:
                if think is not None and error.status == httpx.codes.BAD_REQUEST and "think" in error.reason.lower():
                    log.info("the model can't be told not to think", model=self._model, answer=error.reason)
                    self._think = None
                    continue
                remedy = f"; publish or pull {self._model}" if error.status == httpx.codes.NOT_FOUND else ""
                raise UnavailableError(f"ollama at {self._url}: {error.reason} ({error.status}){remedy}") from None
            except (ConnectionError, httpx.HTTPError) as error:
                raise UnavailableError(f"ollama at {self._url}: no answer: {type(error).__name__}") from None
            except (ValueError, TypeError, RecursionError) as error:  # JSON, or its form, of another server than Ollama
                raise UnavailableError(
                    f"ollama at {self._url}: not an answer of Ollama: {_shown(str(error))}"
                ) from None

    async def close(self) -> None:
        """Closes the connections."""
        await self._client._client.aclose()


class _HttpError(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


async def _raise_for_status(response: httpx.Response) -> None:
    """Raises what the server says before the client does, which takes for granted that JSON holds a text `error`."""
    if response.is_success or response.has_redirect_location:
        return
    text = (await response.aread()).decode("utf-8", "replace")
    try:
        reason = msgspec.json.decode(text, type=_Refusal).error
    except (msgspec.MsgspecError, ValueError, RecursionError):  # a proxy's page, or another server's JSON
        reason = text
    raise _HttpError(response.status_code, _shown(reason) or response.reason_phrase)


class _Refusal(msgspec.Struct):
    error: str


def _shown(text: str) -> str:
    return " ".join(text.split())[:_SHOWN_CHARACTERS]
