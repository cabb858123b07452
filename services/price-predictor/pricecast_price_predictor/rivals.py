"""Which of several forecasts of the same rows is better, said only where it is.

Losses of neighbouring rows go together, so whole days are drawn anew (a block bootstrap: Kunsch, 1989); where there are
few days, blocks are shorter. A difference counts where its interval leaves out zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pricecast_price_predictor.evaluation import Scores, columns, pinball, score
from pricecast_price_predictor.walkforward import Forecasts
from pricecast_price_predictor.windows import Floats

DRAWS = 1_000
_DAY_MS = 86_400_000
_FEWEST_BLOCKS = 10
_ENDS = (0.025, 0.975)
_SEED = 7


@dataclass(frozen=True, slots=True)
class Lead:
    """How far one forecast is ahead of another, in distribution skill.

    Attributes:
        skill: Difference of the skills; positive is ahead.
        low: Lower end of its 95% interval.
        high: Upper end.
    """

    skill: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """`ahead`, `behind`, or `level` where the rows don't tell."""
        if self.low > 0:
            return "ahead"
        return "behind" if self.high < 0 else "level"


@dataclass(frozen=True, slots=True)
class Standing:
    """One contestant.

    Attributes:
        kind: Its model kind.
        scores: Its scores on the rows that all have forecast.
        lead: Lead of the first contestant over it.
    """

    kind: str
    scores: Scores
    lead: Lead

    def as_dict(self) -> dict[str, Any]:
        """Returns it for JSON."""
        return {"kind": self.kind, **asdict(self.scores), "lead": {**asdict(self.lead), "verdict": self.lead.verdict}}


def standings(contestants: Mapping[str, Forecasts]) -> list[Standing]:
    """Returns how contestants did on the very same rows: those that all have forecast.

    Args:
        contestants: Forecasts of the same rows by kind; the first is compared with each.
    """
    first = next(iter(contestants.values()))
    known = np.isfinite(first.actual) & np.isfinite(first.naive).all(axis=1)
    for forecasts in contestants.values():
        known = known & np.isfinite(forecasts.quantiles).all(axis=1)
    actual, naive, time_ms = first.actual[known], first.naive[known], first.time_ms[known]
    reference = pinball(actual, naive[:, columns(first.levels)]).mean(axis=1)
    leader = pinball(actual, first.interval()[known]).mean(axis=1)
    found = []
    for kind, forecasts in contestants.items():
        loss = pinball(actual, forecasts.interval()[known]).mean(axis=1)
        scores = score(actual, forecasts.quantiles[known], naive, first.levels, first.volatility[known])
        found.append(Standing(kind, scores, lead(leader, loss, reference, time_ms)))
    return found


def lead(loss: Floats, other: Floats, reference: Floats, time_ms: np.ndarray) -> Lead:
    """Returns how far one forecast is ahead of another.

    Args:
        loss: Loss of each row.
        other: The other's loss.
        reference: The naive loss: the unit of skill.
        time_ms: Event time of each row.
    """
    if len(loss) == 0 or reference.sum() <= 0:
        return Lead(0.0, 0.0, 0.0)
    span = int(time_ms[-1] - time_ms[0]) + 1
    block_ms = min(_DAY_MS, max(1, span // _FEWEST_BLOCKS))
    _, block = np.unique((time_ms - time_ms[0]) // block_ms, return_inverse=True)
    ahead = np.bincount(block, other - loss)
    unit = np.bincount(block, reference)
    drawn = np.random.default_rng(_SEED).integers(0, len(ahead), (DRAWS, len(ahead)))
    low, high = np.quantile(ahead[drawn].sum(axis=1) / unit[drawn].sum(axis=1), _ENDS)
    return Lead(float(ahead.sum() / unit.sum()), float(low), float(high))
