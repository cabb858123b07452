from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.errors import SourceError
from pricecast_core.messages import News
from pricecast_news.main import backoff
from pricecast_news.seen import Seen
from pricecast_news.source import RateLimitedError


def news(identity: str, title: str) -> News:
    return News(
        id=identity, title=title, source="s", published_at="2024-05-01T12:00:00Z", timestamp_ms=1_714_564_800_000
    )


def test_a_headline_is_new_once_by_id_and_by_title() -> None:
    seen = Seen()
    assert seen.add(news("a:1", "Bitcoin rallies"))
    assert not seen.add(news("a:1", "Something else"))
    assert not seen.add(news("b:9", "  BITCOIN  rallies! "))
    assert not seen.add(news("b:10", "RT @someone: “Bitcoin rallies” https://t.example/x"))
    assert seen.add(news("b:11", "Bitcoin rallies again"))


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
