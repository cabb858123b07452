"""PromQL from the metric objects themselves, so that a name or a label that the code doesn't have is an error here."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client.metrics import MetricWrapperBase

SCRAPED = ("namespace", "pipeline", "process", "pod")
"""Labels that a PodMonitor adds to what a pipeline's pods say."""


def series(metric: MetricWrapperBase, matching: str = "", *, suffix: str = "") -> str:
    """Returns the selector of a metric's series.

    Args:
        metric: The metric.
        matching: Label matchers, comma separated, such as `topic=~".+"`.
        suffix: Which series of a histogram: `bucket`, `count` or `sum`.

    Raises:
        ValueError: If a label is none of the metric's, or a histogram's series is not said.
    """
    _check_labels(metric, [each.partition("=")[0].strip("!~ ") for each in matching.split(",") if each])
    if (metric._type == "histogram") != bool(suffix):
        raise ValueError(f"{metric._name}: say bucket, count or sum of a histogram, and of nothing else")
    name = f"{metric._name}_total" if metric._type == "counter" else metric._name
    return f"{name}{'_' if suffix else ''}{suffix}" + (f"{{{matching}}}" if matching else "")


def rate(metric: MetricWrapperBase, by: Sequence[str], matching: str = "", over: str = "$__rate_interval") -> str:
    """Returns how often a counter counts, each second, summed by labels."""
    _check_labels(metric, by)
    return f"sum by ({', '.join(by)}) (rate({series(metric, matching)}[{over}]))"


def quantile(
    metric: MetricWrapperBase, share: float, by: Sequence[str], matching: str = "", over: str = "$__rate_interval"
) -> str:
    """Returns the value that a share of a histogram's observations stays below, by labels."""
    _check_labels(metric, by)
    buckets = f"rate({series(metric, matching, suffix='bucket')}[{over}])"
    return f"histogram_quantile({share:g}, sum by ({', '.join(['le', *by])}) ({buckets}))"


def mean(metric: MetricWrapperBase, by: Sequence[str], over: str = "$__rate_interval") -> str:
    """Returns the mean of a histogram's observations, by labels."""
    _check_labels(metric, by)
    parts = (f"sum by ({', '.join(by)}) (rate({series(metric, suffix=each)}[{over}]))" for each in ("sum", "count"))
    return " / ".join(parts)


def newest(metric: MetricWrapperBase, by: Sequence[str], matching: str = "") -> str:
    """Returns the largest value of a gauge, by labels: of pods that hand over, the one that is further."""
    _check_labels(metric, by)
    return f"max by ({', '.join(by)}) ({series(metric, matching)})"


def _check_labels(metric: MetricWrapperBase, names: Sequence[str]) -> None:
    unknown = set(names) - {*metric._labelnames, *SCRAPED}
    if unknown:
        raise ValueError(f"{metric._name} has no label {', '.join(sorted(unknown))}")
