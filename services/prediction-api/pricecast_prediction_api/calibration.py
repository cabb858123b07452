"""How far forecasts can be trusted, from what came of them. Pure: predictions in, the API's message out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from pricecast_core.messages import Prediction
from pricecast_core.stores.scores import Score
from pricecast_prediction_api.convert import timestamp
from pricecast_prediction_api.gen.pricecast.v1 import history_pb2 as pb

_MOST_BUCKETS = 48
_HOUR_MS = 3_600_000
_PARTS = 5


def calibration(pipeline: str, pair: str, horizon_seconds: int, predictions: Iterable[Prediction]) -> pb.Calibration:
    """Returns what the scored ones among some predictions say of the forecasts of their pair and horizon."""
    scored = sorted((p for p in predictions if p.is_scored), key=lambda prediction: prediction.target_time_ms)
    message = pb.Calibration(
        pipeline_id=pipeline, pair=pair, horizon_seconds=horizon_seconds, score=score_message(_total(scored))
    )
    if not scored:
        return message
    message.since.CopyFrom(timestamp(scored[0].target_time_ms))
    message.until.CopyFrom(timestamp(scored[-1].target_time_ms))
    levels = Counter(prediction.levels for prediction in scored if prediction.levels).most_common(1)
    if levels:
        alike = [prediction for prediction in scored if prediction.levels == levels[0][0]]
        message.reliability.extend(_reliability(levels[0][0], alike))
        message.pit.extend(_pit(levels[0][0], alike))
    message.over_time.extend(_over_time(scored))
    message.by_width.extend(_by_width(scored))
    message.by_hour.extend(_by_hour(scored))
    return message


def score_message(score: Score) -> pb.Score:
    """Returns a score as the API gives it."""
    return pb.Score(
        count=score.count,
        coverage=score.coverage,
        distribution_skill=score.distribution_skill,
        point_skill=score.point_skill,
    )


def _total(predictions: Iterable[Prediction]) -> Score:
    score = Score()
    for prediction in predictions:
        score.add(prediction)
    return score


def _reliability(levels: Sequence[float], predictions: Sequence[Prediction]) -> list[pb.Reliability]:
    count = len(predictions)
    below = [sum(_actual(p) < p.quantiles[place] for p in predictions) for place in range(len(levels))]
    return [
        pb.Reliability(level=level, observed=number / count, count=count)
        for level, number in zip(levels, below, strict=True)
    ]


def _pit(levels: Sequence[float], predictions: Sequence[Prediction]) -> list[pb.PitBin]:
    edges = [0.0, *levels, 1.0]
    counts = [0] * (len(edges) - 1)
    for prediction in predictions:
        counts[sum(_actual(prediction) >= quantile for quantile in prediction.quantiles)] += 1
    return [
        pb.PitBin(from_level=start, to_level=end, share=count / len(predictions))
        for (start, end), count in zip(pairwise(edges), counts, strict=True)
    ]


def _over_time(scored: Sequence[Prediction]) -> list[pb.ScoreBucket]:
    first, last = scored[0].target_time_ms, scored[-1].target_time_ms
    step = max(1, -(-(last - first + 1) // min(_MOST_BUCKETS, len(scored))))
    groups: dict[int, list[Prediction]] = defaultdict(list)
    for prediction in scored:
        groups[(prediction.target_time_ms - first) // step].append(prediction)
    buckets = []
    for number, members in sorted(groups.items()):
        bucket = _bucket(number, members)
        bucket.start.CopyFrom(timestamp(first + number * step))
        buckets.append(bucket)
    return buckets


def _by_width(scored: Sequence[Prediction]) -> list[pb.ScoreBucket]:
    ordered = sorted(scored, key=_width)
    ends = [round(len(ordered) * part / _PARTS) for part in range(_PARTS + 1)]
    parts = (ordered[start:end] for start, end in pairwise(ends))
    return [_bucket(number, members) for number, members in enumerate(parts, start=1) if members]


def _by_hour(scored: Sequence[Prediction]) -> list[pb.ScoreBucket]:
    groups: dict[int, list[Prediction]] = defaultdict(list)
    for prediction in scored:
        groups[prediction.target_time_ms // _HOUR_MS % 24].append(prediction)
    return [_bucket(hour, members) for hour, members in sorted(groups.items())]


def _bucket(number: int, members: Sequence[Prediction]) -> pb.ScoreBucket:
    return pb.ScoreBucket(
        number=number,
        mean_width=sum(map(_width, members)) / len(members),
        score=score_message(_total(members)),
        model_versions=sorted({prediction.model_version for prediction in members}),
    )


def _width(prediction: Prediction) -> float:
    return (prediction.upper - prediction.lower) / prediction.last_price


def _actual(prediction: Prediction) -> float:
    assert prediction.actual_price is not None
    return prediction.actual_price
