from __future__ import annotations

import pytest

from pricecast_core.errors import SourceError
from pricecast_core.messages import News
from pricecast_news.rss import Feeds
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
    assert news[2].id == "rss:tag:2"


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
