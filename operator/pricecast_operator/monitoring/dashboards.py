"""Grafana's dashboards, as data: a panel is a title, a unit and what it asks of Prometheus. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client.metrics import MetricWrapperBase

from pricecast_core import metrics as m
from pricecast_operator import metrics as o
from pricecast_operator.monitoring.query import mean, newest, quantile, rate, series

Json = dict[str, Any]

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS, _HEIGHT = 24, 8
_IN_NAMESPACE = 'namespace="$namespace"'
_OF_PIPELINE = f'{_IN_NAMESPACE},pipeline="$pipeline"'


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: Its title.
        unit: Unit of its values, as Grafana calls it.
        queries: Queries with their legends.
        about: The metrics that it shows: what they say of themselves is the panel's description.
        kind: A line over time, or the newest value as a figure.
        width: Columns of 24.
        low: Value below which a figure is red; None where no value is bad.
    """

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    about: Sequence[MetricWrapperBase]
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = 8
    low: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: Sequence[Panel]


def _figure(title: str, unit: str, query: str, about: MetricWrapperBase, low: float | None = None) -> Panel:
    return Panel(title, unit, [(query, "")], [about], kind="stat", width=4, low=low)


def _of_horizon(title: str, unit: str, metric: MetricWrapperBase) -> Panel:
    query = newest(metric, ["pair", "horizon"], _OF_PIPELINE)
    return Panel(title, unit, [(query, "{{pair}} {{horizon}} s")], [metric])


_PIPELINE_ROWS = (
    Row(
        "Now",
        (
            _figure("Ready", "bool_yes_no", series(o.READY, _OF_PIPELINE), o.READY, low=1),
            _figure("Skill of the model", "percentunit", series(o.SKILL, _OF_PIPELINE), o.SKILL, low=0),
            _figure(
                "Live skill",
                "percentunit",
                f"min({series(m.LIVE_DISTRIBUTION_SKILL, _OF_PIPELINE)})",
                m.LIVE_DISTRIBUTION_SKILL,
                low=0,
            ),
            _figure("Lag", "short", series(o.LAG, _OF_PIPELINE), o.LAG),
            _figure("Newest prediction", "s", f"time() - {series(o.PREDICTED_AT, _OF_PIPELINE)}", o.PREDICTED_AT),
            _figure(
                "Dead letters of the hour",
                "short",
                f"sum(increase({series(m.DEAD_LETTERS, _OF_PIPELINE)}[1h])) or vector(0)",
                m.DEAD_LETTERS,
            ),
        ),
    ),
    Row(
        "Streams",
        (
            Panel(
                "Candles a second",
                "cps",
                [(rate(m.MESSAGES_OUT, ["topic"], f'{_OF_PIPELINE},topic=~".+[.]candles"'), "{{topic}}")],
                [m.MESSAGES_OUT],
            ),
            Panel(
                "Messages written",
                "cps",
                [(rate(m.MESSAGES_OUT, ["topic"], _OF_PIPELINE), "{{topic}}")],
                [m.MESSAGES_OUT],
            ),
            Panel(
                "Messages read",
                "cps",
                [(rate(m.MESSAGES_IN, ["service"], _OF_PIPELINE), "{{service}}")],
                [m.MESSAGES_IN],
            ),
            Panel(
                "Lag",
                "short",
                [(f"sum by (service) ({series(m.CONSUMER_LAG, _OF_PIPELINE)})", "{{service}}")],
                [m.CONSUMER_LAG],
            ),
            Panel(
                "Behind the clock",
                "s",
                [(f"time() - {newest(m.EVENT_TIME, ['service'], _OF_PIPELINE)}", "{{service}}")],
                [m.EVENT_TIME],
            ),
            Panel(
                "Dead letters",
                "cps",
                [(rate(m.DEAD_LETTERS, ["service", "reason"], _OF_PIPELINE), "{{service}}: {{reason}}")],
                [m.DEAD_LETTERS],
            ),
            Panel(
                "The exchange",
                "cps",
                [
                    (rate(m.TRADES_RECONNECTS, ["source"], _OF_PIPELINE), "reconnects"),
                    (rate(m.TRADES_REST_RETRIES, ["reason"], _OF_PIPELINE), "retries: {{reason}}"),
                    (rate(m.TRADES_GAPS, ["pair", "end"], _OF_PIPELINE), "gaps: {{pair}} {{end}}"),
                    (rate(m.TRADES_DUPLICATES, ["pair"], _OF_PIPELINE), "duplicates: {{pair}}"),
                ],
                [m.TRADES_RECONNECTS, m.TRADES_REST_RETRIES, m.TRADES_GAPS, m.TRADES_DUPLICATES],
            ),
            Panel(
                "Late trades and quiet windows",
                "cps",
                [
                    (rate(m.LATE_TRADES, ["pair"], _OF_PIPELINE), "late: {{pair}}"),
                    (rate(m.FLAT_CANDLES, ["pair"], _OF_PIPELINE), "flat: {{pair}}"),
                ],
                [m.LATE_TRADES, m.FLAT_CANDLES],
            ),
            Panel(
                "Stores: 99 of 100 calls take less than",
                "s",
                [
                    (
                        quantile(m.STORE_SECONDS, 0.99, ["service", "operation"], _OF_PIPELINE),
                        "{{service}} {{operation}}",
                    )
                ],
                [m.STORE_SECONDS],
            ),
        ),
    ),
    Row(
        "Forecasts",
        (
            Panel(
                "Predictions",
                "cps",
                [(rate(m.PREDICTIONS, ["pair", "horizon", "model"], _OF_PIPELINE), "{{pair}} {{horizon}} s {{model}}")],
                [m.PREDICTIONS],
            ),
            Panel(
                "Scored against what happened",
                "cps",
                [(rate(m.SCORED, ["pair", "horizon"], _OF_PIPELINE), "{{pair}} {{horizon}} s")],
                [m.SCORED],
            ),
            _of_horizon("Version served", "short", m.MODEL_VERSION),
            _of_horizon("Live skill of the distribution", "percentunit", m.LIVE_DISTRIBUTION_SKILL),
            _of_horizon("Live skill of the point forecast", "percentunit", m.LIVE_POINT_SKILL),
            _of_horizon("Coverage of the 80% interval", "percentunit", m.LIVE_COVERAGE),
        ),
    ),
    Row(
        "News",
        (
            Panel(
                "Headlines",
                "cps",
                [
                    (rate(m.NEWS_READ, ["source"], _OF_PIPELINE), "read: {{source}}"),
                    (rate(m.NEWS_DUPLICATES, ["source"], _OF_PIPELINE), "seen before: {{source}}"),
                    (rate(m.NEWS_SIGNALS_CACHED, ["model"], _OF_PIPELINE), "from the cache: {{model}}"),
                ],
                [m.NEWS_READ, m.NEWS_DUPLICATES, m.NEWS_SIGNALS_CACHED],
            ),
            Panel(
                "The model's answers",
                "s",
                [
                    (quantile(m.NEWS_MODEL_SECONDS, 0.5, ["model"], _OF_PIPELINE), "half of them, {{model}}"),
                    (quantile(m.NEWS_MODEL_SECONDS, 0.95, ["model"], _OF_PIPELINE), "95 of 100, {{model}}"),
                ],
                [m.NEWS_MODEL_SECONDS],
            ),
            Panel(
                "Errors",
                "cps",
                [
                    (rate(m.NEWS_SOURCE_ERRORS, ["source"], _OF_PIPELINE), "source: {{source}}"),
                    (rate(m.NEWS_MODEL_ERRORS, ["model", "reason"], _OF_PIPELINE), "{{model}}: {{reason}}"),
                ],
                [m.NEWS_SOURCE_ERRORS, m.NEWS_MODEL_ERRORS],
            ),
        ),
    ),
)
_SYSTEM_ROWS = (
    Row(
        "Prediction API",
        (
            Panel(
                "Answers",
                "reqps",
                [(rate(m.API_REQUESTS, ["protocol", "code"]), "{{protocol}} {{code}}")],
                [m.API_REQUESTS],
            ),
            Panel(
                "Time to answer",
                "s",
                [
                    (quantile(m.API_SECONDS, 0.5, ["protocol"]), "half of them, {{protocol}}"),
                    (quantile(m.API_SECONDS, 0.99, ["protocol"]), "99 of 100, {{protocol}}"),
                ],
                [m.API_SECONDS],
            ),
            Panel("Watchers", "short", [(f"sum({series(m.API_WATCHERS)})", "callers")], [m.API_WATCHERS]),
        ),
    ),
    Row(
        "Operator",
        (
            Panel(
                "Pipelines",
                "short",
                [(f"sum({series(o.READY)})", "ready"), (f"count({series(o.READY)})", "all")],
                [o.READY],
            ),
            Panel(
                "Reconciles", "cps", [(rate(o.RECONCILES, ["kind", "outcome"]), "{{kind}} {{outcome}}")], [o.RECONCILES]
            ),
            Panel(
                "Time of a reconcile",
                "s",
                [
                    (mean(o.RECONCILE_SECONDS, ["kind"]), "mean, {{kind}}"),
                    (quantile(o.RECONCILE_SECONDS, 0.99, ["kind"]), "99 of 100, {{kind}}"),
                ],
                [o.RECONCILE_SECONDS],
            ),
            Panel(
                "Writes to the API server",
                "cps",
                [(rate(o.API_WRITES, ["verb", "kind"]), "{{verb}} {{kind}}")],
                [o.API_WRITES],
            ),
            Panel("Waiting", "short", [(series(o.QUEUE), "resources")], [o.QUEUE]),
            Panel("Lag", "short", [(series(o.LAG), "{{namespace}}/{{pipeline}}")], [o.LAG]),
        ),
    ),
    Row(
        "Fine-tuning",
        (
            Panel("Step", "short", [(series(o.FINETUNE_STEP), "{{namespace}}/{{job}}")], [o.FINETUNE_STEP]),
            Panel("Loss", "short", [(series(o.FINETUNE_LOSS), "{{namespace}}/{{job}}")], [o.FINETUNE_LOSS]),
            Panel("F1", "percentunit", [(series(o.FINETUNE_F1), "{{namespace}}/{{job}} {{stage}}")], [o.FINETUNE_F1]),
        ),
    ),
)


def dashboards() -> dict[str, Json]:
    """Returns the dashboards, by name."""
    choices = [
        _choice("namespace", f"label_values({series(o.READY)}, namespace)"),
        _choice("pipeline", f"label_values({series(o.READY, _IN_NAMESPACE)}, pipeline)"),
    ]
    return {
        "pipeline": _dashboard("pricecast-pipeline", "pricecast / Pipeline", _PIPELINE_ROWS, choices),
        "system": _dashboard("pricecast-system", "pricecast / Operator and API", _SYSTEM_ROWS, []),
    }


def _dashboard(uid: str, title: str, rows: Sequence[Row], choices: list[Json]) -> Json:
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    panels = [{"id": number, **panel} for number, panel in enumerate(_laid_out(rows), 1)]
    return {
        "uid": uid,
        "title": title,
        "tags": ["pricecast"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": [source, *choices]},
        "panels": panels,
    }


def _choice(name: str, query: str) -> Json:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
    }


def _laid_out(rows: Sequence[Row]) -> Iterator[Json]:
    """Yields the panels with their places: each row fills lines of 24 columns."""
    top = 0
    for row in rows:
        yield {"type": "row", "title": row.title, "gridPos": {"x": 0, "y": top, "w": _COLUMNS, "h": 1}, "panels": []}
        top, left = top + 1, 0
        height = 4 if row.panels[0].kind == "stat" else _HEIGHT
        for panel in row.panels:
            if left + panel.width > _COLUMNS:
                top, left = top + height, 0
            yield _panel(panel) | {"gridPos": {"x": left, "y": top, "w": panel.width, "h": height}}
            left += panel.width
        top += height


def _panel(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "green" if panel.low is None else "red", "value": None}]
    if panel.low is not None:
        steps.append({"color": "green", "value": panel.low})
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": ". ".join(dict.fromkeys(metric._documentation for metric in panel.about)) + ".",
        "datasource": _SOURCE,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for number, (query, legend) in enumerate(panel.queries)
        ],
    }
