"""`train`: a job that trains each pair and horizon, registers the model, and promotes it if it beats naive."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pricecast_core import logs
from pricecast_core.errors import NotEnoughHistoryError, PricecastError, StoppedWaitingError
from pricecast_core.health import Health
from pricecast_core.messages import FeatureRowStored
from pricecast_core.service import Stop
from pricecast_core.services import TRAIN, part
from pricecast_core.settings import PricePredictorSettings
from pricecast_core.stores.features import FeatureStore, missing_history
from pricecast_core.stores.models import Lineage, ModelRegistry, ModelVersion, TrainingRun, model_name
from pricecast_core.stores.open import open_feature_store, open_model_registry
from pricecast_core.streaming import Follower, Publisher
from pricecast_core.topics import FEATURES
from pricecast_core.values import slug
from pricecast_price_predictor import feature_view, model_selection, report
from pricecast_price_predictor.features import FeatureTable
from pricecast_price_predictor.grid import TIME
from pricecast_price_predictor.model_selection import Options, Trained
from pricecast_price_predictor.models.base import Compute, Sample
from pricecast_price_predictor.pool import Pool
from pricecast_price_predictor.target import horizon_rows
from pricecast_price_predictor.tuning import Budget

SERVICE = TRAIN.group
QUIET_SECONDS = 3.0
"""A replay whose markers pause so long has been read to its end, or runs slowly on purpose."""
LIVE_QUIET_SECONDS = 15.0
"""The same of a live source, if its candle isn't longer: a backfill pauses where the exchange limits its rate."""
log = logs.get(__name__)


def train(settings: PricePredictorSettings, health: Health, stop: Stop) -> None:
    """Trains every pair and horizon.

    Raises:
        NotEnoughHistoryError: If there are too few rows for every model, and waiting isn't wanted or was ended.
        StoreError: If a store is away.
    """
    store = open_feature_store(settings)
    registry = open_model_registry(settings)
    try:
        _await_history(settings, store, health, stop)
        pool = None
        if len(settings.pairs) > 1:
            pool = Pool((_table(settings, store, pair) for pair in settings.pairs), len(settings.pairs))
        short: list[str] = []
        for pair in settings.pairs:
            spec, table = feature_view.spec_of(settings, store, pair), _table(settings, store, pair)
            for seconds in settings.horizons_seconds:
                if stop.is_set():
                    return
                sample = Sample(spec, table, horizon_rows(seconds, settings.candle_seconds), pool=pool)
                try:
                    _train_one(settings, registry, pair, seconds, sample)
                except NotEnoughHistoryError as error:  # a long horizon may take days to learn: the others go on
                    log.warning("left out", reason=str(error))
                    short.append(str(error))
        if len(short) == len(settings.pairs) * len(settings.horizons_seconds):
            raise NotEnoughHistoryError("; ".join(short))
    finally:
        store.close()
        registry.close()


def options_of(settings: PricePredictorSettings) -> Options:
    """Returns the budgets and the model kinds of the settings."""
    wanted, *rivals = settings.model_kinds
    return Options(
        search=Budget(settings.training_trials, settings.training_max_seconds),
        folds=settings.training_folds,
        compute=Compute(settings.training_threads, settings.training_seed),
        kind=wanted,
        rivals=tuple(rivals),
    )


def register(
    registry: ModelRegistry,
    name: str,
    trained: Trained,
    *,
    candle_seconds: int,
    simulated: bool,
    seconds: float,
    trained_from_ms: int,
) -> ModelVersion:
    """Registers a model and promotes it, or says why not.

    Args:
        registry: Where to.
        name: The model's name.
        trained: The training.
        candle_seconds: Length of a row.
        simulated: Whether the market is a simulation.
        seconds: How long the training took.
        trained_from_ms: Event time of the oldest row.
    """
    spec = trained.model.spec
    serving = registry.production([name]).get(name)
    version = registry.register(
        TrainingRun(
            model_name=name,
            parameters={
                "kind": trained.model.kind,
                **trained.parameters,
                "horizon_rows": trained.model.horizon_rows,
                "candle_seconds": candle_seconds,
                "indicators": ",".join(spec.indicators),
                "companion_pairs": ",".join(spec.companions),
                "news": spec.news,
                "simulated": simulated,
                "point_is_naive": not trained.model.use_median,
            },
            metrics={**trained.scores.as_metrics(), **_rival_metrics(trained), "training_seconds": seconds},
            trained_through_ms=trained.model.trained_through_ms,
            artifact=trained.model.to_bytes(),
            report_html=report.render(name, trained, candle_seconds, simulated=simulated),
            lineage=Lineage(
                trained_from_ms=trained_from_ms,
                feature_set=spec.name,
                code_version=metadata.version("pricecast-price-predictor"),
                parent=0 if serving is None else serving.version,
            ),
        )
    )
    if trained.beats_naive:
        return registry.promote(name, version.version, trained.verdict)
    return registry.reject(name, version.version, trained.verdict)


def _rival_metrics(trained: Trained) -> dict[str, float]:
    """Returns each rival's skill on the same rows, and the interval of the model's lead over it."""
    return {
        f"{one.kind}.{name}": value
        for one in trained.table[1:]
        for name, value in (
            ("distribution_skill", one.scores.distribution_skill),
            ("lead", one.lead.skill),
            ("lead_low", one.lead.low),
            ("lead_high", one.lead.high),
        )
    }


@contextmanager
def progress(name: str, options: Options) -> Iterator[Callable[[str], None]]:
    """Shows a bar where a person is looking, and gives the function that moves it on."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[what]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(name, total=model_selection.steps(options), what="")
        yield lambda what: bar.update(task, advance=1, what=what)
        bar.update(task, completed=model_selection.steps(options))


def _train_one(
    settings: PricePredictorSettings, registry: ModelRegistry, pair: str, seconds: int, sample: Sample
) -> None:
    name = model_name(settings.pipeline, slug(pair), seconds)
    if len(sample.table) < (needed := settings.rows_to_learn(seconds)):
        raise NotEnoughHistoryError(f"{name}: {len(sample.table)} of {needed} candles")
    options = options_of(settings)
    start = time.monotonic()
    log.info("training", model=name, rows=len(sample.table))
    with progress(name, options) as on_step:
        try:
            trained = model_selection.train(sample, options, on_step)
        except ValueError as error:
            raise NotEnoughHistoryError(f"{name}: {error}") from error
    version = register(
        registry,
        name,
        trained,
        candle_seconds=settings.candle_seconds,
        simulated=settings.simulated,
        seconds=time.monotonic() - start,
        trained_from_ms=int(sample.table.time_ms[0]),
    )
    log.info(
        "model promoted" if trained.beats_naive else "model registered, not promoted",
        model=name,
        version=version.version,
        reason=version.reason,
        seconds=round(time.monotonic() - start, 1),
    )


def _table(settings: PricePredictorSettings, store: FeatureStore, pair: str) -> FeatureTable:
    """Reads the lookback and computes the features; the first day of it only feeds the windows."""
    newest = _newest_ms(settings, store, pair)
    lookback_ms = int(settings.training_lookback_days * 86_400_000)
    return feature_view.read(settings, store, pair, start_ms=max(0, newest - lookback_ms)).table(
        feature_view.spec_of(settings, store, pair)
    )


def _newest_ms(settings: PricePredictorSettings, store: FeatureStore, pair: str) -> int:
    rows = feature_view.read_rows(settings, store, [pair], last=1)[pair]
    return 0 if rows.is_empty() else int(rows[TIME][-1])


def _await_history(settings: PricePredictorSettings, store: FeatureStore, health: Health, stop: Stop) -> None:
    """Waits until there is enough history, by following the markers of new rows.

    Enough is the fewest rows wanted of every pair, and a stream that has caught up: the newest row is of now, or (in a
    replay) the markers have paused. A backfill in full flow would be trained on half.
    """
    if _missing(settings, store) is None and _caught_up(settings, store):
        return
    if not settings.training_wait:
        if missing := _missing(settings, store):
            raise NotEnoughHistoryError(missing)
        return
    log.info("waiting for history", missing=_missing(settings, store) or "the newest rows")
    health.info("waits for", lambda: _waits_for(settings, store))
    if stop.is_set():  # told to end while it was still importing: no need to join a group and leave it again
        raise NotEnoughHistoryError("told to end before there was enough history")
    try:
        publisher = Publisher(SERVICE, settings, [FEATURES], health, stop)
    except StoppedWaitingError as error:
        raise NotEnoughHistoryError(str(error)) from None  # a job that ends with 0 would count as trained
    follower: Follower[FeatureRowStored] = Follower(
        part(TRAIN, settings.part).group,
        settings,
        FEATURES,
        health=health,
        stop=stop,
        publisher=publisher,
        start="latest",
    )
    patience = max(LIVE_QUIET_SECONDS, 2 * settings.candle_seconds) if settings.live else QUIET_SECONDS
    try:
        moved = time.monotonic()
        for batch in follower.batches(most=10_000):
            if batch:
                follower.commit()
                moved = time.monotonic()
            quiet = time.monotonic() - moved >= patience
            enough = (quiet or (batch and settings.live)) and _missing(settings, store) is None
            if enough and (quiet or _caught_up(settings, store)):
                return
    finally:
        follower.close()
        publisher.close()
    raise NotEnoughHistoryError(f"stopped while waiting: {_missing(settings, store) or 'the newest rows'}")


def _missing(settings: PricePredictorSettings, store: FeatureStore) -> str | None:
    """Says which pair lacks rows; None if none does."""
    missing = missing_history(
        store, feature_view.indicators_group(settings), settings.pairs, settings.training_min_rows
    )
    return f"{missing}; wait, or lower TRAINING_MIN_ROWS" if missing else None


def _waits_for(settings: PricePredictorSettings, store: FeatureStore) -> str:
    """Says what the training waits for, to whoever asks meanwhile."""
    try:
        return _missing(settings, store) or "the newest rows"
    except PricecastError as error:
        return str(error)


def _caught_up(settings: PricePredictorSettings, store: FeatureStore) -> bool:
    """Returns whether the newest rows are of now. In a replay only a pause tells."""
    if not settings.live:
        return False
    limit = time.time() * 1000 - 3 * settings.candle_seconds * 1000 - 5_000
    return all(_newest_ms(settings, store, pair) >= limit for pair in settings.pairs)
