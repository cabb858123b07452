"""The trades service: one source of one market into the topics, every batch a transaction."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing

from pricecast_core import logs, metrics, services
from pricecast_core.dead_letters import dead_letter
from pricecast_core.health import Health
from pricecast_core.messages import Candle, Clock, Trade
from pricecast_core.service import Stop, run
from pricecast_core.settings import TradesSettings
from pricecast_core.streaming import FencedError, Record, StreamError, TransactionalPublisher, ensure_topics
from pricecast_core.topics import CANDLES, DEAD_LETTERS, TRADES
from pricecast_trades.source import Item, Source
from pricecast_trades.sources import open_source
from pricecast_trades.written import TopicEnds

SERVICE = services.TRADES.group
_RESTART_SECONDS = 1.0
log = logs.get(__name__)


class Service:
    """Moves what a source gives into the topics, and goes on from the topics' end whenever the broker breaks off.

    Args:
        settings: Of the service.
        source: The market.
        health: Learns whether the broker and the source work.
        stop: Ends it.
    """

    def __init__(self, settings: TradesSettings, source: Source, health: Health, stop: Stop) -> None:
        self._settings = settings
        self._source = source
        self._stop = stop
        self._problem: str | None = "not connected yet"
        self._counts = {"trades": 0, "candles": 0, "refused": 0}
        self._event_time = {pair: metrics.EVENT_TIME.labels(SERVICE, pair) for pair in settings.pairs}
        health.ready("broker", lambda: self._problem)
        health.ready("source", source.ready)
        health.alive("source", source.alive)
        health.info("written", lambda: dict(self._counts))

    def run(self) -> None:
        """Runs until the source ends or the process is to stop.

        Raises:
            FencedError: If another process has taken over.
            PricecastError: What the source raises.
        """
        while not self._stop.is_set():
            try:
                self._session()
            except FencedError:
                raise
            except StreamError as error:
                self._problem = str(error)
                log.warning("broke off, resuming from the topics' end", error=str(error))
                self._stop.wait(_RESTART_SECONDS)
            else:
                break
        log.info("stopped" if self._stop.is_set() else "finished", **self._counts)

    def _session(self) -> None:
        settings = self._settings
        ensure_topics(settings.kafka, settings.pipeline, (TRADES, CANDLES, DEAD_LETTERS))
        publisher = TransactionalPublisher(SERVICE, settings, self._stop, self._waiting)
        with closing(self._batches()) as batches:
            for batch in batches:
                publisher.write(self._records(batch))
                self._note(batch)

    def _batches(self) -> Generator[Sequence[Item], None, None]:
        yield from self._source.batches(TopicEnds(SERVICE, self._settings))

    def _waiting(self, problem: str | None) -> None:
        self._problem = problem

    def _records(self, batch: Sequence[Item]) -> Iterable[Record]:
        for item in batch:
            if isinstance(item, Trade | Clock):
                yield TRADES, item.pair, item
            elif isinstance(item, Candle):
                yield CANDLES, item.pair, item
            else:
                letter = dead_letter(SERVICE, item.error, topic=item.origin, offset=item.position, value=item.value)
                yield DEAD_LETTERS, SERVICE, letter

    def _note(self, batch: Sequence[Item]) -> None:
        newest: dict[str, int] = {}
        counts = self._counts
        for item in batch:
            if isinstance(item, Trade):
                counts["trades"] += 1
                newest[item.pair] = item.timestamp_ms
            elif isinstance(item, Clock):
                newest[item.pair] = item.timestamp_ms
            elif isinstance(item, Candle):
                counts["candles"] += 1
                newest[item.pair] = item.window_end_ms
            else:
                counts["refused"] += 1
        for pair, time_ms in newest.items():
            self._event_time[pair].set(time_ms / 1000)


def work(settings: TradesSettings, health: Health, stop: Stop) -> None:
    """Opens the source of the settings and moves its trades until it ends."""
    Service(settings, open_source(settings, stop), health, stop).run()


def main() -> None:
    """Entry point of `pricecast-trades`."""
    run(SERVICE, TradesSettings, work)
