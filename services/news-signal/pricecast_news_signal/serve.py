"""The stream: headlines in, signals out, nothing lost while the model is away.

The model is slow and the broker impatient, so headlines are read on an event loop of its own thread while this one
keeps its place in the consumer group. Offsets are committed once the signals of a batch are on the broker: a crash
reads a few headlines again, from the cache, and gives the same signals.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from pricecast_core import logs, metrics, services, topics
from pricecast_core.errors import BadMessageError
from pricecast_core.health import Health
from pricecast_core.messages import News, NewsSignal, encode
from pricecast_core.news.prompt import Answer
from pricecast_core.service import Stop
from pricecast_core.settings import NewsSignalSettings
from pricecast_core.streaming import Follower, Publisher
from pricecast_news_signal.cache import AnswerCache
from pricecast_news_signal.extractor import UnavailableError
from pricecast_news_signal.reader import Reader, Result
from pricecast_news_signal.registry import open_extractor

SERVICE = services.NEWS_SIGNAL.group
PATIENCE_SECONDS = 20.0
"""After so long without the model's answer the consumer shows the broker that it is alive."""
MAX_BACKOFF_SECONDS = 30.0
T = TypeVar("T")
log = logs.get(__name__)


def signals(news: News, answer: Answer, model: str) -> list[NewsSignal]:
    """Returns the messages that say what a headline means, one per coin."""
    return [
        NewsSignal(
            coin=item.coin,
            signal=item.signal,
            model_name=model,
            news_id=news.id,
            timestamp_ms=news.timestamp_ms,
            reasoning=item.reasoning,
            title=news.title,
            url=news.url,
        )
        for item in answer.news_signals
    ]


def work(settings: NewsSignalSettings, health: Health, stop: Stop) -> None:
    """Reads headlines until asked to stop."""
    extractor = open_extractor(settings)
    cache = AnswerCache(settings.cache_url.get_secret_value(), settings.model, settings.coins)
    reader = Reader(
        extractor,
        model=settings.model,
        concurrency=settings.concurrency,
        attempts=settings.attempts,
        cache=cache if extractor.cacheable else None,
    )
    publisher = Publisher(SERVICE, settings, [topics.NEWS, topics.NEWS_SIGNALS], health, stop)
    follower: Follower[News] = Follower(SERVICE, settings, topics.NEWS, health=health, stop=stop, publisher=publisher)
    service = Service(settings, reader, follower, publisher, stop)
    health.ready("model", lambda: service.problem or reader.problem)
    health.info("model", lambda: settings.model)
    try:
        with EventLoop() as loop:
            service.run(loop)
            loop.submit(reader.close()).result(timeout=5)
    finally:
        follower.close()
        publisher.close()


class EventLoop:
    """An asyncio loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="model", daemon=True)

    def __enter__(self) -> EventLoop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Starts a coroutine and returns its future."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)


class Service:
    """The loop from headlines to signals.

    Args:
        settings: The service's settings.
        reader: Reads headlines.
        follower: Gives them.
        publisher: Takes the signals.
        stop: Ends the loop.
    """

    def __init__(
        self,
        settings: NewsSignalSettings,
        reader: Reader,
        follower: Follower[News],
        publisher: Publisher,
        stop: Stop,
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._follower = follower
        self._publisher = publisher
        self._stop = stop
        self._wake = threading.Event()
        stop.call(self._wake.set)
        self._failures = 0
        self.problem: str | None = None

    def run(self, loop: EventLoop) -> None:
        """Handles headlines until asked to stop."""
        waiting: list[News] = []
        job: Future[list[Result]] | None = None
        for batch in self._follower.batches(self._settings.batch_size):
            waiting += batch
            if not waiting:
                continue
            if job is None:
                job = loop.submit(self._reader.read([news.title for news in waiting]))
            if not self._await(job):
                self._follower.hold("the model is still reading")
                continue
            try:
                results = job.result()
            except UnavailableError as error:
                self._pause(error)
            else:
                # a partition that came meanwhile may have brought more headlines than were asked about
                self._publish(zip(waiting, results, strict=False))
                waiting = waiting[len(results) :]
                self._resume(committable=not waiting)
            job = None
        if job is not None:
            job.cancel()

    def _await(self, job: Future[list[Result]]) -> bool:
        """Waits a while for the answers; returns whether they are there."""
        self._wake.clear()
        job.add_done_callback(lambda _: self._wake.set())
        if not self._stop.is_set():
            self._wake.wait(PATIENCE_SECONDS)
        return job.done()

    def _publish(self, results: Iterable[tuple[News, Result]]) -> None:
        for news, result in results:
            if isinstance(result, BadMessageError):
                self._publisher.dead_letter(
                    result, source=topics.topic_name(self._settings.pipeline, topics.NEWS), value=encode(news)
                )
                continue
            for signal in signals(news, result, self._settings.model):
                self._publisher.publish(topics.NEWS_SIGNALS, signal.coin, signal)
            metrics.EVENT_TIME.labels(SERVICE, "news").set(news.timestamp_ms / 1000)
        self._publisher.flush()

    def _pause(self, error: UnavailableError) -> None:
        self._failures += 1
        if self.problem is None:
            log.warning("the model is away, the news waits", error=str(error))
        self.problem = str(error)
        self._follower.hold(str(error))
        self._stop.wait(min(MAX_BACKOFF_SECONDS, error.retry_after or 0.5 * 2.0 ** min(self._failures, 10)))

    def _resume(self, *, committable: bool) -> None:
        if self.problem is not None:
            log.info("the model is back")
        self._failures, self.problem = 0, None
        if committable:
            self._follower.commit()
            self._follower.hold(None)
