"""The real API server holds the rules of the CRDs and says which field is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from tests.contracts.manifests import BAD, FINETUNE, PIPELINE, Bad
from tests.e2e.kube import Kube

pytestmark = pytest.mark.usefixtures("crds")


def refusal(kube: Kube, manifest: dict[str, Any], namespace: str = "default", dry_run: bool = True) -> str:
    with pytest.raises(ApiException) as refused:
        kube.apply(manifest, namespace, dry_run=dry_run)
    assert refused.value.status in (400, 422, 500)  # 500: a type that server-side apply can't even convert
    return str(refused.value.body)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.id)
def test_bad_manifest_is_refused_naming_the_field(kube: Kube, bad: Bad) -> None:
    told = refusal(kube, bad.manifest())
    assert bad.field in told or bad.field.rpartition(".")[2] in told, told


def test_unknown_field_is_refused(kube: Kube) -> None:
    manifest = {**PIPELINE, "spec": {**PIPELINE["spec"], "pears": ["BTC/USD"]}}
    assert "pears" in refusal(kube, manifest)


@pytest.mark.parametrize("name", ["a" * 41, "1btc", "btc.usd"])
def test_name_that_objects_could_not_have_is_refused(kube: Kube, name: str) -> None:
    assert "metadata.name" in refusal(kube, {**PIPELINE, "metadata": {"name": name}})


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
