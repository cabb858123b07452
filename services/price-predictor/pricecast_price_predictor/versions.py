"""Which version of each model serves: the pinned one, else the promoted one, else one in shadow that does better.

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
from pricecast_price_predictor import shadows
from pricecast_price_predictor.book import Horizon, PairBook, newest_ms
from pricecast_price_predictor.feature_view import FeatureView
from pricecast_price_predictor.model import PriceModel
from pricecast_price_predictor.shadows import Shadow

SERVICE = PRICE_PREDICTOR.group
LOOK_SECONDS = 2.0
"""How often, at most, the registry is asked which version is in production."""
CHALLENGER_SECONDS = 60.0
"""How often, at most, it is asked which version is the newest."""
log = logs.get(__name__)


class Versions:
    """The versions in use of all models, and the shadows of those that may take their places.

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
        self._shadows: dict[str, dict[int, Shadow | None]] = {}  # by model and version; None where it can't be read
        self._newest: dict[str, int] = {}
        self._newest_looked = float("-inf")
        self._chosen_for: dict[str, tuple[int, int, bool]] = {}  # what the choice of shadows was made by

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
            if now - self._newest_looked >= CHALLENGER_SECONDS:
                self._newest = self._registry.newest([name for name, version in self.in_use().items() if version])
                self._newest_looked = now
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
            gives_way = Shadow(horizon.version, horizon.forecaster, self._settings.abstain_distance)
            self._shadows.setdefault(name, {})[horizon.version.version] = gives_way
        self._shadows.setdefault(name, {}).pop(version.version, None)
        for shadow in self._shadows[name].values():
            if shadow is not None:
                shadow.compared = 0
        horizon.use(version, price_model)
        labels = (pair, str(seconds))
        metrics.MODEL_VERSION.labels(*labels).set(version.version)
        metrics.MODEL_TRAINED_THROUGH.labels(*labels).set(version.trained_through_ms / 1000)
        log.info("model taken into use", model=name, version=version.version, reason=version.reason)
        return True

    def compare(self, pair: str, horizon: Horizon, seen: FeatureView) -> None:
        """Lets the version that served before, and the newest, forecast in shadow, and serve where they do better."""
        if horizon.version is None or seen.rows.is_empty() or self._settings.pinned_version is not None:
            return
        name, now_ms = model_name(self._settings.pipeline, slug(pair), horizon.seconds), newest_ms(seen.rows)
        try:
            for shadow in self._shadows_of(name, horizon.version, now_ms):
                if not shadow.advance(seen) or horizon.live.model_version != horizon.version.version:
                    continue
                if reason := self._why_instead(shadow, horizon.version, horizon, now_ms):
                    self._registry.promote(name, shadow.version.version, reason)
                    log.warning("another version serves", model=name, version=shadow.version.version, reason=reason)
                    self._looked = float("-inf")
                    break
        except StoreError as error:
            log.warning("the model registry is away; versions are compared later", model=name, error=str(error))

    def _why_instead(self, shadow: Shadow, serving: ModelVersion, horizon: Horizon, now_ms: int) -> str | None:
        """Says why a shadow is to serve; None where it is not to."""
        found = shadows.compare(horizon.live, shadow)
        if found is None:
            return None
        shadow.compared = found.rows
        if shadow.version.stage == "archived":
            return shadows.why_back(found, self._settings)
        return shadows.why_promoted(found, _age_days(serving, now_ms), self._settings)

    def _shadows_of(self, name: str, serving: ModelVersion, now_ms: int) -> list[Shadow]:
        """Returns the shadows of a model; they are chosen anew where another version serves or is the newest, or one is judged."""
        known = self._shadows.setdefault(name, {})
        over = any(shadow is not None and not self._is_on_trial(shadow) for shadow in known.values())
        chosen_for = (serving.version, self._newest.get(name, 0), over)
        if self._chosen_for.get(name) != chosen_for:
            found = {each.version: self._shadow(name, each, now_ms) for each in self._contenders(name, serving, known)}
            self._shadows[name] = known = found
            self._chosen_for[name] = chosen_for
        return [shadow for shadow in known.values() if shadow is not None]

    def _contenders(self, name: str, serving: ModelVersion, known: Mapping[int, Shadow | None]) -> list[ModelVersion]:
        """Returns the version that served before, and the challenger: the newest of all that was not promoted.

        A challenger stays until it can be judged: where models are trained more often than that takes, none ever would be.
        """
        versions = [each for each in self._registry.versions(name) if each.version != serving.version]
        archived = [each for each in versions if each.stage == "archived"]
        # Not the newest of them: after a rollback that is the version which turned out worse.
        before = [each.former for each in self._registry.promotions([name], 1) if each.version == serving.version]
        former = [each for each in archived if each.version in before] or archived
        newer = [each for each in versions if each.stage == "registered" and each.version > serving.version]
        on_trial = [each for each in newer if (shadow := known.get(each.version)) and self._is_on_trial(shadow)]
        return [*former[:1], *(on_trial or newer)[:1]]

    def _is_on_trial(self, shadow: Shadow) -> bool:
        return shadow.version.stage == "archived" or shadow.compared < self._settings.promotion_min_scored

    def _shadow(self, name: str, version: ModelVersion, now_ms: int) -> Shadow | None:
        """Returns the shadow of a version; None if it can't be read."""
        if version.version in self._shadows[name]:
            if (known := self._shadows[name][version.version]) is not None:
                known.version = version  # it may have served when it was first seen
            return known
        data = self._registry.artifact(name, version.version)
        try:
            return Shadow.after(version, PriceModel.from_bytes(data), self._settings.abstain_distance, now_ms)
        except StoreError as error:
            log.info("a version can't be compared", model=name, version=version.version, reason=str(error))
            return None

    def ask_for_training(self, pair: str, horizon: Horizon) -> None:
        """Asks, once for a version, for a new training where the model has lost its skill, the market has moved, or it is old."""
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
        live, forecaster, version = horizon.live, horizon.forecaster, _current(horizon)
        known = live.model_version == version and len(live) >= self._settings.retrain_min_scored
        if known and (skill := live.distribution_skill) < 0:
            return f"skill of version {version} is {skill:+.2%} over its last {len(live)} scored predictions"
        if horizon.version is None or forecaster is None:
            return None
        if forecaster.latest.is_drifting:
            return f"version {version}: {forecaster.latest.caution}"
        age = _age_days(horizon.version, forecaster.through_ms)
        return (
            f"what version {version} knows is {age:.0f} days old"
            if age > self._settings.promotion_maximum_age_days
            else None
        )


def _age_days(version: ModelVersion, now_ms: int) -> float:
    return (now_ms - version.trained_through_ms) / 86_400_000


def _current(horizon: Horizon) -> int:
    """Returns the version that serves a horizon; 0 for the naive forecast."""
    return horizon.version.version if horizon.version is not None else 0
