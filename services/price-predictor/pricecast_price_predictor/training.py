"""From a table of features to a judged model: search, walk-forward evaluation, final fit. Pure but for the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pricecast_price_predictor import model, tuning, walkforward
from pricecast_price_predictor.evaluation import Scores
from pricecast_price_predictor.model import PriceModel, Recipe
from pricecast_price_predictor.models.base import Compute, Parameters, Sample
from pricecast_price_predictor.models.kinds import DEFAULT
from pricecast_price_predictor.tuning import Budget
from pricecast_price_predictor.walkforward import WalkForward


@dataclass(frozen=True, slots=True)
class Options:
    """What training may spend and how it judges.

    Attributes:
        search: Budget of the search.
        folds: Folds of the evaluation.
        compute: Threads and seed.
        kind: The model kind.
    """

    search: Budget = field(default_factory=Budget)
    folds: int = 4
    compute: Compute = field(default_factory=Compute)
    kind: str = DEFAULT


@dataclass(frozen=True, slots=True)
class Trained:
    """A model and what the walk-forward evaluation says of the way it was made.

    Attributes:
        model: Fitted on all rows.
        evaluation: The folds.
        scores: Over all folds.
        parameters: The hyper-parameters used.
    """

    model: PriceModel
    evaluation: WalkForward
    scores: Scores
    parameters: Parameters

    @property
    def beats_naive(self) -> bool:
        """Whether the distribution beat the naive one out of sample: the condition of promotion."""
        return self.scores.rows > 0 and self.scores.distribution_skill > 0

    @property
    def verdict(self) -> str:
        """Why it is promoted or not, in a sentence for people."""
        scores = self.scores
        beats = "beats" if self.beats_naive else "does not beat"
        point = "the median" if self.model.use_median else "the last close, which the median did not beat"
        return (
            f"its distribution {beats} the naive one out of sample (skill {scores.distribution_skill:+.2%} over "
            f"{scores.rows} rows, coverage {scores.coverage:.1%}); its point forecast is {point}"
        )


def steps(options: Options) -> int:
    """Returns how often `train` calls `on_step`, at most, for a progress bar."""
    return max(0, options.search.trials) + options.folds + 1


def train(sample: Sample, options: Options, on_step: Callable[[str], None] = lambda _text: None) -> Trained:
    """Searches, evaluates and fits.

    Args:
        sample: All rows to learn from.
        options: Budgets.
        on_step: Called after each step with what was done.

    Raises:
        ValueError: If there are too few rows.
    """
    folds = walkforward.splits(len(sample.table), options.folds)
    recipe = Recipe(options.kind, None, options.compute)
    parameters = tuning.search(
        sample.head(folds[0].start), recipe, options.search, lambda best: on_step(f"search: best skill {best:+.2%}")
    )
    recipe = replace(recipe, parameters=parameters)
    evaluation = walkforward.evaluate(sample, folds, recipe, lambda: on_step("walk-forward evaluation"))
    final = model.fit(sample, recipe).judged(use_median=evaluation.use_median, ends=evaluation.ends)
    on_step("final fit")
    return Trained(final, evaluation, evaluation.pooled().scores(), parameters)
