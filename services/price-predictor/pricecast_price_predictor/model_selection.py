"""From a table of features to a judged model: search, walk-forward evaluation, final fit. Pure but for the clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from pricecast_price_predictor import model, tuning, walkforward
from pricecast_price_predictor.evaluation import Scores
from pricecast_price_predictor.model import PriceModel, Recipe
from pricecast_price_predictor.models.base import Compute, Parameters, Sample
from pricecast_price_predictor.models.kinds import DEFAULT
from pricecast_price_predictor.rivals import Standing, standings
from pricecast_price_predictor.tuning import Budget
from pricecast_price_predictor.walkforward import WalkForward


@dataclass(frozen=True, slots=True)
class Options:
    """What training may spend and how it judges.

    Attributes:
        search: Budget of the search.
        folds: Folds of the evaluation.
        compute: Threads and seed.
        kind: The model kind that is wanted.
        rivals: Kinds that are evaluated beside it; one that is better beyond doubt takes its place.
    """

    search: Budget = field(default_factory=Budget)
    folds: int = 4
    compute: Compute = field(default_factory=Compute)
    kind: str = DEFAULT
    rivals: tuple[str, ...] = ()

    @property
    def contestants(self) -> tuple[str, ...]:
        """All kinds that are evaluated, the wanted one first."""
        return (self.kind, *(kind for kind in self.rivals if kind != self.kind))


@dataclass(frozen=True, slots=True)
class Trained:
    """A model and what the walk-forward evaluation says of the way it was made.

    Attributes:
        model: Fitted on all rows.
        evaluation: The folds.
        scores: Over all folds.
        parameters: The hyper-parameters used.
        table: All kinds on the same rows; the first is the model's.
    """

    model: PriceModel
    evaluation: WalkForward
    scores: Scores
    parameters: Parameters
    table: Sequence[Standing]

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
            f"{scores.rows} rows, coverage {scores.coverage:.1%}); its point forecast is {point}{self._beside_rivals}"
        )

    @property
    def _beside_rivals(self) -> str:
        words = {"ahead": "ahead of", "level": "level with", "behind": "behind"}
        told = [
            f"{words[one.lead.verdict]} {one.kind} ({one.lead.skill * 100:+.2f} points, 95% {one.lead.low * 100:+.2f} "
            f"to {one.lead.high * 100:+.2f})"
            for one in self.table[1:]
        ]
        return f"; {self.model.kind} is {', '.join(told)}" if told else ""


def steps(options: Options) -> int:
    """Returns how often `train` calls `on_step`, at most, for a progress bar."""
    return max(0, options.search.trials) + options.folds * len(options.contestants) + 1


def train(sample: Sample, options: Options, on_step: Callable[[str], None] = lambda _text: None) -> Trained:
    """Searches, evaluates all kinds on the same folds, and fits the one that won.

    Args:
        sample: All rows to learn from.
        options: Budgets.
        on_step: Called after each step with what was done.

    Raises:
        ValueError: If there are too few rows.
    """
    folds = walkforward.splits(len(sample.table), options.folds)
    recipe = Recipe(options.kind, None, options.compute)
    searched = tuning.search(
        sample.head(folds[0].start), recipe, options.search, lambda best: on_step(f"search: best skill {best:+.2%}")
    )
    recipes = {kind: Recipe(kind, None, options.compute) for kind in options.contestants}
    recipes[options.kind] = replace(recipe, parameters=searched)
    evaluations = {
        kind: walkforward.evaluate(sample, folds, how, lambda kind=kind: on_step(f"walk-forward: {kind}"))  # type: ignore[misc]
        for kind, how in recipes.items()
    }
    pooled = {kind: evaluation.pooled() for kind, evaluation in evaluations.items()}
    won = winner(standings(pooled))
    table = standings({won: pooled[won], **pooled})
    evaluation = evaluations[won]
    final = model.fit(sample, recipes[won]).judged(use_median=evaluation.use_median, ends=evaluation.ends)
    on_step("final fit")
    return Trained(final, evaluation, pooled[won].scores(), final.parameters, table)


def winner(table: Sequence[Standing]) -> str:
    """Returns the first kind, unless others are ahead of it beyond doubt: then the best of those."""
    better = [one for one in table[1:] if one.lead.verdict == "behind"]
    return min(better, key=lambda one: one.scores.pinball).kind if better else table[0].kind
