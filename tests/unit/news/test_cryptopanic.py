from __future__ import annotations

from collections.abc import Iterator

import pytest

from pricecast_core.errors import SettingsError, SourceError
from pricecast_core.messages import News
from pricecast_news.cryptopanic import CryptoPanic
from pricecast_news.seen import Seen
from pricecast_news.source import Refused
from pricecast_news.web import RateLimitedError
from tests.doubles.cryptopanic import CryptoPanicDouble, post


@pytest.fixture
def api() -> Iterator[CryptoPanicDouble]:
    with CryptoPanicDouble() as double:
        yield double


def source(api: CryptoPanicDouble, seen: Seen | None = None, key: str = CryptoPanicDouble.key) -> CryptoPanic:
    return CryptoPanic(api.url, key, ["BTC", "ETH"], (seen or Seen()).is_new)


def test_posts_come_oldest_first_with_publisher_and_time(api: CryptoPanicDouble) -> None:
    api.posts = [post(1, "First"), post(2, "Second &amp; <b>last</b>", "2024-05-01T14:00:00+02:00")]
    first, second = source(api).read()
    assert first == News(
        id="cryptopanic:1",
        title="First",
        source="news.example",
        url="https://news.example/1",
        published_at="2024-05-01T12:00:00Z",
        timestamp_ms=1_714_564_800_000,
    )
    assert isinstance(second, News)
    assert (second.title, second.published_at) == ("Second & last", "2024-05-01T12:00:00Z")


def test_only_news_of_the_coins_is_asked_for(api: CryptoPanicDouble) -> None:
    list(source(api).read())
    assert api.requests[0]["currencies"] == ["BTC,ETH"]


def test_pages_are_followed_until_one_holds_nothing_new(api: CryptoPanicDouble) -> None:
    api.posts = [post(number) for number in range(100)]
    seen = Seen()
    news = list(source(api, seen).read())
    assert [item.id for item in news if isinstance(item, News)] == [f"cryptopanic:{number}" for number in range(100)]
    assert len(api.requests) == 5
    seen.update(item for item in news if isinstance(item, News))
    api.posts += [post(100)]
    assert len(list(source(api, seen).read())) == 40  # one page with the new one, one without
    assert len(api.requests) == 7


def test_a_page_of_unusable_posts_hides_none_of_the_pages_behind_it(api: CryptoPanicDouble) -> None:
    api.posts = [post(number) for number in range(20)] + [post(number) | {"title": ""} for number in range(20, 40)]
    items = list(source(api).read())
    assert sum(isinstance(item, News) for item in items) == 20
    assert sum(isinstance(item, Refused) for item in items) == 20


def test_an_api_whose_posts_are_all_unusable_is_not_asked_for_page_after_page(api: CryptoPanicDouble) -> None:
    api.posts = [post(number) | {"title": ""} for number in range(200)]
    assert len(list(source(api).read())) == 60


def test_a_pause_that_is_asked_for_is_told(api: CryptoPanicDouble) -> None:
    api.failures = [(429, {"Retry-After": "17"})]
    with pytest.raises(RateLimitedError) as caught:
        list(source(api).read())
    assert caught.value.retry_after == 17
    assert CryptoPanicDouble.key not in str(caught.value)


def test_a_refused_key_is_a_wrong_setting(api: CryptoPanicDouble) -> None:
    with pytest.raises(SettingsError, match="cryptopanic_api_key") as caught:
        list(source(api, key="wrong").read())
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("body", [b"<html>Access denied</html>", b"", b"null", b"[" * 100_000, b"\xff"])
def test_a_proxy_that_refuses_is_no_wrong_setting(api: CryptoPanicDouble, body: bytes) -> None:
    api.failures, api.bodies = [(403, {})], [body]
    with pytest.raises(SourceError, match=r"403.*proxy"):
        list(source(api).read())
    api.failures = [(403, {})]  # the API's own words
    with pytest.raises(SettingsError, match="cryptopanic_api_key"):
        list(source(api).read())


def test_the_key_is_not_sent_to_another_host(api: CryptoPanicDouble) -> None:
    api.posts = [post(number) for number in range(30)]
    api.next_host = "http://evil.example"
    with pytest.raises(SourceError, match=r"evil\.example"):
        list(source(api).read())


@pytest.mark.parametrize(
    "bad",
    [
        {"published_at": "yesterday"},
        {"published_at": "2099-01-01T00:00:00Z"},
        {"published_at": "1999-01-01T00:00:00Z"},
        {"title": ""},
        {"title": None},
        {"title": 5},
    ],
)
def test_a_bad_post_is_refused_and_the_others_are_read(api: CryptoPanicDouble, bad: dict[str, object]) -> None:
    api.posts = [post(1), post(2) | bad, post(3)]
    first, refused, last = source(api).read()
    assert isinstance(first, News)
    assert isinstance(last, News)
    assert isinstance(refused, Refused)
    assert b'"id":2' in refused.value.replace(b" ", b"")


def test_a_post_without_id_is_known_by_its_words(api: CryptoPanicDouble) -> None:
    api.posts = [post(1, "Some News!") | {"id": None}]
    (first,) = source(api).read()
    api.posts = [post(1, "some news") | {"id": None}]
    (second,) = source(api).read()
    assert isinstance(first, News)
    assert isinstance(second, News)
    assert first.id == second.id


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/free/v1", 404, "free API was closed"),
        ("/api/v1", 403, "v1 API was closed"),
        ("/api/free/v2", 404, "free"),
    ],
)
def test_an_api_that_was_closed_is_named_with_the_way_out(
    api: CryptoPanicDouble, path: str, status: int, words: str
) -> None:
    api.failures = [(status, {})]
    closed = CryptoPanic(api.url.replace("/api/developer/v2", path), api.key, [], Seen().is_new)
    with pytest.raises(SettingsError, match=words) as caught:
        list(closed.read())
    assert "https://cryptopanic.com/api/<plan>/v2" in str(caught.value)
    assert api.key not in str(caught.value)


@pytest.mark.parametrize("status", [400, 404, 500, 502])
def test_a_failing_server_is_a_source_error(api: CryptoPanicDouble, status: int) -> None:
    api.failures = [(status, {})]
    with pytest.raises(SourceError, match=str(status)):
        list(source(api).read())
