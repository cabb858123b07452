"""The news service: reads its sources, each in a thread of its own, and publishes what is new."""

from __future__ import annotations

import threading

from pricecast_core import logs, topics
from pricecast_core.errors import BadMessageError, SettingsError
from pricecast_core.health import Health
from pricecast_core.messages import News, decode
from pricecast_core.service import Stop, run
from pricecast_core.settings import NewsSettings
from pricecast_core.streaming import Publisher, StreamError, tail
from pricecast_news.intake import SERVICE, Intake, Outlet
from pricecast_news.registry import open_sources
from pricecast_news.rss import Feeds
from pricecast_news.seen import LIMIT, Seen
from pricecast_news.source import Surroundings

TICK_SECONDS = 0.5
"""How often headlines that wait for their time, and threads that ended, are looked at."""
log = logs.get(__name__)


def main() -> None:
    """Runs the service."""
    run(SERVICE, NewsSettings, work)


def work(settings: NewsSettings, health: Health, stop: Stop) -> None:
    """Publishes headlines until all archives end or the process is asked to stop.

    Raises:
        SettingsError: If none of the sources can ever be read; one that can goes on without the others.
    """
    seen = Seen()
    sources = open_sources(settings, Surroundings(is_new=seen.is_new, wait=stop.wait))
    publisher = Publisher(SERVICE, settings, [topics.NEWS], health, stop)
    outlet = Outlet(seen, publisher)
    intakes = [Intake(source, outlet, settings.poll_seconds) for source in sources]
    health.ready("source", lambda: _problem(intakes))
    health.info("source", lambda: [intake.name for intake in intakes])
    health.info("published", lambda: outlet.published)
    health.info("held", lambda: outlet.held)
    feeds = [source for source in sources if isinstance(source, Feeds)]
    health.info("failing feeds", lambda: [problem for each in feeds for problem in each.problems.values()])
    try:
        _recall(settings, seen, stop)
        _run_all(intakes, outlet, stop)
        log.info("done", published=outlet.published)
    finally:
        publisher.close()


def _run_all(intakes: list[Intake], outlet: Outlet, stop: Stop) -> None:
    """Runs all intakes until the last one ends."""
    crashed: list[BaseException] = []
    threads = [
        threading.Thread(target=_guarded, args=(intake, stop, crashed), name=intake.name, daemon=True)
        for intake in intakes
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and not crashed and not stop.is_set():
        outlet.release()
        stop.wait(TICK_SECONDS)
    outlet.release()
    for error in crashed:
        raise error
    if not stop.is_set():
        outlet.refuse_held()
    given_up = [intake.error for intake in intakes if intake.error is not None]
    if given_up and not stop.is_set():
        raise SettingsError("; ".join(map(str, given_up)))


def _guarded(intake: Intake, stop: Stop, crashed: list[BaseException]) -> None:
    try:
        intake.run(stop)
    except BaseException as error:
        crashed.append(error)


def _problem(intakes: list[Intake]) -> str | None:
    """Returns what is wrong with the sources, each by name where there are several."""
    problems = {intake.name: intake.problem for intake in intakes if intake.problem is not None}
    if len(intakes) == 1:
        return next(iter(problems.values()), None)
    return "; ".join(f"{name}: {problem}" for name, problem in problems.items()) or None


def _recall(settings: NewsSettings, seen: Seen, stop: Stop) -> None:
    topic = topics.topic_name(settings.pipeline, topics.NEWS)
    while not stop.is_set():
        try:
            values = tail(settings.kafka, topic, LIMIT)
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
