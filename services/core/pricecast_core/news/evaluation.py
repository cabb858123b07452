"""How well a reader of headlines agrees with the labels.

The measure is micro F1 over (coin, signal): a right pair counts once, a wrong sign is both a false and a missed one.
An answer outside the schema counts as no answer. F1 is also given per signal, because a reader that says 1 of
everything scores well on the whole and is useless on bad news.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from pricecast_core.news.lexicon import Signal


class Scores(msgspec.Struct, frozen=True):
    """What a reader reached on labelled headlines. All but the counts and the speed lie between 0 and 1."""

    f1: float
    precision: float
    recall: float
    f1_by_signal: dict[str, float]
    exact_match: float
    valid: float
    headlines: int
    headlines_per_second: float = 0.0


def score(results: Iterable[tuple[Mapping[str, Signal], Mapping[str, Signal] | None]], seconds: float = 0.0) -> Scores:
    """Returns the scores.

    Args:
        results: For each headline the right signals, and the reader's, or None where it gave no valid answer.
        seconds: How long the reader took for all of them; 0 where it wasn't measured.
    """
    hits = dict.fromkeys((-1, 0, 1), 0)
    given = dict.fromkeys((-1, 0, 1), 0)
    wanted = dict.fromkeys((-1, 0, 1), 0)
    headlines = exact = valid = 0
    for right, answer in results:
        headlines += 1
        valid += answer is not None
        exact += answer is not None and dict(answer) == dict(right)
        for signal in right.values():
            wanted[signal] += 1
        for coin, signal in (answer or {}).items():
            given[signal] += 1
            hits[signal] += right.get(coin) == signal
    total_hits, total_given, total_wanted = sum(hits.values()), sum(given.values()), sum(wanted.values())
    return Scores(
        f1=_f1(total_hits, total_given, total_wanted),
        precision=_ratio(total_hits, total_given),
        recall=_ratio(total_hits, total_wanted),
        f1_by_signal={str(signal): _f1(hits[signal], given[signal], wanted[signal]) for signal in (-1, 0, 1)},
        exact_match=_ratio(exact, headlines),
        valid=_ratio(valid, headlines),
        headlines=headlines,
        headlines_per_second=round(headlines / seconds, 2) if seconds else 0.0,
    )


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 1.0


def _f1(hits: int, given: int, wanted: int) -> float:
    return round(2 * hits / (given + wanted), 4) if given + wanted else 1.0
