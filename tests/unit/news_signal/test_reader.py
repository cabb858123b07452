from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from pricecast_core.errors import BadMessageError
from pricecast_core.news.prompt import Answer, CoinSignal
from pricecast_core.settings.news_signal import DEFAULT_COINS
from pricecast_news_signal.cache import AnswerCache
from pricecast_news_signal.extractor import UnavailableError
from pricecast_news_signal.reader import Reader
from pricecast_news_signal.readers.lexicon import Lexicon
from tests.unit.news_signal.headlines import HOSTILE

UP = Answer([CoinSignal("BTC", 1)])


class Scripted:
    """Answers by what the headline says: `bad N` fails N times, `down` is the provider's failure."""

    cacheable = True

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.running = self.most = 0
        self.down = False

    async def extract(self, headline: str, attempt: int) -> Answer:
        self.asked.append((headline, attempt))
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.001)
        self.running -= 1
        if headline == "down" and self.down:
            raise UnavailableError("away", 3.0)
        if headline.startswith("bad") and attempt < int(headline.split()[1]):
            raise BadMessageError("outside", "signal")
        return UP

    async def close(self) -> None:
        pass


def reader(extractor: Scripted, cache: AnswerCache | None = None, concurrency: int = 3) -> Reader:
    return Reader(extractor, model="m", concurrency=concurrency, attempts=3, cache=cache)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/cache.db"


async def test_answers_come_in_the_order_of_the_headlines_and_equal_ones_are_asked_once() -> None:
    scripted = Scripted()
    assert await reader(scripted).read(["a", "b", "a", "c"]) == [UP] * 4
    assert sorted(scripted.asked) == [("a", 0), ("b", 0), ("c", 0)]


async def test_no_more_than_so_many_are_read_at_once() -> None:
    scripted = Scripted()
    await reader(scripted, concurrency=3).read([str(number) for number in range(30)])
    assert scripted.most == 3


async def test_an_answer_outside_the_schema_is_asked_again_and_at_last_given_up() -> None:
    scripted = Scripted()
    first, second = await reader(scripted).read(["bad 2", "bad 9"])
    assert first == UP
    assert isinstance(second, BadMessageError)
    assert second.reason == "outside_schema"
    assert [attempt for headline, attempt in scripted.asked if headline == "bad 9"] == [0, 1, 2]


async def test_a_provider_that_is_away_is_no_fault_of_the_headlines(url: str) -> None:
    scripted = Scripted()
    scripted.down = True
    cache = AnswerCache(url, "m", DEFAULT_COINS)
    with pytest.raises(UnavailableError):
        await reader(scripted, cache, concurrency=1).read(["a", "b", "down", "c"])
    scripted.down, scripted.asked = False, []
    assert await reader(scripted, cache).read(["a", "b", "down", "c"]) == [UP] * 4
    assert {headline for headline, _ in scripted.asked} == {"down", "c"}  # the others were kept


async def test_the_cache_is_by_model_coins_and_headline(url: str) -> None:
    scripted = Scripted()
    for model, coins, asked in (("m", ["BTC"], 1), ("m", ["BTC"], 1), ("n", ["BTC"], 2), ("m", ["BTC", "ETH"], 3)):
        await reader(scripted, AnswerCache(url, model, coins)).read(["a"])
        assert len(scripted.asked) == asked


async def test_failures_are_not_cached(url: str) -> None:
    scripted = Scripted()
    for _ in range(2):
        await reader(scripted, AnswerCache(url, "m", ["BTC"])).read(["bad 9"])
    assert len(scripted.asked) == 6


async def test_a_cache_that_is_away_is_done_without() -> None:
    cache = AnswerCache("postgresql://nobody@127.0.0.1:9/none", "m", ["BTC"])
    assert await reader(Scripted(), cache).read(["a"]) == [UP]


async def test_hostile_headlines_are_kept_and_found_in_the_cache(url: str) -> None:
    cache = AnswerCache(url, "m", ["BTC"])
    scripted = Scripted()
    await reader(scripted, cache).read(HOSTILE)
    await reader(scripted, cache).read(HOSTILE)
    assert len(scripted.asked) == len(set(HOSTILE))


async def test_the_lexicon_reads_whatever_comes_and_quickly() -> None:
    lexicon = Reader(Lexicon(DEFAULT_COINS), model="lexicon", concurrency=2)
    started = time.monotonic()
    results = await lexicon.read(HOSTILE)
    assert all(isinstance(result, Answer) for result in results)
    assert time.monotonic() - started < 30
