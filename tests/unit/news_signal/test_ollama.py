from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricecast_core.errors import BadMessageError, SettingsError
from pricecast_core.news.prompt import Answer, CoinSignal
from pricecast_core.settings import NewsSignalSettings
from pricecast_core.settings.news_signal import NEWS_READERS
from pricecast_news_signal.extractor import UnavailableError
from pricecast_news_signal.reader import Reader
from pricecast_news_signal.readers.ollama import OllamaExtractor
from pricecast_news_signal.registry import READERS
from tests.doubles.ollama import OllamaDouble, says, thinks

GOOD = '{"news_signals":[{"coin":"BTC","signal":1}]}'
UP = Answer([CoinSignal("BTC", 1)])
INJECTED = '{"news_signals":[{"coin":"BTC","signal":-1}]}'


def extractor(api: OllamaDouble) -> OllamaExtractor:
    return OllamaExtractor(url=api.url, model="some-model", coins=["BTC", "ETH"], timeout_seconds=10)


async def test_a_model_that_thinks_is_told_not_to() -> None:
    with OllamaDouble(thinks(GOOD)) as api:
        assert await extractor(api).extract("Bitcoin rises", 0) == UP
    assert api.requests[0]["think"] is False


async def test_a_model_that_can_not_be_told_is_asked_without() -> None:
    with OllamaDouble(says(GOOD)) as api:
        api.takes_think = False
        reader = extractor(api)
        assert [await reader.extract("Bitcoin rises", 0) for _ in range(2)] == [UP, UP]
    assert ["think" in request for request in api.requests] == [True, False, False]


@pytest.mark.parametrize(
    "content",
    [
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}```",
        f"<think>\nThe user wants {INJECTED}\n</think>\n\n{GOOD}",
        f"The user wants BTC...\n</think>{GOOD}",
        f"<thinking>\nPerhaps {INJECTED}\n</thinking>\n{GOOD}",
        f"<THINK>{INJECTED}</THINK>{GOOD}",
        f"<|channel|>analysis<|message|>Perhaps {INJECTED}<|end|><|start|>assistant<|channel|>final<|message|>{GOOD}",
        f"Here is the JSON:\n{GOOD}",
        f"{GOOD}\n\nI hope this helps!",
        f"The answer is {GOOD}, that is to say {GOOD}.",
        json.dumps(json.loads(GOOD), indent=2),
    ],
)
async def test_an_answer_is_found_within_what_a_model_says_around_it(content: str) -> None:
    with OllamaDouble(says(content)) as api:
        assert await extractor(api).extract("Bitcoin rises", 0) == UP


@pytest.mark.parametrize(
    ("content", "done_reason", "words"),
    [
        ("", "stop", "empty answer"),
        ("  \n", "length", "empty answer.*512 tokens"),
        (GOOD[:-4], "length", "cut off at 512 tokens"),
        (f"<think> perhaps {GOOD}", "length", "thinks"),
        (f"<reasoning> perhaps {GOOD}", "length", "thinks"),
        (f"<|channel|>analysis<|message|>perhaps {GOOD}", "length", "thinks"),
        (f"The headline says {INJECTED}, but I say {GOOD}", "stop", "2 different answers"),
        ("Bitcoin will go up", "stop", "outside the schema"),
    ],
)
async def test_an_answer_that_is_none_is_named_for_what_it_is(content: str, done_reason: str, words: str) -> None:
    with OllamaDouble(says(content, done_reason)) as api, pytest.raises(BadMessageError, match=words):
        await extractor(api).extract("Bitcoin rises", 0)


async def test_thinking_that_leaves_no_answer_is_named() -> None:
    with OllamaDouble(thinks(GOOD)) as api:
        api.takes_think = False
        with pytest.raises(BadMessageError, match="thought in"):
            await extractor(api).extract("Bitcoin rises", 0)


async def test_a_reader_none_of_whose_answers_is_valid_says_why_until_one_is() -> None:
    with OllamaDouble(says("")) as api:
        reader = Reader(extractor(api), model="some-model", attempts=1)
        assert reader.problem is None
        assert all(isinstance(result, BadMessageError) for result in await reader.read(["a", "b", "c"]))
        assert reader.problem is not None
        assert "empty answer" in reader.problem
        api.say = says(GOOD)
        assert await reader.read(["d"]) == [UP]
        assert reader.problem is None
        api.say = says("")
        await reader.read(["e", "f"])
        assert reader.problem is None  # two bad headlines among good ones are the headlines' fault
        await reader.read(["g", "h", "i"])
        assert "last 5 answers" in (reader.problem or "")


@pytest.mark.parametrize(
    "body", [b"", b"<html>a proxy</html>", b"[]", b'{"message": 5}', b'{"message": {"content": 5}}']
)
async def test_what_is_no_answer_of_ollama_is_the_servers_fault(body: bytes) -> None:
    with OllamaDouble(says(GOOD)) as api:
        api.raw = [(200, body)]
        with pytest.raises(UnavailableError):
            await extractor(api).extract("Bitcoin rises", 0)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, b'{"error": {"message": "bad"}}', "bad"),
        (400, b'{"error": null}', "null"),
        (502, b"null", "null"),
        (502, b'"Bad gateway"', "Bad gateway"),
        (503, b"5", "5"),
        (500, b"[]", r"\[\]"),
        (500, b"[" * 100_000, "500"),
        (200, b"[" * 100_000, "not an answer of Ollama"),
        (503, b"", "Service Unavailable"),
        (500, b'{"error": "model requires more memory"}', r": model requires more memory \(500\)"),
        (200, b'{"error": "model requires more memory"}', "model requires more memory"),
    ],
)
async def test_whatever_a_server_answers_in_place_of_ollama_its_reason_is_told(
    status: int, body: bytes, reason: str
) -> None:
    with OllamaDouble(says(GOOD)) as api:
        api.raw = [(status, body)]
        with pytest.raises(UnavailableError, match=reason) as caught:
            await extractor(api).extract("Bitcoin rises", 0)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("url", ["http://[", "http://host:port"])
def test_an_address_that_is_none_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(SettingsError, match="ollama_url"):
        OllamaExtractor(url=url, model="m", coins=["BTC"])


def test_each_reader_that_settings_know_is_registered() -> None:
    assert set(READERS) == set(NEWS_READERS)
    with pytest.raises(ValueError, match="provider"):
        NewsSignalSettings(pipeline="p", provider="oracle")  # type: ignore[arg-type]


_said = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [GOOD, INJECTED, "```json\n", "```", "<think>", "</think>", '{"news_signals":', "[]}", '"', "\\", "{"]
    ),
)
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
_bodies = st.binary(max_size=80) | st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["message", "content", "thinking", "role", "done", "done_reason", "error"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(_said, max_size=6).map("".join),
    st.sampled_from(["stop", "length", "load", None]),
    st.none() | _bodies,
    st.sampled_from([200, 204, 301, 400, 403, 404, 429, 500, 502, 503]),
)
def test_whatever_ollama_answers_is_valid_refused_or_unavailable(
    content: str, done_reason: Any, body: bytes | None, status: int
) -> None:
    async def ask(api: OllamaDouble) -> None:
        reader = extractor(api)
        try:
            answer = await reader.extract("Bitcoin rises", 0)
        except (BadMessageError, UnavailableError):
            return
        finally:
            await reader.close()
        assert {item.coin for item in answer.news_signals} <= {"BTC", "ETH"}

    with OllamaDouble(says(content, done_reason)) as api:
        api.raw = [] if body is None else [(status, body)]
        asyncio.run(ask(api))
