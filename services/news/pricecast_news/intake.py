"""From one source to the topic: each headline once, at its time, and what can't be one to the dead letters."""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict

from pricecast_core import logs, metrics, services, topics
from pricecast_core.errors import BadMessageError, SettingsError, SourceError
from pricecast_core.messages import CLOCK_TOLERANCE_MS, News, encode
from pricecast_core.service import Stop
from pricecast_core.streaming import Publisher
from pricecast_news.seen import Seen
from pricecast_news.source import Refused, Source
from pricecast_news.web import RateLimitedError

SERVICE = services.NEWS.group
MAX_BACKOFF_SECONDS = 900.0
MAX_RETRY_AFTER_SECONDS = 3600.0
"""The longest that a source is left alone because it asks for it: a date of the year 9999 is no pause but a mistake."""
MAX_REMEMBERED_REFUSALS = 100_000
FEW_REFUSED = 5
_FEW_SHARE = 0.01
"""So many entries of an archive, or this share of a long one, may be no headlines before it is to be mended first."""
MAX_HELD = 10_000
"""Headlines that may wait for their time: more come from no honest clock."""
log = logs.get(__name__)


class Outlet:
    """Where the headlines of all sources go: the topic, each once, none before its time. Safe to use from several threads.

    Args:
        seen: What was published already.
        publisher: Writes to the topics.
    """

    def __init__(self, seen: Seen, publisher: Publisher) -> None:
        self._seen = seen
        self._publisher = publisher
        self._lock = threading.Lock()
        self._ahead: dict[str, tuple[News, str]] = {}
        self._refused: OrderedDict[int, None] = OrderedDict()
        self.published = 0

    @property
    def held(self) -> int:
        """How many headlines wait for their time."""
        return len(self._ahead)

    def put(self, news: News, source: str) -> None:
        """Publishes a headline if it is new, or holds it until the time that it is dated."""
        with self._lock:
            if news.timestamp_ms <= _latest_ms():
                self._publish(news, source)
                return
            if len(self._ahead) < MAX_HELD or news.id in self._ahead:
                self._ahead[news.id] = (news, source)
                return
        error = BadMessageError(
            f"published_at: {news.published_at} lies ahead, as {MAX_HELD} others do", "published_at"
        )
        self.refuse(Refused(error, source, value=encode(news)))

    def release(self) -> None:
        """Publishes what was held and whose time has come."""
        with self._lock:
            latest = _latest_ms()
            due = sorted(
                (item for item in self._ahead.values() if item[0].timestamp_ms <= latest),
                key=lambda item: (item[0].timestamp_ms, item[0].id),
            )
            for news, source in due:
                del self._ahead[news.id]
                self._publish(news, source)

    def refuse_held(self) -> None:
        """Puts what still waits for its time into the dead letters, as nothing will wait on."""
        with self._lock:
            held = list(self._ahead.values())
            self._ahead.clear()
        for news, source in held:
            error = BadMessageError(
                f"published_at: {news.published_at} still lay ahead when all was read; read it again after that time",
                "published_at",
            )
            self.refuse(Refused(error, source, value=encode(news)))

    def refuse(self, refused: Refused) -> None:
        """Puts what is no headline into the dead letters, once: a feed shows the same broken entry at every read."""
        key = hash((refused.origin, refused.value))
        with self._lock:
            if key in self._refused:
                return
            self._refused[key] = None
            if len(self._refused) > MAX_REMEMBERED_REFUSALS:
                self._refused.popitem(last=False)
        self._publisher.dead_letter(
            refused.error, source=refused.origin, position=refused.position, value=refused.value
        )

    def flush(self) -> None:
        """Waits until everything published is on the broker's disk."""
        self._publisher.flush()

    def _publish(self, news: News, source: str) -> None:
        self._ahead.pop(news.id, None)  # its publisher has corrected the date
        if not self._seen.add(news):
            metrics.NEWS_DUPLICATES.labels(source).inc()
            return
        self._publisher.publish(topics.NEWS, news.id, news)
        self.published += 1
        metrics.EVENT_TIME.labels(SERVICE, "news").set(news.timestamp_ms / 1000)


class Intake:
    """Reads one source again and again, or to its end.

    Args:
        source: Where headlines come from.
        outlet: Where they go.
        poll_seconds: Time between two reads.
    """

    def __init__(self, source: Source, outlet: Outlet, poll_seconds: float) -> None:
        self._source = source
        self._outlet = outlet
        self._poll_seconds = max(poll_seconds, source.least_seconds)
        self.problem: str | None = "nothing read yet"
        self.error: SettingsError | None = None
        """Why the source was given up for good."""
        self._read = self._refused = 0
        self._first_fault = ""

    @property
    def name(self) -> str:
        """Name of the source."""
        return self._source.name

    def run(self, stop: Stop) -> None:
        """Reads until the source ends, is given up, or the service is to stop."""
        failures = 0
        while not stop.is_set():
            try:
                self.read(stop)
            except SettingsError as error:
                log.error("the source is given up, a setting is wrong", source=self.name, error=str(error))
                self.problem, self.error = str(error), error
                return
            except SourceError as error:
                failures += 1
                wait = backoff(error, failures, self._poll_seconds)
                log.warning(
                    "the source can't be read, trying again",
                    source=self.name,
                    error=str(error),
                    seconds=round(wait, 1),
                )
            else:
                failures, wait = 0, self._poll_seconds
                if self._source.finite:
                    log.info("all read", source=self.name, refused=self._refused)
                    if self._refused > max(FEW_REFUSED, _FEW_SHARE * self._read):
                        self.error = SettingsError(
                            f"{self.name}: {self._refused:,} of {self._read:,} entries were refused (the first: "
                            f"{self._first_fault}); mend or remove what is no headline"
                        )
                    return
            stop.wait(wait)

    def read(self, stop: Stop) -> None:
        """Reads the source once and hands on what it gives.

        Raises:
            SourceError: If the source can't be read; what it gave before is handed on.
            SettingsError: If it never will be.
        """
        read = refused = 0
        try:
            for item in self._source.read():
                if stop.is_set():
                    return
                metrics.NEWS_READ.labels(self.name).inc()
                read += 1
                if isinstance(item, Refused):
                    refused += 1
                    self._first_fault = str(item.error) if refused == 1 else self._first_fault
                    self._outlet.refuse(item)
                else:
                    self._outlet.put(item, self.name)
        except SourceError as error:
            metrics.NEWS_SOURCE_ERRORS.labels(self.name).inc()
            self.problem = str(error)
            raise
        finally:
            self._outlet.flush()
        if read:  # an unchanged feed gives nothing, and is as it was
            self._read, self._refused = read, refused
        all_refused = self._read and self._refused == self._read
        self.problem = f"all {self._read} entries were refused: {self._first_fault}" if all_refused else None


def backoff(error: SourceError, failures: int, poll_seconds: float) -> float:
    """Returns how long to leave a failing source alone, in seconds.

    What the source asks for, up to an hour, else twice as long each time; with a tenth of chance added, so that many who were
    refused at once don't come back at once.
    """
    if isinstance(error, RateLimitedError) and error.retry_after is not None:
        wait = min(max(error.retry_after, 1.0), MAX_RETRY_AFTER_SECONDS)
    else:
        wait = min(poll_seconds * 2.0 ** min(failures - 1, 20), max(MAX_BACKOFF_SECONDS, poll_seconds))
    return wait * random.uniform(1.0, 1.1)  # noqa: S311 (no secret)


def _latest_ms() -> int:
    """Returns the latest time that every reader of the topic takes: clocks differ a little."""
    return int(time.time() * 1000) + CLOCK_TOLERANCE_MS
