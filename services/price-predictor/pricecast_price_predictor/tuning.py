"""Search for hyper-parameters within a budget, on rows that the evaluation doesn't judge.

The search sees only the rows before the first evaluated fold, so the figures that decide about promotion are not
those that were optimised. The defaults are the first trial, and are left only for a gain that is more than noise.
"""

from __future__ import annotations

from collections.abc import Callable

import optuna

from pricecast_price_predictor import walkforward
from pricecast_price_predictor.features import FeatureSpec, FeatureTable
from pricecast_price_predictor.model import Parameters

FOLDS = 2
MIN_ROWS = 1_000
"""Fewest rows before the first evaluated fold on which a search says anything."""
WORTHWHILE_GAIN = 0.001
"""Gain in distribution skill below which the defaults stay."""


def search(
    spec: FeatureSpec,
    table: FeatureTable,
    horizon: int,
    *,
    rows: int,
    trials: int,
    max_seconds: float,
    threads: int,
    seed: int,
    on_trial: Callable[[float], None] = lambda _best: None,
) -> Parameters:
    """Returns the best hyper-parameters found.

    Args:
        spec: The features in the table.
        table: Features.
        horizon: Horizon in rows.
        rows: How many of the first rows may be looked at.
        trials: Most trials, the defaults' included; below 2 nothing is searched.
        max_seconds: The budget; a trial that has begun is finished.
        threads: Threads of XGBoost.
        seed: Seed of the search and of training.
        on_trial: Called after each trial with the best skill so far.
    """
    if trials < 2 or rows < MIN_ROWS:
        return Parameters()
    head = table.rows(0, rows)
    folds = walkforward.splits(rows, FOLDS, first=rows // 2)

    def objective(trial: optuna.Trial) -> float:
        parameters = _suggest(trial)
        result = walkforward.evaluate(spec, head, horizon, folds, parameters=parameters, threads=threads, seed=seed)
        return result.pooled().scores().distribution_skill

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(Parameters().as_dict())
    study.optimize(
        objective, n_trials=trials, timeout=max_seconds, callbacks=[lambda study, _trial: on_trial(study.best_value)]
    )
    default = study.trials[0].value or 0.0
    if study.best_value - default < WORTHWHILE_GAIN:
        return Parameters()
    return Parameters(**study.best_params)


def _suggest(trial: optuna.Trial) -> Parameters:
    return Parameters(
        trees=trial.suggest_int("trees", 100, 400, step=50),
        depth=trial.suggest_int("depth", 2, 5),
        learning_rate=trial.suggest_float("learning_rate", 0.015, 0.06, log=True),
        min_child_weight=trial.suggest_float("min_child_weight", 50.0, 500.0, log=True),
        subsample=trial.suggest_float("subsample", 0.3, 0.8),
        colsample=trial.suggest_float("colsample", 0.2, 0.8),
        l2=trial.suggest_float("l2", 1.0, 100.0, log=True),
    )
