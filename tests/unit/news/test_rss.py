from __future__ import annotations

import html
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricecast_core.errors import SourceError
from pricecast_core.messages import News
from pricecast_news.rss import Feeds, default_feeds, entries
from pricecast_news.source import Refused
from tests.unit.news.conftest import Site

RSS = """<?xml version="1.0" encoding="utf-8"?>
<rss version="2.0"><channel><title>Coin Gazette</title><link>https://gazette.example</link>
<item><title>Ether &amp;amp; Bitcoin &lt;b&gt;rally&lt;/b&gt;</title><link>https://gazette.example/2</link>
<guid>tag:2</guid><pubDate>Wed, 01 May 2024 14:00:00 +0200</pubDate></item>
<item><title>Older</title><link>https://gazette.example/1</link><pubDate>Wed, 01 May 2024 08:00:00 GMT</pubDate></item>
<item><title>Undated</title><link>https://gazette.example/0</link></item>
</channel></rss>"""
ATOM = """<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>Chain Daily</title><id>urn:feed</id>
<entry><title>Solana ships</title><id>urn:1</id><link href="https://daily.example/1"/>
<updated>2024-05-01T09:00:00Z</updated></entry></feed>"""


def serve(site: Site, path: str, body: str, status: int = 200, **headers: str) -> str:
    site.pages[path] = (status, headers, body.encode())
    return site.url + path


def test_entries_of_rss_and_atom_come_oldest_first_in_utc(site: Site) -> None:
    feeds = Feeds([serve(site, "/rss", RSS), serve(site, "/atom", ATOM)])
    items = list(feeds.read())
    news = [item for item in items if isinstance(item, News)]
    assert [(item.title, item.published_at, item.source) for item in news] == [
        ("Older", "2024-05-01T08:00:00Z", "Coin Gazette"),
        ("Solana ships", "2024-05-01T09:00:00Z", "Chain Daily"),
        ("Ether & Bitcoin rally", "2024-05-01T12:00:00Z", "Coin Gazette"),
    ]
    assert news[2].id.endswith(":tag:2")


def test_an_undated_entry_is_refused(site: Site) -> None:
    refused = [item for item in Feeds([serve(site, "/rss", RSS)]).read() if isinstance(item, Refused)]
    assert len(refused) == 1
    assert "no date" in str(refused[0].error)


def test_an_unchanged_feed_is_not_sent_again(site: Site) -> None:
    feeds = Feeds([serve(site, "/rss", RSS, ETag='"1"')])
    assert list(feeds.read())
    assert not list(feeds.read())
    assert site.requests[1][1]["If-None-Match"] == '"1"'


def test_one_failing_feed_does_not_keep_the_others_from_being_read(site: Site) -> None:
    feeds = Feeds([serve(site, "/gone", "", 500), serve(site, "/atom", ATOM)])
    assert [item.title for item in feeds.read() if isinstance(item, News)] == ["Solana ships"]


def test_all_feeds_failing_is_an_error(site: Site) -> None:
    with pytest.raises(SourceError):
        list(Feeds([serve(site, "/gone", "", 500), "http://127.0.0.1:9/feed"]).read())


@pytest.mark.parametrize("body", ["", "<html><body>a login page</body></html>", '{"json": true}', "\x00\x01"])
def test_what_is_no_feed_gives_no_news(site: Site, body: str) -> None:
    feeds = Feeds([serve(site, "/x", body)])
    try:
        assert not list(feeds.read())
    except SourceError:
        return


def test_entities_that_grow_without_end_are_not_expanded(site: Site) -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9)
    )
    body = f"{bomb}]><rss><channel><title>&j;</title></channel></rss>"
    try:
        assert not list(Feeds([serve(site, "/bomb", body)]).read())
    except SourceError:
        return


def test_a_body_beyond_the_bound_is_refused(site: Site) -> None:
    with pytest.raises(SourceError, match="more than"):
        list(Feeds([serve(site, "/big", "x" * 10_000_001)]).read())


def item(title: str, date: str = "Tue, 04 Jun 2024 10:00:00 GMT", guid: str = "", link: str = "") -> str:
    return (
        f"<item><title>{html.escape(title)}</title><pubDate>{date}</pubDate>"
        + (f"<guid>{guid}</guid>" if guid else "")
        + (f"<link>{link}</link>" if link else "")
        + "</item>"
    )


def feed(*items: str) -> bytes:
    return f"<rss version='2.0'><channel><title>F</title>{''.join(items)}</channel></rss>".encode()


def read(*items: str, url: str = "https://a.example/feed") -> list[News | Refused]:
    return list(entries(feed(*items), {}, url))


def ids(*items: str, url: str = "https://a.example/feed") -> list[str]:
    return [each.id for each in read(*items, url=url) if isinstance(each, News)]


def test_two_feeds_that_count_alike_have_other_ids_and_a_story_that_both_carry_has_one() -> None:
    ours, theirs = "https://a.example/feed", "https://b.example/feed"
    assert not set(ids(item("A", guid="1"), item("B", guid="2"), url=ours)) & set(ids(item("C", guid="1"), url=theirs))
    story = item("D", guid="https://wire.example/story/7")
    assert ids(story, url=ours) == ids(story, url=theirs)


def test_an_id_that_a_feed_gives_to_every_entry_hides_none_of_them() -> None:
    entries_alike = [item(title, guid="https://a.example/") for title in ("A", "B", "C")]
    assert len(set(ids(*entries_alike))) == 3
    assert ids(*entries_alike) == ids(*entries_alike)


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("BTC falls <$60k while ETH holds >$3k", "BTC falls <$60k while ETH holds >$3k"),
        ("BTC falls &lt;$60k while ETH holds &gt;$3k", "BTC falls <$60k while ETH holds >$3k"),
        ("Fees < 1 sat, <BTC> > <ETH>", "Fees < 1 sat, <BTC> > <ETH>"),
        ("a<b and c>d", "a<b and c>d"),
        ("Why <em>Solana</em> &amp; co. <a href='x'>rally</a><br/>", "Why Solana & co. rally"),
        ("\U0001f680 $BTC <3", "\U0001f680 $BTC <3"),
        ('BTC <a title="up > 5%" href=\'/x?a=1&b="2"\'>rallies</a>', "BTC rallies"),
        ('<img alt="ETH > BTC" src="x.png"/>ETH <b>wins</b> <$4k>', "ETH wins <$4k>"),
        ('<iframe src="https://x.example/?a>b"></iframe>SOL <SOL> or <LINK>', "SOL <SOL> or <LINK>"),
        ("<a href=\"/x>Bitcoin's</a> day", "Bitcoin's day"),
        ("<![CDATA[Dogecoin & co.]]>", "Dogecoin & co."),
        ("AT&amp;amp;T&amp;#39;s bitcoin", "AT&T's bitcoin"),
    ],
)
def test_tags_are_removed_from_a_title_and_words_are_not(title: str, shown: str) -> None:
    (news,) = read(item(title))
    assert isinstance(news, News)
    assert news.title == shown


def test_a_title_is_read_up_to_a_bound_whatever_its_length() -> None:
    (long,) = read(item("Bitcoin" + "<b>" * 20_000 + "late"))
    assert isinstance(long, News)
    assert long.title == "Bitcoin"
    (marked,) = read(item(f'<a href="https://a.example/{"x" * 10_000}">Bitcoin</a> rallies'))
    assert isinstance(marked, News)
    assert marked.title == "Bitcoin rallies"


def test_a_zone_that_is_not_known_ends_in_the_dead_letters() -> None:
    known, unknown = read(item("A", "Tue, 04 Jun 2024 12:00:00 BRT"), item("B", "Tue, 04 Jun 2024 12:00:00 AMT"))
    assert isinstance(known, News)
    assert known.published_at == "2024-06-04T15:00:00Z"
    assert isinstance(unknown, Refused)
    assert unknown.error.reason == "unknown_zone"
    assert "AMT" in str(unknown.error)


@pytest.mark.parametrize(
    "date",
    [
        "2026년 11월 27일 15:00",
        "2026年6月4日 10:00",
        "2026\u201306\u201304T10:00Z",
        "2026-06-04 오후 10:00:00",
    ],
)
def test_a_date_that_can_not_be_read_whole_is_refused_and_not_guessed_too_early(date: str) -> None:
    (refused,) = read(item("A", date))
    assert isinstance(refused, Refused)
    assert refused.error.field == "published_at"
    assert date in str(refused.error)


def test_an_entry_dated_ahead_is_news_and_one_dated_days_ahead_is_refused() -> None:
    ahead = format_datetime(datetime.now(UTC) + timedelta(hours=2))
    far = format_datetime(datetime.now(UTC) + timedelta(days=3))
    soon, refused = read(item("A", ahead), item("B", far))
    assert isinstance(soon, News)
    assert isinstance(refused, Refused)
    assert "ahead" in str(refused.error)


def test_a_slow_feed_keeps_no_other_from_being_read(site: Site) -> None:
    urls = [serve(site, f"/{number}", feed(item(f"Story {number}")).decode()) for number in range(6)]
    site.together = threading.Barrier(6)
    assert len(list(Feeds(urls).read())) == 6


def test_the_list_of_default_feeds_names_each_once_by_a_secure_address() -> None:
    urls = [each.url for each in default_feeds()]
    assert len(set(urls)) == len(urls) >= 5
    assert all(url.startswith("https://") for url in urls)


_words = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    ["<b>", "]]>", "<![CDATA[", "&amp;lt;", "&#0;", "&#xD800;", "\x00", "<item>", "</channel>", "\ud800", "1", ""]
)
_dates = _words | st.sampled_from(
    ["Tue, 04 Jun 2024 12:00:00 XYZ", "Tue, 04 Jun 2024 12:00:00 +9999", "99999-01-01", "1 Jan 0001 00:00 +0100"]
)
_items = st.lists(st.tuples(_words, _dates, _words, _words), max_size=5)


@settings(max_examples=150, deadline=None)
@given(_items, st.sampled_from(["rss", "atom", "raw"]), st.sampled_from(["utf-8", "latin-1", "utf-16", "cp1251"]))
def test_whatever_a_feed_holds_each_entry_is_news_or_refused(
    found: list[tuple[str, str, str, str]], kind: str, encoding: str
) -> None:
    quote: Any = html.escape if kind != "raw" else str
    body = "".join(
        f"<item><title>{quote(title)}</title><pubDate>{quote(date)}</pubDate><guid>{quote(guid)}</guid>"
        f"<link>{quote(link)}</link></item>"
        for title, date, guid, link in found
    )
    document = f'<?xml version="1.0" encoding="{encoding}"?><rss version="2.0"><channel>{body}</channel></rss>'
    if kind == "atom":
        document = document.replace("<item>", "<entry>").replace("rss", "feed").replace("pubDate", "updated")
    try:
        items = list(entries(document.encode(encoding, "replace"), {}, "https://a.example/f"))
    except SourceError:
        return
    if kind == "rss" and encoding == "utf-8" and not any("\x00" in part for each in found for part in each):
        assert len(items) == len(found)
    assert all(isinstance(each, Refused) or each.title for each in items)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.dictionaries(st.just("Content-Type"), st.text(max_size=20)))
def test_any_bytes_are_a_feed_or_none_and_never_a_crash(body: bytes, headers: dict[str, str]) -> None:
    for document in (body, feed() + body, b"<rss><channel><item>" + body):
        try:
            list(entries(document, headers, "https://a.example/f"))
        except SourceError:
            continue
