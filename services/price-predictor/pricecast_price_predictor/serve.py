"""`serve`: a forecast for every new feature row, and a score for every forecast whose time has come.

A marker on the `features` topic says that a row is durably stored, so the store is never raced; which row it was
doesn't matter: all rows newer than those known are read. What is to be done follows from the stores alone, so a process
killed at any moment is followed by one that goes on where it stood: predictions have deterministic ids, and making
one again changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import polars as pl

from pricecast_core import logs, metrics
from pricecast_core.errors import StoreError
from pricecast_core.health import Health
from pricecast_core.messages import FeatureRowStored, Prediction
from pricecast_core.service import Stop
from pricecast_core.services import PRICE_PREDICTOR, part
from pricecast_core.settings import PricePredictorSettings
from pricecast_core.stores.features import FeatureStore
from pricecast_core.stores.models import ModelRegistry, ModelVersion, model_name
from pricecast_core.stores.open import open_feature_store, open_model_registry, open_prediction_store
from pricecast_core.stores.predictions import PredictionStore
from pricecast_core.streaming import Follower, Publisher
from pricecast_core.topics import FEATURES, PREDICTIONS
from pricecast_core.values import base_coin, slug
from pricecast_price_predictor import feature_view
from pricecast_price_predictor.book import Horizon, PairBook, newest_ms, ready_through_ms
from pricecast_price_predictor.feature_view import FeatureView
from pricecast_price_predictor.grid import TIME
from pricecast_price_predictor.model import PriceModel
from pricecast_price_predictor.shadows import Shadow, better

SERVICE = PRICE_PREDICTOR.group
MODEL_LOOK_SECONDS = 2.0
"""How often, at most, the registry is asked which version is in production."""
COMPANION_PATIENCE_SECONDS = 5.0
"""How long a row waits for its companions' rows before it is predicted without the newest of them."""
_FAR_FUTURE_MS = 2**62
_WARM_PAGE = 500
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
        self._registry = registry
        self._store = store
        self._step_ms = settings.candle_seconds * 1000
        self._books = {
            pair: PairBook(
                settings.pipeline,
                pair,
                settings.candle_seconds,
                settings.horizons_seconds,
                live=settings.live,
                simulated=settings.simulated,
                levels=settings.levels,
            )
            for pair in settings.pairs
        }
        self._names = {
            model_name(settings.pipeline, slug(pair), seconds): (pair, seconds)
            for pair in settings.pairs
            for seconds in settings.horizons_seconds
        }
        self._all_pairs = [*settings.pairs, *(p for p in settings.companion_pairs if p not in settings.pairs)]
        self._rows: dict[str, pl.DataFrame] = {}
        self._news: dict[str, pl.DataFrame | None] = {}
        self._waiting_since: dict[str, float] = {}
        self._looked_for_models = float("-inf")
        self._refused: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        self._shadows: dict[str, Shadow | None] = {}
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
        for prediction in self._store.unscored(self._settings.pipeline, _FAR_FUTURE_MS):
            horizon = self._horizon(prediction.pair, prediction.horizon_seconds)
            if horizon is not None:
                horizon.pending[prediction.id] = prediction
        self._load_models()
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
        reloaded = self._load_models()
        coins = {marker.key for marker in markers if marker.group == "news_signals"}
        for pair in self._settings.pairs:
            if base_coin(pair) in coins:
                self._news[pair] = feature_view.read_news(self._settings, self._features, pair)
        if reloaded:
            self._read_history(reloaded)
        touched = {marker.key for marker in markers if marker.group == "technical_indicators"}
        self._read_new_rows([pair for pair in self._all_pairs if pair in touched])
        self._update(self._settings.pairs)

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

    def models(self) -> dict[str, int]:
        """Returns the version in use of each model; 0 for the naive forecast."""
        found = {}
        for name, (pair, seconds) in self._names.items():
            version = self._books[pair].horizons[seconds].version
            found[name] = version.version if version is not None else 0
        return found

    def _horizon(self, pair: str, seconds: int) -> Horizon | None:
        book = self._books.get(pair)
        return book.horizons.get(seconds) if book is not None else None

    def _warm_scores(self, pair: str, horizon: Horizon) -> None:
        page = self._store.history(
            pair, pipeline=self._settings.pipeline, horizon_seconds=horizon.seconds, limit=_WARM_PAGE
        )
        for prediction in reversed(page.predictions):
            if prediction.actual_price is not None:
                horizon.live.add(prediction)

    def _load_models(self) -> list[str]:
        """Takes newly promoted versions into use and returns their pairs. A registry that is away changes nothing."""
        now = time.monotonic()
        if now - self._looked_for_models < MODEL_LOOK_SECONDS:
            return []
        self._looked_for_models = now
        changed = []
        try:
            for name, version in self._wanted_versions().items():
                pair, seconds = self._names[name]
                horizon = self._books[pair].horizons[seconds]
                if version.version in (_current(horizon), self._refused.get(name)):
                    continue
                if self._use(name, version, horizon):
                    changed.append(pair)
        except StoreError as error:
            metrics.STORE_ERRORS.labels(SERVICE, "production").inc()
            log.warning("the model registry is away; the models in use stay", error=str(error))
        return changed

    def _wanted_versions(self) -> dict[str, ModelVersion]:
        """Returns the version that is to serve of each model that has one: the pinned one, else the promoted one."""
        pinned = self._settings.pinned_version
        found = self._registry.production(list(self._names))
        for name, (pair, seconds) in self._names.items() if pinned else ():
            current = _current(self._books[pair].horizons[seconds])
            if current == pinned:
                found.pop(name, None)  # a version doesn't change
                continue
            version = next((each for each in self._registry.versions(name) if each.version == pinned), None)
            if version is not None and self._refused.get(name) != pinned:
                found[name] = version
            elif not current:
                log.warning("there is no such version to pin; the promoted one serves", model=name, version=pinned)
        return found

    def _use(self, name: str, version: ModelVersion, horizon: Horizon) -> bool:
        data = self._registry.artifact(name, version.version)
        pair, seconds = self._names[name]
        try:
            price_model = PriceModel.from_bytes(data)
            if price_model.horizon_rows != horizon.rows or price_model.spec.candle_seconds * 1000 != self._step_ms:
                raise StoreError("artifact: was trained for another horizon or candle; train again")
        except StoreError as error:
            self._refused[name] = version.version
            log.error("a model can't be used", model=name, version=version.version, error=str(error))
            return False
        if horizon.version is not None and horizon.forecaster is not None:
            self._shadows[name] = Shadow(horizon.version, horizon.forecaster)
        horizon.use(version, price_model)
        labels = (pair, str(seconds))
        metrics.MODEL_VERSION.labels(*labels).set(version.version)
        metrics.MODEL_TRAINED_THROUGH.labels(*labels).set(version.trained_through_ms / 1000)
        log.info("model taken into use", model=name, version=version.version, reason=version.reason)
        return True

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
                self._shadow(pair, horizon, seen)
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
            if len(horizon.live):
                labels = (book.pair, str(horizon.seconds))
                metrics.LIVE_DISTRIBUTION_SKILL.labels(*labels).set(horizon.live.distribution_skill)
                metrics.LIVE_POINT_SKILL.labels(*labels).set(horizon.live.point_skill)
                metrics.LIVE_COVERAGE.labels(*labels).set(horizon.live.coverage)
                self._ask_for_training(book.pair, horizon)

    def _shadow(self, pair: str, horizon: Horizon, seen: FeatureView) -> None:
        """Lets the version that served before forecast on, and serve again where it does better."""
        if horizon.version is None or seen.rows.is_empty() or self._settings.pinned_version is not None:
            return
        name = model_name(self._settings.pipeline, slug(pair), horizon.seconds)
        try:
            if name not in self._shadows:
                self._shadows[name] = self._predecessor(name, horizon.version, newest_ms(seen.rows))
            shadow = self._shadows[name]
            if shadow is None or not shadow.advance(seen) or horizon.live.model_version != horizon.version.version:
                return
            least, margin = self._settings.rollback_min_scored, self._settings.rollback_margin
            if reason := better(horizon.live, shadow, least, margin):
                self._registry.promote(name, shadow.version.version, reason)
                log.warning("a former version serves again", model=name, version=shadow.version.version, reason=reason)
        except StoreError as error:
            log.warning("the model registry is away; versions are compared later", model=name, error=str(error))

    def _predecessor(self, name: str, version: ModelVersion, time_ms: int) -> Shadow | None:
        """Returns the newest version beside the one in use that has served; None if there is none that can be read."""
        former = (each for each in self._registry.versions(name) if each.stage == "archived" and each != version)
        found = next(former, None)
        if found is None:
            return None
        data = self._registry.artifact(name, found.version)
        try:
            return Shadow.after(found, PriceModel.from_bytes(data), time_ms)
        except StoreError as error:
            log.info("the version before can't be compared", model=name, version=found.version, reason=str(error))
            return None

    def _ask_for_training(self, pair: str, horizon: Horizon) -> None:
        """Asks, once for a version, for a new training where the model has lost its skill."""
        name = model_name(self._settings.pipeline, slug(pair), horizon.seconds)
        version, live = horizon.live.model_version, horizon.live
        if not version or len(live) < self._settings.retrain_min_scored or self._asked.get(name) == version:
            return
        skill = live.distribution_skill
        if skill >= 0:
            return
        reason = f"skill of version {version} is {skill:+.2%} over its last {len(live)} scored predictions"
        try:
            self._registry.request_training(name, reason)
        except StoreError as error:
            log.warning("could not ask for training; the next score asks again", model=name, error=str(error))
            return
        self._asked[name] = version
        log.info("asked for an early training", model=name, reason=reason)


def _current(horizon: Horizon) -> int:
    """Returns the version that serves a horizon; 0 for the naive forecast."""
    return horizon.version.version if horizon.version is not None else 0


def serve(settings: PricePredictorSettings, health: Health, stop: Stop) -> None:
    """Runs the service until asked to stop."""
    problem: str | None = "starting"
    health.ready("stores", lambda: problem)
    publisher = Publisher(SERVICE, settings, [PREDICTIONS, FEATURES], health, stop)
    features = open_feature_store(settings)
    registry = open_model_registry(settings)
    store = open_prediction_store(settings)
    predictor = Predictor(settings, features, registry, store)
    health.info("models", predictor.models)
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
                log.info("forecasting", models=predictor.models())
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
