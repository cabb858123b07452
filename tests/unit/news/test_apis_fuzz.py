"""Whatever the APIs of news answer: each entry is news or refused, or the answer as a whole is the source's fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricecast_core.errors import SettingsError, SourceError
from pricecast_core.messages import News
from pricecast_news.cryptopanic import CryptoPanic
from pricecast_news.gdelt import Gdelt
from pricecast_news.source import Refused
from tests.doubles.cryptopanic import CryptoPanicDouble, post
from tests.doubles.gdelt import GdeltDouble, article

fuzz = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        [
            "",
            "<b>",
            "&#xD800;",
            "\ud800",
            "\x00",
            "http://[",
            "http://a:b/",
            "https://a.example/1",
            "2024-06-04T10:00:00Z",
            "20240604T101500Z",
            "99999-01-01",
            "Tue, 04 Jun 2024 12:00:00 XYZ",
            "x" * 5_000,
        ]
    )
)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def changed(entry: dict[str, Any]) -> st.SearchStrategy[Any]:
    """An entry as the API gives it with up to three of its fields replaced or left out, or anything else."""
    some = st.dictionaries(st.sampled_from(sorted(entry)), _values, max_size=3)
    left_out = st.lists(st.sampled_from(sorted(entry)), max_size=2)
    return _values | st.builds(
        lambda new, gone: {key: value for key, value in (entry | new).items() if key not in gone}, some, left_out
    )


@pytest.fixture(scope="module")
def cryptopanic() -> Iterator[CryptoPanicDouble]:
    with CryptoPanicDouble() as double:
        yield double


@pytest.fixture(scope="module")
def gdelt() -> Iterator[GdeltDouble]:
    with GdeltDouble() as double:
        yield double


@fuzz
@given(st.lists(changed(post(1)), max_size=6), st.none() | _values)
def test_each_post_of_cryptopanic_is_news_or_refused(
    cryptopanic: CryptoPanicDouble, posts: list[Any], following: Any
) -> None:
    cryptopanic.bodies = [json.dumps({"results": posts, "next": following}).encode()]
    source = CryptoPanic(cryptopanic.url, cryptopanic.key, [], lambda _news: True)
    try:
        items = list(source.read())
    except SourceError:
        assert isinstance(following, str)  # an address that can't be followed
        return
    assert len(items) == len(posts)
    assert all(isinstance(item, News | Refused) for item in items)


@fuzz
@given(st.lists(changed(article(1, datetime.now(UTC) - timedelta(hours=3))), max_size=6))
def test_each_article_of_gdelt_is_news_or_refused(gdelt: GdeltDouble, articles: list[Any]) -> None:
    gdelt.answers = [(200, "application/json", json.dumps({"articles": articles}).encode())]
    items = list(Gdelt(gdelt.url, "bitcoin", lambda _seconds: False).read())
    distinct = {json.dumps(each.get("url") if isinstance(each, dict) else each, sort_keys=True) for each in articles}
    assert len(items) >= min(len(distinct), len(articles) and 1)
    assert all(isinstance(item, News | Refused) for item in items)


@fuzz
@given(st.binary(max_size=200) | _values.map(lambda value: json.dumps(value).encode()))
def test_any_answer_is_read_or_the_sources_fault(
    cryptopanic: CryptoPanicDouble, gdelt: GdeltDouble, body: bytes
) -> None:
    cryptopanic.bodies = [body]
    gdelt.answers = [(200, "text/html", body)]
    for source, faults in (
        (CryptoPanic(cryptopanic.url, cryptopanic.key, [], lambda _news: True), (SourceError,)),
        (Gdelt(gdelt.url, "bitcoin", lambda _seconds: False), (SourceError, SettingsError)),
    ):
        try:
            items = list(source.read())  # type: ignore[attr-defined]
        except faults:
            continue
        assert all(isinstance(item, News | Refused) for item in items)
