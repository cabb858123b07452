"""The real API server holds the rules of the CRDs and says which field is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from pricecast_resources.manifest import ManifestError, load_resources
from tests.contracts.manifests import FINETUNE, PIPELINE
from tests.contracts.odd_manifests import ODD, Odd
from tests.e2e.kube import Kube

pytestmark = pytest.mark.usefixtures("crds")


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.id)
def test_verdict_is_that_of_validate(kube: Kube, odd: Odd) -> None:
    """`tests/unit/resources` holds `pricecast validate` to the same list."""
    if not odd.field:
        kube.create(odd.manifest(), "default", dry_run=True)
        return
    with pytest.raises(ApiException) as refused:
        kube.create(odd.manifest(), "default", dry_run=True)
    assert refused.value.status in (400, 422)
    told = json.loads(refused.value.body)["message"]
    assert odd.field.rpartition(".")[2] in told, told


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pairs": ["XBT/USD"]}, "XBT/USD: is Kraken's name; write BTC/USD"),
        ({"features.companionPairs": ["XDG/XBT"]}, "XDG/XBT: is Kraken's name; write DOGE/BTC"),
        ({"indicators": ["rsi(1501)"]}, "'rsi(1501)' takes 1 period of 1 to 1500 candles; write rsi(9)"),
        ({"indicators": ["macd(24,10,9)"]}, "'macd(24,10,9)' has no shorter period before the longer one"),
        ({"indicators": ["rsii(14)"]}, "'rsii' is unknown; "),
        ({"training.schedule": "75 * * * *"}, "'75' is no minute; write 0 to 59, such as 30, 0,30 or */15"),
        ({"training.schedule": "0 0 * * MON,8"}, "'MON,8' is no day of the week; write 0 to 6 or SUN to SAT"),
        (
            {"training.schedule": "@daily"},
            "needs five fields, one space between: minute, hour, day of the month, month",
        ),
        ({"training.schedule": "5-1 * * * *"}, "has a range that doesn't go up; write the earlier end first"),
        ({"training.schedule": "0 0 31 2 *"}, "names a day that its months don't have"),
        ({"/metadata.name": "1inch"}, "write at most 40 of a-z, 0-9 and -, from a letter to a letter or digit"),
    ],
)
def test_refusal_is_in_the_words_of_validate(kube: Kube, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    manifest = Odd(PIPELINE, changes).manifest()
    with pytest.raises(ApiException) as refused:
        kube.create(manifest, "default", dry_run=True)
    assert words in json.loads(refused.value.body)["message"]
    file = tmp_path / "pipeline.yaml"
    file.write_text(json.dumps(manifest))
    with pytest.raises(ManifestError) as told:
        load_resources(file)
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("candles.seconds", {"candles": {"seconds": 30}}),
        ("source.kind", {"source": {"kind": "Simulated"}}),
        ("topics.partitions", {"topics": {"partitions": 1}}),
        ("topics.replicationFactor", {"topics": {"replicationFactor": 3}}),
    ],
)
def test_what_stored_state_depends_on_is_immutable(
    kube: Kube, namespace: str, field: str, change: dict[str, Any]
) -> None:
    kube.apply({**PIPELINE, "spec": {**PIPELINE["spec"], "topics": {"partitions": 2}}}, namespace)
    with pytest.raises(ApiException) as refused:
        kube.patch("PricePipeline", "good", namespace, {"spec": change})
    assert f"spec.{field}" in str(refused.value.body)


def test_other_fields_may_change(kube: Kube, namespace: str) -> None:
    kube.apply(PIPELINE, namespace)
    changed = kube.patch(
        "PricePipeline", "good", namespace, {"spec": {"pairs": ["BTC/USD", "ETH/USD"], "suspend": True}}
    )
    assert changed["spec"]["pairs"] == ["BTC/USD", "ETH/USD"]
    assert changed["spec"]["candles"] == {"seconds": 60, "graceSeconds": 0, "emitOpen": False}


def test_scale_subresource_sets_replicas(kube: Kube, namespace: str) -> None:
    kube.apply(PIPELINE, namespace)
    scale = kube.resource("PricePipeline").subresources["scale"]
    scale.patch(
        name="good", namespace=namespace, body={"spec": {"replicas": 3}}, content_type="application/merge-patch+json"
    )
    assert (kube.get("PricePipeline", "good", namespace) or {})["spec"]["replicas"] == 3


def test_finetune_job_is_immutable_once_started_but_for_suspend_and_ttl(kube: Kube, namespace: str) -> None:
    kube.apply(FINETUNE, namespace)
    kube.patch("FinetuneJob", "good", namespace, {"spec": {"lora": {"rank": 8}}})
    kube.resource("FinetuneJob").status.patch(
        name="good",
        namespace=namespace,
        body={"status": {"startTime": "2026-01-01T00:00:00Z"}},
        content_type="application/merge-patch+json",
    )
    kube.patch("FinetuneJob", "good", namespace, {"spec": {"suspend": True, "ttlAfterFinished": "1d"}})
    for field, value in {"lora": {"rank": 4}, "nodeSelector": {"gpu": "yes"}, "outputs": {"ollama": None}}.items():
        with pytest.raises(ApiException) as refused:
            kube.patch("FinetuneJob", "good", namespace, {"spec": {field: value}})
        assert f"spec.{field}" in str(refused.value.body)
