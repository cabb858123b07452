"""An exchange: the past by REST, then what happens by WebSocket, without a gap or a duplicate where they meet.

Where an exchange numbers the trades of a pair one by one, a number that leaps, after a reconnect or in the middle of a
connection, is a gap that REST fills before anything else of the pair is given on; and one that comes again is dropped.
What can't be filled is counted and said.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from pricecast_core import logs, metrics
from pricecast_core.messages import Clock, Trade
from pricecast_core.service import Stop
from pricecast_core.settings import TradesSettings
from pricecast_trades import times
from pricecast_trades.clock import Clocks, Lag
from pricecast_trades.errors import StoppedError
from pricecast_trades.exchange import Exchange, Page
from pricecast_trades.feed import Beat, Event, Failed, Feed, Joined, Update
from pricecast_trades.seam import Seam
from pricecast_trades.source import BATCH, Item, Refused, Written

_FILL_ATTEMPTS = 8
_FIRST_FILL_PAUSE_SECONDS = 0.2
_LONGEST_FILL_PAUSE_SECONDS = 5.0
_IDLE_SECONDS = 1.0
_TELL_SECONDS = 30.0
_REMEMBERED_REFUSALS = 1_000
log = logs.get(__name__)


class ExchangeSource:
    """Trades of several pairs.

    Args:
        settings: Pairs, mode, `since` and `until`.
        exchange: The exchange.
        stop: Ends it.
        clock: Seconds since the Unix epoch.

    Raises:
        SettingsError: If `since` or `until` can't be.
    """

    def __init__(
        self, settings: TradesSettings, exchange: Exchange, stop: Stop, clock: Callable[[], float] = time.time
    ) -> None:
        now_ms = int(clock() * 1000)
        self._settings = settings
        self._exchange = exchange
        self._stop = stop
        self._live = settings.mode != "Historical"
        self._since_ms = now_ms if settings.mode == "Live" else times.parse("since", settings.since, now_ms)
        self._until_ms = None if self._live else times.parse("until", settings.until, now_ms)
        self._feed = exchange.feed() if self._live else None
        self._phase: Feed | None = None
        self._started = False
        self._seams: dict[str, Seam] = {}
        self._unproven: set[str] = set()
        self._refused: deque[bytes] = deque(maxlen=_REMEMBERED_REFUSALS)
        self._given_up: dict[str, int] = {}
        self._lag = Lag()
        self._clocks = Clocks(settings.candle_seconds, settings.grace_seconds)
        self._told_missing: set[str] = set()
        self._duplicates = {pair: metrics.TRADES_DUPLICATES.labels(pair) for pair in settings.pairs}

    def ready(self) -> str | None:
        """Returns why trades don't flow now, or None."""
        if self._exchange.rest.problem is not None:
            return self._exchange.rest.problem
        if self._phase is not None:
            return self._phase.problem()
        return None if self._started else "not connected yet"

    def alive(self) -> str | None:
        """Returns why the process should be restarted, or None."""
        return self._phase.stuck() if self._phase is not None else None

    def batches(self, written: Written) -> Iterator[Sequence[Item]]:
        """Yields the trades that come after those written."""
        last = written.last_trades()
        for pair in last:
            self._exchange.knows(pair)
        self._refused.clear()
        self._unproven.clear()
        self._seams = {pair: Seam(self._since_ms, last.get(pair, ())) for pair in self._settings.pairs}
        for trades in last.values():
            self._clocks.note(trades)
        try:
            if self._settings.mode != "Live":
                yield from self._past()
            if self._feed is not None:
                yield from self._present(self._feed)
        except StoppedError:
            return

    def _past(self) -> Iterator[Sequence[Item]]:
        """Yields the trades up to now or `until`, the pair that is furthest behind first."""
        behind = dict.fromkeys(self._settings.pairs, 0)
        told = -_TELL_SECONDS
        while behind:
            if time.monotonic() - told > _TELL_SECONDS:
                told = time.monotonic()
                reached = {name: datetime.fromtimestamp(self._seams[name].last_ms / 1000, UTC) for name in behind}
                log.info("reading the past", reached={name: f"{at:%Y-%m-%dT%H:%M:%SZ}" for name, at in reached.items()})
            pair = min(behind, key=lambda name: self._seams[name].last_ms)
            page = self._page(pair, behind[pair])
            behind[pair] = page.cursor
            items = self._new(pair, page.items)
            if self._until_ms is not None:
                items = [item for item in items if not isinstance(item, Trade) or item.timestamp_ms < self._until_ms]
            if items:
                yield items
            if not page.full or (self._until_ms is not None and self._seams[pair].last_ms >= self._until_ms):
                del behind[pair]

    def _present(self, feed: Feed) -> Iterator[Sequence[Item]]:
        """Yields the trades that come in, collected for one commit interval."""
        feed.open()
        self._phase = feed
        try:
            while not self._stop.is_set():
                event = feed.take(_IDLE_SECONDS)
                batch: list[Item] = []
                deadline = time.monotonic() + self._settings.commit_interval_seconds
                while event is not None:
                    for items in self._items(event):
                        batch += items
                        if len(batch) >= BATCH // 2:
                            yield batch
                            batch = []
                    if self._stop.is_set():
                        break
                    event = feed.take(max(0.0, deadline - time.monotonic()))
                if batch:
                    yield batch
        finally:
            self._phase = None
            feed.close()

    def _items(self, event: Event) -> Iterator[Sequence[Item]]:
        """Yields what an event gives, after what is missing before it."""
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, Joined):
            self._unproven.add(event.pair)
            yield from self._fill(event.pair)
        elif isinstance(event, Update):
            for run in self._runs(event):
                yield from self._missing(event.pair, run)
                yield self._new(event.pair, run)
            self._note_lag(event)
        else:
            yield from self._beat(event)
            yield list(self._clock(event))

    def _note_lag(self, update: Update) -> None:
        last = next((item for item in reversed(update.items) if isinstance(item, Trade)), None)
        if last is not None and update.received_ms is not None:
            self._lag.note(last.timestamp_ms, update.received_ms)

    def _beat(self, beat: Beat) -> Iterator[Sequence[Item]]:
        """Yields what is missing, where the exchange says how far it has come."""
        for pair, last_id in beat.last_ids.items():
            seam = self._seams.get(pair)
            if seam is None or seam.last_id is None:  # nothing is known of the pair yet
                continue
            if max(seam.last_id, self._given_up.get(pair, 0)) < last_id:
                yield from self._fill(pair, last_id)

    def _clock(self, beat: Beat) -> Iterator[Clock]:
        """Yields clocks for the quiet pairs among those whose streams are whole."""
        if beat.sent_ms is not None:
            self._lag.note(beat.sent_ms, beat.received_ms)
        elif self._exchange.rest.lag_ms is not None and self._lag.exchange_time(0) is None:
            self._lag.note(beat.received_ms - self._exchange.rest.lag_ms, beat.received_ms)
        time_ms = self._lag.exchange_time(beat.received_ms)
        if time_ms is not None:
            yield from self._clocks.at(time_ms, beat.pairs)

    def _runs(self, update: Update) -> Iterator[Sequence[Trade | Refused]]:
        """Yields the items of an update in runs whose numbers don't leap."""
        run: list[Trade | Refused] = []
        last: int | None = None
        for item in update.items:
            if isinstance(item, Trade):
                if self._exchange.consecutive and None not in (last, item.trade_id) and item.trade_id > last + 1:  # type: ignore[operator]
                    yield run
                    run = []
                last = item.trade_id
            run.append(item)
        yield run

    def _missing(self, pair: str, items: Sequence[Trade | Refused]) -> Iterator[Sequence[Item]]:
        """Yields what REST knows between the trades given on so far and a run of them."""
        first = next((item for item in items if isinstance(item, Trade)), None)
        if first is None:
            return
        seam = self._seams[pair]
        numbered = first.trade_id is not None and self._exchange.consecutive
        if numbered and seam.last_id is None and seam.last_ms < self._since_ms:
            return  # nothing is known of the pair: the stream begins here
        if (numbered or pair in self._unproven) and not seam.joins(first):
            yield from self._fill(pair, first)
        self._unproven.discard(pair)

    def _fill(self, pair: str, until: Trade | int | None = None) -> Iterator[Sequence[Item]]:
        """Yields the trades of a pair that REST has and we don't, until they join `until` or reach its number."""
        seam = self._seams[pair]
        pause = _FIRST_FILL_PAUSE_SECONDS
        missing = until is not None
        for _ in range(_FILL_ATTEMPTS):
            seam.begin()
            cursor, full = 0, True
            while full:
                page = self._page(pair, cursor)
                cursor, full = page.cursor, page.full
                items = self._new(pair, page.items)
                if items:
                    missing = True
                    yield items
            seam.begin()
            if until is None or _reaches(seam, until):
                if missing:
                    metrics.TRADES_GAPS.labels(pair, "filled").inc()
                return
            if self._stop.wait(pause):
                return
            pause = min(pause * 2, _LONGEST_FILL_PAUSE_SECONDS)
        if isinstance(until, int):
            self._given_up[pair] = until
        metrics.TRADES_GAPS.labels(pair, "left").inc()
        log.error("gap left: REST doesn't know the trades in between", pair=pair, before=until)

    def _page(self, pair: str, cursor: int) -> Page:
        page = self._exchange.page(pair, self._seams[pair], cursor)
        self._started = True
        return page

    def _new(self, pair: str, items: Sequence[Trade | Refused]) -> list[Item]:
        new: list[Item] = []
        refused = 0
        seam = self._seams[pair] if pair else None
        for item in items:
            if isinstance(item, Refused) or seam is None:
                assert isinstance(item, Refused)
                refused += 1
                if item.value not in self._refused:
                    self._refused.append(item.value)
                    new.append(item)
                continue
            before = seam.last_id
            if not seam.is_new(item):
                self._duplicates[pair].inc()
                continue
            if self._exchange.consecutive and before is not None and item.trade_id is not None:
                self._note_missing(pair, before, item, item.trade_id - before - 1 - refused)
            refused = 0
            new.append(item)
        self._clocks.note(new)
        return new

    def _note_missing(self, pair: str, before: int, trade: Trade, count: int) -> None:
        """Counts trades whose numbers were leapt over: the exchange gives them neither live nor by REST."""
        if count <= 0:
            return
        metrics.TRADES_MISSING.labels(pair).inc(count)
        if pair not in self._told_missing:
            self._told_missing.add(pair)
            log.error(
                "gap left: the numbers of the trades leap; the exchange doesn't give those in between. "
                "pricecast_trades_missing_total counts on",
                pair=pair,
                missing=count,
                after_id=before,
                before_id=trade.trade_id,
                timestamp_ms=trade.timestamp_ms,
            )


def _reaches(seam: Seam, until: Trade | int) -> bool:
    return seam.last_id is not None and seam.last_id >= until if isinstance(until, int) else seam.joins(until)
