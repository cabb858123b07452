"""The news service: reads a source again and again (or an archive once) and publishes what is new."""

from __future__ import annotations

import random
from collections.abc import Callable

from pricecast_core import logs, metrics, topics
from pricecast_core.errors import BadMessageError, SettingsError, SourceError
from pricecast_core.health import Health
from pricecast_core.messages import News, decode
from pricecast_core.service import Stop, run
from pricecast_core.settings import NewsSettings
from pricecast_core.streaming import Publisher, StreamError, tail
from pricecast_news.archive import Archive
from pricecast_news.cryptopanic import CryptoPanic
from pricecast_news.rss import Feeds
from pricecast_news.seen import LIMIT, Seen
from pricecast_news.source import RateLimitedError, Refused, Source

SERVICE = "news"
MAX_BACKOFF_SECONDS = 900.0
log = logs.get(__name__)


def main() -> None:
    """Runs the service."""
    run(SERVICE, NewsSettings, work)


def work(settings: NewsSettings, health: Health, stop: Stop) -> None:
    """Publishes headlines until the archive ends or the process is asked to stop."""
    seen = Seen()
    source = open_source(settings, seen.is_new)
    publisher = Publisher(SERVICE, settings, [topics.NEWS], health, stop)
    feed = Feed(source, seen, publisher)
    health.ready("source", lambda: feed.problem)
    health.info("source", lambda: source.name)
    health.info("published", lambda: feed.published)
    try:
        _recall(settings, seen, stop)
        failures = 0
        while not stop.is_set():
            try:
                feed.read(stop)
            except SourceError as error:
                failures += 1
                wait = backoff(error, failures, settings.poll_seconds)
                log.warning("the source can't be read, trying again", error=str(error), seconds=round(wait, 1))
            else:
                failures, wait = 0, settings.poll_seconds
                if source.finite:
                    log.info("all read", published=feed.published)
                    return
            stop.wait(wait)
    finally:
        publisher.close()


def open_source(settings: NewsSettings, is_new: Callable[[News], bool]) -> Source:
    """Returns the source that the settings name.

    Raises:
        SettingsError: If what the source needs is not set.
    """
    if settings.source == "cryptopanic":
        if settings.cryptopanic_api_key is None:
            raise SettingsError("CRYPTOPANIC_API_KEY: is not set; CryptoPanic needs one, RSS feeds need none")
        key = settings.cryptopanic_api_key.get_secret_value()
        return CryptoPanic(settings.cryptopanic_url, key, settings.coins, is_new)
    if settings.source == "rss":
        if not settings.rss_urls:
            raise SettingsError("RSS_URLS: is empty; give at least one address of a feed")
        return Feeds(settings.rss_urls)
    if not settings.archive:
        raise SettingsError("ARCHIVE: is not set; give a file or an address of headlines")
    return Archive(settings.archive, settings.archive_max_bytes)


def backoff(error: SourceError, failures: int, poll_seconds: float) -> float:
    """Returns how long to leave a failing source alone, in seconds.

    What the source asks for, else twice as long each time; with a tenth of chance added, so that many who were
    refused at once don't come back at once.
    """
    if isinstance(error, RateLimitedError) and error.retry_after is not None:
        wait = max(error.retry_after, 1.0)
    else:
        wait = min(poll_seconds * 2.0 ** min(failures - 1, 20), max(MAX_BACKOFF_SECONDS, poll_seconds))
    return wait * random.uniform(1.0, 1.1)  # noqa: S311 (no secret)


class Feed:
    """From a source to the topic, each headline once.

    Args:
        source: Where headlines come from.
        seen: What was published already.
        publisher: Writes to the topics.
    """

    def __init__(self, source: Source, seen: Seen, publisher: Publisher) -> None:
        self._source = source
        self._seen = seen
        self._publisher = publisher
        self._refused: set[int] = set()
        self.published = 0
        self.problem: str | None = "nothing read yet"

    def read(self, stop: Stop) -> None:
        """Reads the source once and publishes what is new.

        Raises:
            SourceError: If the source can't be read; what it gave before is published.
        """
        try:
            for item in self._source.read():
                if stop.is_set():
                    return
                metrics.NEWS_READ.labels(self._source.name).inc()
                self._refuse(item) if isinstance(item, Refused) else self._publish(item)
        except SourceError as error:
            metrics.NEWS_SOURCE_ERRORS.labels(self._source.name).inc()
            self.problem = str(error)
            raise
        finally:
            self._publisher.flush()
        self.problem = None

    def _publish(self, news: News) -> None:
        if not self._seen.add(news):
            metrics.NEWS_DUPLICATES.labels(self._source.name).inc()
            return
        self._publisher.publish(topics.NEWS, news.id, news)
        self.published += 1
        metrics.EVENT_TIME.labels(SERVICE, "news").set(news.timestamp_ms / 1000)

    def _refuse(self, refused: Refused) -> None:
        key = hash((refused.origin, refused.value))
        if key not in self._refused:  # a feed shows the same broken entry at every poll
            self._refused.add(key)
            self._publisher.dead_letter(
                refused.error, source=refused.origin, position=refused.position, value=refused.value
            )


def _recall(settings: NewsSettings, seen: Seen, stop: Stop) -> None:
    topic = topics.topic_name(settings.pipeline, topics.NEWS)
    while not stop.is_set():
        try:
            values = tail(settings.kafka_brokers, topic, LIMIT)
        except StreamError as error:
            log.warning("can't read what was published before, trying again", error=str(error))
            stop.wait(1.0)
            continue
        for value in values:
            try:
                seen.add(decode(News, value))
            except BadMessageError:
                log.warning("an unreadable message in the news topic, passed over")
        log.info("knows what was published before", headlines=len(seen))
        return
