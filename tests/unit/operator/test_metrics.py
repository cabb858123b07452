"""The operator's metrics stand beside those of the services, which its libraries bring along."""

import pricecast_core.metrics
import pricecast_operator.metrics


def test_names_do_not_clash() -> None:
    assert pricecast_core.metrics.FINETUNE_STEP is not pricecast_operator.metrics.FINETUNE_STEP


def test_what_is_gone_is_forgotten_and_its_neighbours_are_not() -> None:
    gauge = pricecast_operator.metrics.FINETUNE_F1
    for name in ("gone", "kept"):
        for stage in ("before", "after"):
            gauge.labels("news", name, stage).set(0.5)
    pricecast_operator.metrics.forget("news", "gone", gauge)
    assert {sample.labels["job"] for metric in gauge.collect() for sample in metric.samples} == {"kept"}
    pricecast_operator.metrics.forget("news", "never was", gauge)
    pricecast_operator.metrics.forget("news", "kept", gauge)
