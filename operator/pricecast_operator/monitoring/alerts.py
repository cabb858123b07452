"""Prometheus' alerts, as data: what is asked, for how long it must hold, and what a person does about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pricecast_core import metrics as m
from pricecast_operator import metrics as o
from pricecast_operator.monitoring.query import newest, quantile, rate, series

_PIPELINE = "{{ $labels.namespace }}/{{ $labels.pipeline }}"
_BY_PIPELINE = ["namespace", "pipeline"]
_BY_HORIZON = [*_BY_PIPELINE, "pair", "horizon"]
_OUR_FAULT = 'code=~"INTERNAL|UNKNOWN|UNAVAILABLE"'
_FAILED = 'outcome="failed"'
_HORIZON = f"{_PIPELINE}, {{{{ $labels.pair }}}} in {{{{ $labels.horizon }}}} s"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    Attributes:
        name: Its name.
        query: What must hold.
        holds: For how long.
        severity: How much it matters: whether forecasts fail, or something will want a look.
        summary: What is wrong, in one line.
        description: What to do.
    """

    name: str
    query: str
    holds: str
    severity: Literal["warning", "critical"]
    summary: str
    description: str


ALERTS = (
    Alert(
        "PricecastPipelineNotReady",
        f"{series(o.READY)} == 0",
        "15m",
        "warning",
        f"Pipeline {_PIPELINE} is not ready",
        "kubectl -n {{ $labels.namespace }} describe pp {{ $labels.pipeline }} says why.",
    ),
    Alert(
        "PricecastNoPrediction",
        f"changes({series(o.PREDICTED_AT)}[30m]) == 0 and on (namespace, pipeline) {series(o.READY)} == 1",
        "15m",
        "critical",
        f"Pipeline {_PIPELINE} has made no prediction for 30 minutes",
        "Look at the source (trades' /readyz) and at the lag of each service in the status.",
    ),
    Alert(
        "PricecastPipelineLags",
        f"{series(o.LAG)} > 10000 and delta({series(o.LAG)}[15m]) > 0",
        "15m",
        "warning",
        f"Pipeline {_PIPELINE} falls behind by {{{{ $value }}}} messages",
        "Raise spec.replicas, up to spec.topics.partitions.",
    ),
    Alert(
        "PricecastDeadLetters",
        f"sum by (namespace, pipeline, service, reason) (increase({series(m.DEAD_LETTERS)}[15m])) > 0",
        "0m",
        "warning",
        f"{{{{ $labels.service }}}} of {_PIPELINE} refuses messages: {{{{ $labels.reason }}}}",
        "Read the topic {{ $labels.pipeline }}.dead-letters: it holds each message with its error.",
    ),
    Alert(
        "PricecastWorseThanNaive",
        f"{newest(m.LIVE_DISTRIBUTION_SKILL, _BY_HORIZON)} < 0 and on (namespace, pipeline, pair, horizon)"
        f" {newest(m.MODEL_VERSION, _BY_HORIZON)} > 0",
        "6h",
        "warning",
        f"The model of {_HORIZON} does worse than the naive forecast",
        "The market has changed since it was trained: shorten training.schedule or training.lookback.",
    ),
    Alert(
        "PricecastIntervalIsWrong",
        f"abs({newest(m.LIVE_COVERAGE, _BY_HORIZON)} - 0.8) > 0.15",
        "6h",
        "warning",
        f"{{{{ $value | humanizePercentage }}}} off: the 80% interval of {_HORIZON}",
        "The interval adapts by itself; if it stays off, look at gaps in the trades and train again.",
    ),
    Alert(
        "PricecastModelIsOld",
        f"time() - {newest(m.MODEL_TRAINED_THROUGH, _BY_HORIZON)} > 7 * 86400"
        f" and on (namespace, pipeline, pair, horizon) {newest(m.MODEL_VERSION, _BY_HORIZON)} > 0",
        "1h",
        "warning",
        f"The model of {_HORIZON} has not been renewed for a week",
        "Look at the Jobs of {{ $labels.pipeline }}-retrain, and at `pricecast report` for why none was promoted.",
    ),
    Alert(
        "PricecastStoreFails",
        f"{rate(m.STORE_ERRORS, [*_BY_PIPELINE, 'service', 'operation'], over='10m')} > 0",
        "10m",
        "warning",
        f"{{{{ $labels.service }}}} of {_PIPELINE} can't {{{{ $labels.operation }}}}",
        "Its store refuses or is away; nothing is lost, it goes on from Kafka.",
    ),
    Alert(
        "PricecastNewsModelDown",
        f"{newest(m.NEWS_MODEL_UP, [*_BY_PIPELINE, 'model'])} == 0",
        "15m",
        "warning",
        f"The model {{{{ $labels.model }}}} that reads the news of {_PIPELINE} does not answer",
        "Prices are forecast without news meanwhile.",
    ),
    Alert(
        "PricecastApiFails",
        f"sum(rate({series(m.API_REQUESTS, _OUR_FAULT)}[5m])) / sum(rate({series(m.API_REQUESTS)}[5m])) > 0.05",
        "10m",
        "critical",
        "{{ $value | humanizePercentage }} of the prediction API's answers are errors",
        "Look at its log; UNAVAILABLE means that Elasticsearch does not answer.",
    ),
    Alert(
        "PricecastApiSlow",
        f"{quantile(m.API_SECONDS, 0.99, ['protocol'], over='5m')} > 0.1",
        "10m",
        "warning",
        "One in a hundred answers by {{ $labels.protocol }} takes {{ $value | humanizeDuration }}",
        "Raise predictionApi.replicas, or turn on predictionApi.autoscaling.",
    ),
    Alert(
        "PricecastOperatorDown",
        f"absent({series(o.QUEUE)})",
        "10m",
        "warning",
        "The operator gives no metrics",
        "Pipelines go on, but nothing is repaired and no status is current.",
    ),
    Alert(
        "PricecastOperatorFails",
        f"{rate(o.RECONCILES, ['kind'], _FAILED, over='15m')} > 0",
        "30m",
        "warning",
        "Reconciles of {{ $labels.kind }} fail",
        "Its log names the resource and the reason.",
    ),
)


def rules() -> dict[str, Any]:
    """Returns the spec of a PrometheusRule."""
    return {
        "groups": [
            {
                "name": "pricecast",
                "rules": [
                    {
                        "alert": alert.name,
                        "expr": alert.query,
                        "for": alert.holds,
                        "labels": {"severity": alert.severity},
                        "annotations": {"summary": alert.summary, "description": alert.description},
                    }
                    for alert in ALERTS
                ],
            }
        ]
    }
