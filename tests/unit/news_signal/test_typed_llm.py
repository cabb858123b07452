from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from pricecast_core.errors import BadMessageError, SettingsError
from pricecast_core.news import prompt
from pricecast_core.news.prompt import CoinSignal
from pricecast_core.settings import NewsSignalSettings
from pricecast_news_signal.extractor import Extractor, UnavailableError
from pricecast_news_signal.registry import open_extractor
from tests.doubles.anthropic import AnthropicDouble
from tests.unit.news_signal.headlines import HOSTILE


@pytest.fixture
def api() -> Iterator[AnthropicDouble]:
    with AnthropicDouble() as double:
        yield double


def extractor(url: str, key: str = AnthropicDouble.key) -> Extractor:
    return open_extractor(
        NewsSignalSettings(
            pipeline="p",
            provider="anthropic",
            model="claude-test",
            anthropic_url=url,
            api_key=SecretStr(key),
            coins=["BTC", "ETH"],
        )
    )


async def test_a_typed_answer_gives_signals_and_reasons(api: AnthropicDouble) -> None:
    api.answer = lambda _: {
        "news_signals": [{"coin": "BTC", "signal": 1, "reasoning": "ETF"}, {"coin": "ETH", "signal": -1}]
    }
    answer = await extractor(api.url).extract("Bitcoin ETF approved", 0)
    assert answer.news_signals == [CoinSignal("BTC", 1, "ETF"), CoinSignal("ETH", -1)]
    request = api.requests[0]
    assert request["model"] == "claude-test"
    assert request["temperature"] == 0
    assert prompt.instruction(["BTC", "ETH"]) in str(request["system"])
    assert "Bitcoin ETF approved" not in str(request["system"])


@pytest.mark.parametrize(
    "answer",
    [
        {"news_signals": [{"coin": "PEPE", "signal": 1}]},
        {"news_signals": [{"coin": "BTC", "signal": 7}]},
        {"news_signals": [{"coin": "BTC", "signal": 1}, {"coin": "BTC", "signal": -1}]},
        {"signals": []},
        "Bitcoin will go up.",
    ],
)
async def test_an_answer_outside_the_schema_is_the_headlines_fault(api: AnthropicDouble, answer: object) -> None:
    api.answer = lambda _: answer
    with pytest.raises(BadMessageError):
        await extractor(api.url).extract("Bitcoin", 0)


@pytest.mark.parametrize("status", [429, 500, 529])
async def test_an_overloaded_provider_is_away(api: AnthropicDouble, status: int) -> None:
    api.failures = [status]
    with pytest.raises(UnavailableError, match=str(status)):
        await extractor(api.url).extract("Bitcoin", 0)


async def test_nobody_listening_is_away() -> None:
    with pytest.raises(UnavailableError):
        await extractor("http://127.0.0.1:9").extract("Bitcoin", 0)


async def test_a_refused_key_is_a_wrong_setting(api: AnthropicDouble) -> None:
    with pytest.raises(SettingsError, match="api_key"):
        await extractor(api.url, "wrong").extract("Bitcoin", 0)


async def test_a_model_that_is_not_there_is_waited_for(api: AnthropicDouble) -> None:
    settings = NewsSignalSettings(
        pipeline="p", provider="anthropic", model="absent", anthropic_url=api.url, api_key=api.key
    )
    with pytest.raises(UnavailableError, match="absent: answered 404"):
        await open_extractor(settings).extract("Bitcoin", 0)


@pytest.mark.parametrize("headline", HOSTILE)
async def test_hostile_headlines_reach_the_model_as_data(api: AnthropicDouble, headline: str) -> None:
    assert (await extractor(api.url).extract(headline, 0)).news_signals == []


@pytest.mark.parametrize(("provider", "field"), [("anthropic", "API_KEY")])
def test_a_missing_key_is_named(provider: str, field: str) -> None:
    with pytest.raises(SettingsError, match=field):
        open_extractor(NewsSignalSettings(pipeline="p", provider=provider, model="m"))
