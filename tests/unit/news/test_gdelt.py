from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from pricecast_core.errors import SettingsError, SourceError
from pricecast_core.messages import News
from pricecast_news.gdelt import Gdelt
from pricecast_news.source import Refused
from pricecast_news.web import RateLimitedError
from tests.doubles.gdelt import GdeltDouble, article

QUERY = "(bitcoin OR ethereum) sourcelang:english"
RECENTLY = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)


@pytest.fixture
def api() -> Iterator[GdeltDouble]:
    with GdeltDouble() as double:
        yield double


def source(api: GdeltDouble) -> Gdelt:
    return Gdelt(api.url, QUERY, lambda _seconds: False)


def read(gdelt: Gdelt) -> list[News]:
    return [item for item in gdelt.read() if isinstance(item, News)]


def test_articles_are_dated_by_when_gdelt_saw_them_oldest_first(api: GdeltDouble) -> None:
    api.articles = [article(2, RECENTLY, "Ether &amp; more"), article(1, RECENTLY - timedelta(minutes=15))]
    first, second = read(source(api))
    assert (first.title, second.title) == ("Bitcoin headline number 1", "Ether & more")
    assert second.timestamp_ms == int(RECENTLY.timestamp() * 1000)
    assert (second.source, second.url) == ("paper.example", "https://paper.example/2")
    assert first.id != second.id
    assert api.requests[0]["query"] == QUERY


def test_the_next_read_asks_for_the_time_since(api: GdeltDouble) -> None:
    gdelt = source(api)
    assert not read(gdelt)
    assert not read(gdelt)
    first, second = (request["startdatetime"] for request in api.requests)
    assert second > first


def test_a_day_of_more_articles_than_one_page_holds_is_read_whole(api: GdeltDouble) -> None:
    api.articles = [article(number, RECENTLY - timedelta(seconds=30 * number)) for number in range(600)]
    assert len(read(source(api))) == 600


def test_what_is_too_much_for_one_read_is_read_by_the_next(
    api: GdeltDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    api.articles = [article(number, RECENTLY - timedelta(seconds=10 * number)) for number in range(7_000)]
    gdelt = source(api)
    first = {news.id for news in read(gdelt)}
    assert 4_900 < len(first) < 7_000
    assert "more articles than one read takes" in "".join(capsys.readouterr())
    assert len(first | {news.id for news in read(gdelt)}) == 7_000


def test_more_articles_of_one_moment_than_one_page_holds_hide_none_after_it(api: GdeltDouble) -> None:
    api.articles = [article(number, RECENTLY) for number in range(300)]
    api.articles += [article(300 + number, RECENTLY + timedelta(minutes=15)) for number in range(5)]
    assert len(read(source(api))) == 255


def test_stray_backslashes_and_control_characters_are_read(api: GdeltDouble) -> None:
    seen = f"{RECENTLY:%Y%m%dT%H%M%SZ}"
    body = rf'{{"articles": [{{"url": "https://a.example/1", "title": "Bitcoin \$60k \Up{chr(9)}", "seendate": "{seen}"}}]}}'
    api.answers = [(200, "application/json", body.encode())]
    (news,) = read(source(api))
    assert news.title == r"Bitcoin \$60k \Up"


@pytest.mark.parametrize("bad", [{"title": ""}, {"seendate": "soon"}, {"title": None}, {"url": 5}])
def test_a_bad_article_is_refused_and_the_others_are_read(api: GdeltDouble, bad: dict[str, object]) -> None:
    api.articles = [article(1, RECENTLY), article(2, RECENTLY)]
    api.answers = []
    broken = article(3, RECENTLY)
    api.articles.append(broken)
    whole = api.answer

    def answer(query: dict[str, str]) -> tuple[int, str, bytes]:
        import json

        status, kind, body = whole(query)
        articles = json.loads(body)["articles"]
        for each in articles:
            if each["url"] == "https://paper.example/3":
                each.update(bad)
        return status, kind, json.dumps({"articles": articles}).encode()

    api.answer = answer  # type: ignore[method-assign]
    items = list(source(api).read())
    assert [type(item) for item in items].count(News) == 2
    assert [type(item) for item in items].count(Refused) == 1


@pytest.mark.parametrize(
    "said",
    [
        "One or more of your keywords were too short, too long or too common.",
        "The specified phrase is too short.",
        "Your query was too short or too long.",
        "Queries containing OR'd terms must be surrounded by ().",
        "Parentheses may only be used around OR'd statements.",
    ],
)
def test_a_query_that_gdelt_does_not_take_is_a_wrong_setting_in_its_words(api: GdeltDouble, said: str) -> None:
    api.answers = [(200, "text/html", f"{said}\n".encode())]
    with pytest.raises(SettingsError, match="gdelt_query") as caught:
        read(source(api))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        "Your query timed out. Please try again in a few minutes.",
        "The search backend is temporarily unavailable, please try again",
        "Error: search cluster overloaded",
        "Timespan is too short.",
    ],
)
def test_what_passes_is_no_fault_of_the_query(api: GdeltDouble, said: str) -> None:
    api.answers = [(200, "text/html", said.encode())]
    with pytest.raises(SourceError) as caught:
        read(source(api))
    assert said in str(caught.value)


def test_a_pause_that_is_asked_for_is_told(api: GdeltDouble) -> None:
    api.answers = [(429, "text/html", b"Please limit requests to one every 5 seconds")]
    with pytest.raises(RateLimitedError):
        read(source(api))


@pytest.mark.parametrize("body", [b"", b"[]", b'{"articles": 5}', b"<html>maintenance</html>", b"\xff\xfe"])
def test_what_is_no_list_of_articles_is_a_source_error(api: GdeltDouble, body: bytes) -> None:
    api.answers = [(200, "text/html", body)]
    with pytest.raises(SourceError):
        read(source(api))
