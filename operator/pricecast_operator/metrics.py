"""The operator's own metrics, at `/metrics` of its health port."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

API_WRITES = Counter("pricecast_operator_api_writes_total", "Writes to the API server", ["verb", "kind"])
RECONCILES = Counter("pricecast_operator_reconciles_total", "Reconciles, by outcome", ["kind", "outcome"])
RECONCILE_SECONDS = Histogram(
    "pricecast_operator_reconcile_seconds",
    "Time of one reconcile",
    ["kind"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60),
)
LOOK_SECONDS = Histogram(
    "pricecast_operator_look_seconds",
    "Time of one look at a server, for all pipelines that use it; also of one that was given up",
    ["at"],
    buckets=(0.1, 0.5, 1, 2, 5, 11, 30),
)
QUEUE = Gauge("pricecast_operator_queue_length", "Resources that wait for a reconcile")
READY = Gauge("pricecast_pipeline_ready", "1 while the pipeline's condition Ready is True", ["namespace", "pipeline"])
LAG = Gauge("pricecast_pipeline_lag_messages", "Messages not yet read, all services", ["namespace", "pipeline"])
SKILL = Gauge(
    "pricecast_pipeline_distribution_skill", "Smallest skill of the models in production", ["namespace", "pipeline"]
)
PREDICTED_AT = Gauge(
    "pricecast_pipeline_last_prediction_seconds",
    "Market time of the newest prediction, Unix",
    ["namespace", "pipeline"],
)
FINETUNE_STEP = Gauge("pricecast_finetunejob_step", "Step reached", ["namespace", "job"])
FINETUNE_LOSS = Gauge("pricecast_finetunejob_loss", "Training loss of the newest step", ["namespace", "job"])
FINETUNE_F1 = Gauge("pricecast_finetunejob_f1_ratio", "F1 on the held-out headlines", ["namespace", "job", "stage"])


def forget(namespace: str, name: str, *gauges: Gauge) -> None:
    """Takes what gauges say of a resource that is gone out of them; its name is their second label."""
    for gauge in gauges:
        gauge.remove_by_labels(dict(zip(gauge._labelnames, (namespace, name), strict=False)))
