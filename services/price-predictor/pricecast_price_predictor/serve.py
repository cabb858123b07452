"""`serve`: a forecast for every new feature row, and a score for every forecast whose time has come.

A marker on the `features` topic says that a row is durably stored, so the store is never raced; which row it was
doesn't matter: all rows newer than those known are read. What is to be done follows from the stores alone, so a process
killed at any moment is followed by one that goes on where it stood: predictions have deterministic ids, and making
one again changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence, Set

import polars as pl

from pricecast_core import logs, metrics
from pricecast_core.errors import StoreError
from pricecast_core.health import Health
from pricecast_core.messages import FeatureRowStored, Prediction
from pricecast_core.service import Stop
from pricecast_core.services import PRICE_PREDICTOR, part
from pricecast_core.settings import PricePredictorSettings
from pricecast_core.stores.features import FeatureStore
from pricecast_core.stores.models import ModelRegistry
from pricecast_core.stores.open import open_feature_store, open_model_registry, open_prediction_store
from pricecast_core.stores.predictions import PredictionStore
from pricecast_core.streaming import Follower, Publisher
from pricecast_core.topics import FEATURES, PREDICTIONS
from pricecast_core.values import base_coin
from pricecast_price_predictor import feature_view
from pricecast_price_predictor.book import Horizon, PairBook, newest_ms, ready_through_ms
from pricecast_price_predictor.feature_view import FeatureView
from pricecast_price_predictor.grid import TIME
from pricecast_price_predictor.predictions import ROLLING_WINDOW, is_judged
from pricecast_price_predictor.versions import Versions

SERVICE = PRICE_PREDICTOR.group
COMPANION_PATIENCE_SECONDS = 5.0
"""How long a row waits for its companions' rows before it is predicted without the newest of them."""
_FAR_FUTURE_MS = 2**62
_WARM_PAGE, _WARM_PAGES = 500, 20
_WRITE_AT_MOST = 2_000
log = logs.get(__name__)


class Predictor:
    """Keeps the books of all pairs, and moves what they make into the stores and the topic.

    Args:
        settings: What to predict.
        features: Feature store.
        registry: Model registry.
        store: Prediction store.
    """

    def __init__(
        self,
        settings: PricePredictorSettings,
        features: FeatureStore,
        registry: ModelRegistry,
        store: PredictionStore,
    ) -> None:
        self._settings = settings
        self._features = features
        self._store = store
        self._step_ms = settings.candle_seconds * 1000
        self._books = {pair: PairBook(settings, pair) for pair in settings.pairs}
        self._all_pairs = [*settings.pairs, *(p for p in settings.companion_pairs if p not in settings.pairs)]
        self._rows: dict[str, pl.DataFrame] = {}
        self._news: dict[str, pl.DataFrame | None] = {}
        self._waiting_since: dict[str, float] = {}
        self.versions = Versions(settings, registry, self._books)
        self._psi: dict[str, Mapping[str, float]] = {}
        self._outbox: list[Prediction] = []
        self._published = 0  # so many of the outbox's first are on the topic
        self.started = False

    def start(self) -> None:
        """Reads what is needed to go on: models, open predictions, rows; and forecasts what was missed meanwhile.

        Raises:
            StoreError: If a store is away; it may be called again.
        """
        self._store.ensure()
        for prediction in self._store.latest(self._settings.pipeline):
            horizon = self._horizon(prediction.pair, prediction.horizon_seconds)
            if horizon is not None:
                horizon.predicted_through_ms = max(horizon.predicted_through_ms, prediction.feature_time_ms)
                self._warm_scores(prediction.pair, horizon)
        unscored = self._store.unscored(self._settings.pipeline, _FAR_FUTURE_MS)
        for prediction in sorted(unscored, key=lambda one: one.feature_time_ms):
            horizon = self._horizon(prediction.pair, prediction.horizon_seconds)
            if horizon is not None:
                horizon.pending[prediction.id] = prediction
        self.versions.look()
        for pair in self._settings.pairs:
            self._news[pair] = feature_view.read_news(self._settings, self._features, pair)
        self._read_history(self._all_pairs)
        self.started = True
        self._update(self._settings.pairs)

    def take(self, markers: Sequence[FeatureRowStored]) -> None:
        """Forecasts and scores what new rows allow; with no markers, does what was waiting.

        Raises:
            StoreError: If a store is away; nothing is lost, it may be called again with no markers.
        """
        if not self.started:
            self.start()
            return
        reloaded = self.versions.look()
        coins = {marker.key for marker in markers if marker.group == "news_signals"}
        for pair in self._settings.pairs:
            if base_coin(pair) in coins:
                self._news[pair] = feature_view.read_news(self._settings, self._features, pair)
        if reloaded:
            self._read_history(reloaded)
        touched = {marker.key for marker in markers if marker.group == "technical_indicators"}
        self._read_new_rows([pair for pair in self._all_pairs if pair in touched])
        changed = touched | set(reloaded) | self._waiting_since.keys()
        self._update([pair for pair in self._settings.pairs if self._concerns(pair, changed, coins)])

    def _concerns(self, pair: str, changed: Set[str], coins: Set[str]) -> bool:
        """Returns whether new rows of some pairs, or news of some coins, may allow a forecast or a score of a pair."""
        companions = feature_view.companions_of(self._settings, pair)
        return pair in changed or base_coin(pair) in coins or not changed.isdisjoint(companions)

    def deliver(self, publisher: Publisher) -> None:
        """Publishes what was made, then stores it.

        In this order nothing is lost on the topic: what a killed process published and did not store is made and
        published again, with the same ids; what it stored would be taken for done.

        Raises:
            StoreError: If the store is away; what was made is kept for the next call.
            StoppedWaitingError: If the process is to stop while the broker is away.
        """
        while self._outbox:
            batch = self._outbox[:_WRITE_AT_MOST]
            for prediction in batch[self._published :]:
                publisher.publish(PREDICTIONS, prediction.pair, prediction)
            self._published = len(batch)
            publisher.flush_patiently()
            begin = time.perf_counter()
            self._store.write(batch)
            metrics.STORE_SECONDS.labels(SERVICE, "write_predictions").observe(time.perf_counter() - begin)
            del self._outbox[: len(batch)]
            self._published = 0

    def _horizon(self, pair: str, seconds: int) -> Horizon | None:
        book = self._books.get(pair)
        return book.horizons.get(seconds) if book is not None else None

    def _warm_scores(self, pair: str, horizon: Horizon) -> None:
        judged: list[Prediction] = []
        token = ""
        for _ in range(_WARM_PAGES):
            page = self._store.history(
                pair,
                pipeline=self._settings.pipeline,
                horizon_seconds=horizon.seconds,
                limit=_WARM_PAGE,
                token=token,
            )
            judged += [one for one in page.predictions if is_judged(one)]
            token = page.next_token
            if not token or len(judged) >= ROLLING_WINDOW:
                break
        for prediction in reversed(judged):
            horizon.live.add(prediction)

    def _read_history(self, pairs: list[str]) -> None:
        """Reads the rows that the books of some pairs need, from the start."""
        wanted = [
            *dict.fromkeys(p for pair in pairs for p in (pair, *feature_view.companions_of(self._settings, pair)))
        ]
        kept = max(book.rows_kept for book in self._books.values())
        found = feature_view.read_rows(self._settings, self._features, wanted, last=kept)
        starts = [start for book in self._books.values() if (start := book.history_from_ms()) is not None]
        oldest = min((int(rows[TIME][0]) for rows in found.values() if not rows.is_empty()), default=0)
        if starts and min(starts) < oldest:
            found = feature_view.read_rows(self._settings, self._features, wanted, start_ms=min(starts))
        self._rows.update(found)

    def _read_new_rows(self, pairs: list[str]) -> None:
        """Reads the rows of some pairs that are newer than those known, of all of them in one call."""
        if first := [pair for pair in pairs if self._rows[pair].is_empty()]:
            self._read_history(first)
        if not (known_pairs := [pair for pair in pairs if pair not in first]):
            return
        start = min(newest_ms(self._rows[pair]) for pair in known_pairs)
        found = feature_view.read_rows(self._settings, self._features, known_pairs, start_ms=start + 1)
        for pair, rows in found.items():
            known = self._rows[pair]
            if not rows.is_empty():
                new = rows.filter(pl.col(TIME) > newest_ms(known))
                same = new.schema == known.schema
                self._rows[pair] = (
                    known.vstack(new).rechunk() if same else pl.concat([known, new], how="diagonal_relaxed")
                )

    def _update(self, pairs: Sequence[str]) -> None:
        for pair in pairs:
            rows = self._rows[pair]
            companions = {name: self._rows[name] for name in feature_view.companions_of(self._settings, pair)}
            ready = self._ready_through(pair, rows, companions)
            book = self._books[pair]
            seen = FeatureView(
                self._settings.candle_seconds,
                rows.filter(pl.col(TIME) <= ready) if ready < newest_ms(rows) else rows,
                companions,
                self._news[pair],
            )
            made = book.update(seen, int(time.time() * 1000))
            self._outbox += made
            self._measure(book, made)
            for horizon in book.horizons.values():
                self.versions.compare(pair, horizon, seen)
            self._trim(pair, ready)
        for pair in set(self._all_pairs) - set(self._settings.pairs):
            self._trim(pair, newest_ms(self._rows[pair]))

    def _ready_through(self, pair: str, rows: pl.DataFrame, companions: dict[str, pl.DataFrame]) -> int:
        newest, ready = newest_ms(rows), ready_through_ms(rows, companions, self._step_ms)
        if ready >= newest:
            self._waiting_since.pop(pair, None)
            return newest
        since = self._waiting_since.setdefault(pair, time.monotonic())
        return newest if time.monotonic() - since > COMPANION_PATIENCE_SECONDS else ready

    def _trim(self, pair: str, through_ms: int) -> None:
        """Lets go of rows that nothing needs any more, now and then."""
        kept = max(book.rows_kept for book in self._books.values())
        rows = self._rows[pair]
        if len(rows) > kept + max(100, kept // 20):
            self._rows[pair] = rows.filter(pl.col(TIME) > through_ms - kept * self._step_ms)

    def _measure(self, book: PairBook, made: Sequence[Prediction]) -> None:
        if not made:
            return
        for prediction in made:
            labels = (prediction.pair, str(prediction.horizon_seconds))
            if prediction.actual_price is None:
                metrics.PREDICTIONS.labels(*labels, prediction.model_name).inc()
            else:
                metrics.SCORED.labels(*labels).inc()
        newest = max(prediction.feature_time_ms for prediction in made)
        metrics.EVENT_TIME.labels(SERVICE, book.pair).set(newest / 1000)
        for horizon in book.horizons.values():
            self._measure_novelty(book.pair, horizon)
            if len(horizon.live):
                labels = (book.pair, str(horizon.seconds))
                metrics.LIVE_DISTRIBUTION_SKILL.labels(*labels).set(horizon.live.distribution_skill)
                metrics.LIVE_POINT_SKILL.labels(*labels).set(horizon.live.point_skill)
                metrics.LIVE_COVERAGE.labels(*labels).set(horizon.live.coverage)
            self.versions.ask_for_training(book.pair, horizon)

    def _measure_novelty(self, pair: str, horizon: Horizon) -> None:
        if horizon.forecaster is None:
            return
        latest, labels = horizon.forecaster.latest, (pair, str(horizon.seconds))
        for gauge, value in (
            (metrics.FEATURE_DISTANCE, latest.distance),
            (metrics.VOLATILITY, latest.volatility),
            (metrics.FEATURE_DRIFT, latest.drift),
        ):
            if value is not None:
                gauge.labels(*labels).set(value)
        if horizon.seconds != min(self._settings.horizons_seconds):
            return  # the horizons of a pair learn from nearly the same rows: one of them stands for all
        psi = horizon.forecaster.psi
        if psi is not self._psi.get(pair):  # anew once in an hour
            self._psi[pair] = psi
            for feature, index in psi.items():
                metrics.FEATURE_PSI.labels(pair, feature).set(index)


def serve(settings: PricePredictorSettings, health: Health, stop: Stop) -> None:
    """Runs the service until asked to stop."""
    problem: str | None = "starting"
    health.ready("stores", lambda: problem)
    features = open_feature_store(settings)  # before the broker is waited for: a URL that can't be is told at once
    registry = open_model_registry(settings)
    store = open_prediction_store(settings)
    publisher = Publisher(SERVICE, settings, [PREDICTIONS, FEATURES], health, stop)
    predictor = Predictor(settings, features, registry, store)
    health.info("models", predictor.versions.in_use)
    follower: Follower[FeatureRowStored] = Follower(
        part(PRICE_PREDICTOR, settings.part).group, settings, FEATURES, health=health, stop=stop, publisher=publisher
    )
    unhandled: list[FeatureRowStored] = []
    uncommitted = False
    try:
        for batch in follower.batches(most=5_000):
            unhandled += batch
            uncommitted = uncommitted or bool(batch)
            try:
                predictor.take(unhandled)
                unhandled = []
                predictor.deliver(publisher)
            except StoreError as error:
                metrics.STORE_ERRORS.labels(SERVICE, "serve").inc()
                if problem is None or problem == "starting":
                    log.warning("a store is away; forecasts wait", error=str(error))
                problem = str(error)
                follower.hold(problem)
                continue
            if problem is not None:
                log.info("forecasting", models=predictor.versions.in_use())
                problem = None
                follower.hold(None)
            if uncommitted:
                follower.commit()
                uncommitted = False
    finally:
        follower.close()
        publisher.close()
        for each in (features, registry, store):
            each.close()
