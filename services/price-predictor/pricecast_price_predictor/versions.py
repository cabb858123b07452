"""Which version of each model serves: the pinned one, else the promoted one, else the one before it where that does better.

A registry that is away changes nothing: the versions in use stay until it answers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from pricecast_core import logs, metrics
from pricecast_core.errors import StoreError
from pricecast_core.services import PRICE_PREDICTOR
from pricecast_core.settings import PricePredictorSettings
from pricecast_core.stores.models import ModelRegistry, ModelVersion, model_name
from pricecast_core.values import slug
from pricecast_price_predictor.book import Horizon, PairBook, newest_ms
from pricecast_price_predictor.feature_view import FeatureView
from pricecast_price_predictor.model import PriceModel
from pricecast_price_predictor.shadows import Shadow, better

SERVICE = PRICE_PREDICTOR.group
LOOK_SECONDS = 2.0
"""How often, at most, the registry is asked which version is in production."""
log = logs.get(__name__)


class Versions:
    """The versions in use of all models, and the shadows of those that they followed.

    Args:
        settings: What to predict.
        registry: Model registry.
        books: The pairs, whose horizons the versions serve.
    """

    def __init__(
        self, settings: PricePredictorSettings, registry: ModelRegistry, books: Mapping[str, PairBook]
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._books = books
        self._names = {
            model_name(settings.pipeline, slug(pair), seconds): (pair, seconds)
            for pair in settings.pairs
            for seconds in settings.horizons_seconds
        }
        self._looked = float("-inf")
        self._refused: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        self._shadows: dict[str, Shadow | None] = {}

    def in_use(self) -> dict[str, int]:
        """Returns the version in use of each model; 0 for the naive forecast."""
        return {name: _current(self._books[pair].horizons[seconds]) for name, (pair, seconds) in self._names.items()}

    def look(self) -> list[str]:
        """Takes newly promoted versions into use and returns their pairs. A registry that is away changes nothing."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return []
        self._looked = now
        changed = []
        try:
            for name, version in self._wanted().items():
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

    def _wanted(self) -> dict[str, ModelVersion]:
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
            of_candles = price_model.spec.candle_seconds == self._settings.candle_seconds
            if price_model.horizon_rows != horizon.rows or not of_candles:
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

    def compare(self, pair: str, horizon: Horizon, seen: FeatureView) -> None:
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

    def ask_for_training(self, pair: str, horizon: Horizon) -> None:
        """Asks, once for a version, for a new training where the model has lost its skill or the market has moved."""
        name, version = model_name(self._settings.pipeline, slug(pair), horizon.seconds), _current(horizon)
        if not version or self._asked.get(name) == version or (reason := self._why_train(horizon)) is None:
            return
        try:
            self._registry.request_training(name, reason)
        except StoreError as error:
            log.warning("could not ask for training; the next score asks again", model=name, error=str(error))
            return
        self._asked[name] = version
        log.info("asked for an early training", model=name, reason=reason)

    def _why_train(self, horizon: Horizon) -> str | None:
        live, version = horizon.live, _current(horizon)
        known = live.model_version == version and len(live) >= self._settings.retrain_min_scored
        if known and (skill := live.distribution_skill) < 0:
            return f"skill of version {version} is {skill:+.2%} over its last {len(live)} scored predictions"
        if horizon.forecaster is not None and horizon.forecaster.latest.is_drifting:
            return f"version {version}: {horizon.forecaster.latest.caution}"
        return None


def _current(horizon: Horizon) -> int:
    """Returns the version that serves a horizon; 0 for the naive forecast."""
    return horizon.version.version if horizon.version is not None else 0
