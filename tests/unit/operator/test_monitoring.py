"""Dashboards and alerts ask for nothing that the code doesn't measure, and ask for it rightly."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

import pricecast_core.metrics
import pricecast_operator.metrics
from pricecast_operator.generate import files
from pricecast_operator.monitoring.query import mean, quantile, rate, series

METRICS = {
    metric._name: metric
    for module in (pricecast_core.metrics, pricecast_operator.metrics)
    for metric in vars(module).values()
    if isinstance(metric, MetricWrapperBase)
}
SUFFIXES = {"counter": {"_total"}, "histogram": {"_bucket", "_sum", "_count"}, "gauge": {""}}
TEXTS = {
    path.name: json.dumps(yaml.safe_load(text))  # without comments
    for path, text in files().items()
    if path.parent.name in ("dashboards", "alerts")
}


def exposed() -> set[str]:
    """Returns every name under which Prometheus finds one of our metrics."""
    return {name + suffix for name, metric in METRICS.items() for suffix in SUFFIXES[metric._type]}


def panels() -> Iterator[dict[str, Any]]:
    for name, text in TEXTS.items():
        if name.endswith(".json"):
            yield from (panel for panel in json.loads(text)["panels"] if panel["type"] != "row")


def test_there_are_dashboards_and_alerts() -> None:
    assert TEXTS.keys() == {"pipeline.json", "system.json", "alerts.yaml"}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_every_metric_that_is_named_exists(text: str) -> None:
    named = set(re.findall(r"\bpricecast_[a-z0-9_]+", text))
    assert named
    assert named <= exposed()


def test_the_pipeline_dashboard_shows_what_matters() -> None:
    shown = set(re.findall(r"\bpricecast_[a-z0-9_]+", TEXTS["pipeline.json"]))
    assert shown >= {
        "pricecast_pipeline_ready",
        "pricecast_pipeline_lag_messages",
        "pricecast_consumer_lag_messages",
        "pricecast_messages_out_total",
        "pricecast_predictions_total",
        "pricecast_live_distribution_skill",
        "pricecast_live_interval_coverage_ratio",
        "pricecast_dead_letters_total",
        "pricecast_store_seconds_bucket",
    }


def test_panels_are_described_by_their_metrics_and_do_not_overlap() -> None:
    for panel in panels():
        assert len(panel["description"]) > 10, panel["title"]
    for name in ("pipeline.json", "system.json"):
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(TEXTS[name])["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < 24
            taken |= cells


def test_alerts_say_what_to_do() -> None:
    (group,) = yaml.safe_load(TEXTS["alerts.yaml"])["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names)
    for rule in group["rules"]:
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_a_label_that_a_metric_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="no label horizon"):
        rate(pricecast_core.metrics.MESSAGES_IN, ["horizon"])
    with pytest.raises(ValueError, match="no label pair"):
        series(pricecast_core.metrics.MESSAGES_IN, 'pair="BTC/USD"')


def test_a_histogram_is_asked_for_its_series_and_others_are_not() -> None:
    with pytest.raises(ValueError, match="bucket"):
        series(pricecast_core.metrics.API_SECONDS)
    with pytest.raises(ValueError, match="bucket"):
        series(pricecast_core.metrics.API_REQUESTS, suffix="sum")


def test_queries() -> None:
    metrics = pricecast_core.metrics
    assert rate(metrics.MESSAGES_IN, ["topic"], over="5m") == "sum by (topic) (rate(pricecast_messages_in_total[5m]))"
    assert quantile(metrics.API_SECONDS, 0.99, ["protocol"], over="5m") == (
        "histogram_quantile(0.99, sum by (le, protocol) (rate(pricecast_api_seconds_bucket[5m])))"
    )
    assert mean(metrics.API_SECONDS, ["protocol"], over="5m") == (
        "sum by (protocol) (rate(pricecast_api_seconds_sum[5m])) / sum by (protocol) (rate(pricecast_api_seconds_count[5m]))"
    )
