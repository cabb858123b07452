"""Search for hyper-parameters within a budget, on rows that the evaluation doesn't judge.

The search sees only the rows before the first evaluated fold, so the figures that decide about promotion are not
those that were optimised. The defaults are the first trial, and are left only for a gain that is more than noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import optuna

from pricecast_core import logs
from pricecast_price_predictor import walkforward
from pricecast_price_predictor.model import Recipe
from pricecast_price_predictor.models.base import Parameters, Sample
from pricecast_price_predictor.models.kinds import kind_of

log = logs.get(__name__)
FOLDS = 2
MIN_ROWS = 1_000
"""Fewest rows before the first evaluated fold on which a search says anything."""
SECONDS_PER_CELL = 5e-9
"""What a tree takes for one feature of one row, about."""
WORTHWHILE_GAIN = 0.001
"""Gain in distribution skill below which the defaults stay."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What the search may spend.

    Attributes:
        trials: How many trials, the defaults' included: the same on every machine; below 2 nothing is searched.
        max_seconds: Most work, as seconds of an ordinary core: reckoned from rows, features and trees, never measured, so
            that a search ends after the same trial on every machine. The trial that passes it is the last.
    """

    trials: int = 10
    max_seconds: float = 300.0


def search(
    sample: Sample, recipe: Recipe, budget: Budget, on_trial: Callable[[float], None] = lambda _best: None
) -> Parameters:
    """Returns the best hyper-parameters found.

    Args:
        sample: The rows that may be looked at.
        recipe: The kind, threads and seed.
        budget: What may be spent.
        on_trial: Called after each trial with the best skill so far.
    """
    kind, rows = kind_of(recipe.kind), len(sample.table)
    defaults = kind.defaults()
    if budget.trials < 2 or rows < MIN_ROWS or not defaults:
        return defaults
    folds = walkforward.splits(rows, FOLDS, first=rows // 2)

    def objective(trial: optuna.Trial) -> float:
        result = walkforward.evaluate(sample, folds, replace(recipe, parameters=kind.suggest(trial)))
        return result.pooled().scores().distribution_skill

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=recipe.compute.seed))
    study.enqueue_trial(dict(defaults))

    def after(study: optuna.Study, _trial: optuna.trial.FrozenTrial) -> None:
        on_trial(study.best_value)
        if sum(_seconds(sample, trial.params) for trial in study.trials) >= budget.max_seconds:
            study.stop()

    study.optimize(objective, n_trials=budget.trials, callbacks=[after])
    if len(study.trials) < budget.trials:
        log.warning(
            "search ended within its budget of work; raise training.maxSeconds for more trials",
            reckoned_seconds=budget.max_seconds,
            trials=len(study.trials),
            wanted=budget.trials,
        )
    default = study.trials[0].value or 0.0
    if study.best_value - default < WORTHWHILE_GAIN:
        return defaults
    return study.best_params


def _seconds(sample: Sample, parameters: Parameters) -> float:
    """Returns what a trial costs on an ordinary core, about."""
    return FOLDS * len(sample.table) * len(sample.table.names) * parameters.get("trees", 1) * SECONDS_PER_CELL
