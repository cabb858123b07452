from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.errors import SourceError
from pricecast_core.messages import News
from pricecast_news.intake import backoff
from pricecast_news.seen import Seen
from pricecast_news.web import RateLimitedError

NOON_MS = 1_714_564_800_000
HOUR_MS = 3_600_000


def news(identity: str, title: str, hours: float = 0) -> News:
    return News(
        id=identity,
        title=title,
        source="s",
        published_at="2024-05-01T12:00:00Z",
        timestamp_ms=NOON_MS + round(hours * HOUR_MS),
    )


def test_a_headline_is_new_once_by_id_and_by_title() -> None:
    seen = Seen()
    assert seen.add(news("a:1", "Bitcoin rallies"))
    assert not seen.add(news("a:1", "Something else"))
    assert not seen.add(news("b:9", "  BITCOIN  rallies! "))
    assert not seen.add(news("b:10", "RT @someone: “Bitcoin rallies” https://t.example/x"))
    assert seen.add(news("b:11", "Bitcoin rallies again"))


@pytest.mark.parametrize("hours", [-6, 0.1, 11.9, 24 - 12 + 0.1 - 0.2])
def test_a_title_that_comes_again_on_that_day_is_the_same_story(hours: float) -> None:
    seen = Seen()
    seen.add(news("a:1", "Bitcoin rallies"))
    assert not seen.add(news("b:1", "Bitcoin rallies", hours))


@pytest.mark.parametrize("hours", [-30, -13, 13, 24, 72, 24 * 365])
def test_a_title_that_comes_again_on_another_day_is_news_again(hours: float) -> None:
    seen = Seen()
    seen.add(news("a:1", "Bitcoin sets a new all-time high"))
    again = news("a:2", "Bitcoin sets a new all-time high", hours)
    assert seen.is_new(again)
    assert seen.add(again)
    assert not seen.add(again)


def test_a_story_that_two_sources_date_around_midnight_is_one_and_takes_no_other_day() -> None:
    seen = Seen()
    assert seen.add(news("a:1", "Bitcoin rallies", 11.9))
    assert not seen.add(news("b:1", "Bitcoin rallies", 12.1))
    assert seen.add(news("a:2", "Bitcoin rallies", 12.1 + 9))


def test_headlines_of_emoji_alone_are_told_apart() -> None:
    seen = Seen()
    assert seen.add(news("1", "🚀🚀"))
    assert seen.add(news("2", "🐻"))
    assert not seen.add(news("3", "🐻 "))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=60))
def test_memory_is_bounded_and_the_newest_are_remembered(items: list[tuple[int, int]]) -> None:
    seen = Seen(limit=5)
    for identity, title in items:
        item = news(str(identity), f"title {title}")
        seen.add(item)
        assert not seen.is_new(item)
        assert len(seen) <= 5


def test_a_failing_source_is_left_alone_longer_each_time_and_as_long_as_it_asks() -> None:
    waits = [backoff(SourceError("x"), failures, 10.0) for failures in (1, 2, 3, 50)]
    assert 10 <= waits[0] <= 11
    assert 20 <= waits[1] <= 22
    assert 40 <= waits[2] <= 44
    assert 900 <= waits[3] <= 990
    assert 3600 <= backoff(RateLimitedError("x", 3600.0), 1, 10.0) <= 3960
    assert backoff(RateLimitedError("x", None), 2, 10.0) >= 20
