"""From a FinetuneJob to its Job and its checkpoints' claim. Pure."""

from __future__ import annotations

from typing import Any

from pricecast_core.services import FINETUNE
from pricecast_core.settings import FinetuneSettings
from pricecast_operator.render import labels
from pricecast_operator.render.network import egress, metrics_ingress, of_settings, policy
from pricecast_operator.render.owner import Owner
from pricecast_operator.render.pods import (
    HTTP_PORT,
    Container,
    Manifest,
    RenderOptions,
    digest,
    pod_template,
    service_account,
    settings_document,
)
from pricecast_resources.base import Resources, SecretKeyRef, seconds
from pricecast_resources.finetunejob import Dataset, FinetuneJobSpec
from pricecast_resources.pods import PodSettings

_CHECKPOINTS, _DATASET, _MODEL = "/checkpoints", "/dataset", "/model"
_ENV = {"HOME": "/tmp", "HF_HOME": f"{_CHECKPOINTS}/.huggingface"}  # noqa: S108 - the pod's own volume
_GRACE_SECONDS = 120
"""Time to write a checkpoint before a suspension or a preemption."""
_EXIT_FINAL = 78
"""A wrong setting, or a model below its bar: to try again would give the same."""


def render_finetune(owner: Owner, spec: FinetuneJobSpec, options: RenderOptions) -> list[Manifest]:
    """Returns all objects of a FinetuneJob, in the order in which they are to be applied.

    With a Kueue queue, it is Kueue that starts and stops the Job; while the spec says suspend there is no Job at all,
    so that the two don't pull at one switch. The checkpoints stay.
    """
    own = labels.of_finetune_job(owner.name)
    settings, secrets = settings_of(owner, spec)
    metadata = owner.metadata(owner.name, own)
    account = spec.pods.service_account
    objects: list[Manifest] = [
        *([] if account.name else [service_account(metadata, account.annotations)]),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": settings_document(settings)},
        policy(
            metadata,
            {labels.FINETUNE_JOB: owner.name},
            egress(of_settings(settings)),
            metrics_ingress(HTTP_PORT, options.metrics_namespaces),
        ),
    ]
    if not spec.checkpoints.claim_name:
        objects.append(_claim(owner, spec, own))
    if not (spec.queue_name and spec.suspend):
        objects.append(_job(owner, spec, options, settings=settings, secrets=secrets))
    return objects


def claim_name(owner: Owner, spec: FinetuneJobSpec) -> str:
    """Returns the PersistentVolumeClaim that holds the checkpoints."""
    return spec.checkpoints.claim_name or f"{owner.name}-checkpoints"


def settings_of(owner: Owner, spec: FinetuneJobSpec) -> tuple[FinetuneSettings, dict[str, SecretKeyRef]]:
    """Returns what the job is told: its settings, and variables by reference to Secrets."""
    trainer, lora, outputs = spec.trainer, spec.lora, spec.outputs
    settings: dict[str, Any] = {
        "pipeline": owner.name,
        "base_model": f"{_MODEL}/{spec.base_model.name}" if spec.base_model.volume_claim else spec.base_model.name,
        "base_model_revision": spec.base_model.revision,
        "held_out": spec.evaluation.fraction,
        "required_f1": spec.evaluation.required_f1,
        "must_improve": spec.evaluation.must_improve,
        "lora_rank": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "lora_target_modules": lora.target_modules,
        "output_dir": f"{_CHECKPOINTS}/{owner.name}",
        "resume": spec.checkpoints.resume,
        "version": owner.uid[:8],  # a retry publishes under the same name
        **({"coins": spec.coins} if spec.coins else {}),
        **_dataset(spec.dataset),
        **trainer.model_dump(),
    }
    secrets: dict[str, SecretKeyRef] = {}
    if spec.base_model.token_secret_ref is not None:
        secrets["HUB_TOKEN"] = spec.base_model.token_secret_ref
    if outputs.ollama is not None:
        settings |= {
            "ollama_url": outputs.ollama.url,
            "ollama_model": outputs.ollama.model,
            "ollama_quantization": outputs.ollama.quantization,
        }
    if outputs.hub is not None:
        settings |= {"hub_repository": outputs.hub.repository, "hub_private": outputs.hub.private}
        secrets["HUB_TOKEN"] = outputs.hub.token_secret_ref
    if outputs.comet is not None:
        settings |= {
            "comet": True,
            "comet_project": outputs.comet.project,
            "comet_workspace": outputs.comet.workspace,
        }
        if outputs.comet.api_key_secret_ref is not None:
            secrets["COMET_API_KEY"] = outputs.comet.api_key_secret_ref
    credentials = spec.dataset.s3.credentials_secret if spec.dataset.s3 is not None else ""
    if credentials:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            secrets[name] = SecretKeyRef(name=credentials, key=name)
    return FinetuneSettings(**settings), secrets


def _dataset(dataset: Dataset) -> dict[str, str]:
    if dataset.config_map is not None:
        return {"dataset": f"{_DATASET}/{dataset.config_map.key}"}
    if dataset.volume is not None:
        return {"dataset": f"{_DATASET}/{dataset.volume.path.lstrip('/')}"}
    if dataset.s3 is not None:
        return {"dataset": dataset.s3.uri, "s3_endpoint": dataset.s3.endpoint}
    assert dataset.hub is not None
    return {
        "dataset": f"hf://{dataset.hub.name}",
        "dataset_split": dataset.hub.split,
        "dataset_revision": dataset.hub.revision,
    }


def _job(
    owner: Owner,
    spec: FinetuneJobSpec,
    options: RenderOptions,
    *,
    settings: FinetuneSettings,
    secrets: dict[str, SecretKeyRef],
) -> Manifest:
    own = labels.of_finetune_job(owner.name)
    volumes, mounts = _volumes(owner, spec)
    gpu = {spec.gpu.resource: str(spec.gpu.count)} if spec.gpu.count else {}
    container = Container(
        service=FINETUNE.program,
        image=options.image_of(FINETUNE.program, spec.image),
        config_map=owner.name,
        checksum=digest(settings_document(settings)),
        env=_ENV,
        secrets=secrets,
        resources=Resources(
            requests={**(spec.resources.requests or FINETUNE.requests), **gpu}, limits={**spec.resources.limits, **gpu}
        ),
        mounts=mounts,
        volumes=tuple(volumes),
        probes=False,
        settings=spec.pods.changed_by(PodSettings(node_selector=spec.node_selector, tolerations=spec.tolerations)),
        decided=settings.model_fields_set,
    )
    queue = {labels.QUEUE: spec.queue_name} if spec.queue_name else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": owner.metadata(owner.name, {**own, **queue}),
        "spec": {
            "backoffLimit": spec.backoff_limit,
            "activeDeadlineSeconds": seconds(spec.deadline),
            "ttlSecondsAfterFinished": seconds(spec.ttl_after_finished),
            "podReplacementPolicy": "Failed",  # never two on one checkpoint
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [_EXIT_FINAL]}},
                ]
            },
            **({} if spec.queue_name else {"suspend": spec.suspend}),
            "template": pod_template(
                container,
                pod_labels=own,
                service_account=owner.name,
                options=options,
                restart_policy="Never",
                grace_seconds=_GRACE_SECONDS,
            ),
        },
    }


def _volumes(owner: Owner, spec: FinetuneJobSpec) -> tuple[list[Manifest], dict[str, str]]:
    volumes = [{"name": "checkpoints", "persistentVolumeClaim": {"claimName": claim_name(owner, spec)}}]
    mounts = {"checkpoints": _CHECKPOINTS}
    if spec.base_model.volume_claim:
        volumes.append(
            {"name": "model", "persistentVolumeClaim": {"claimName": spec.base_model.volume_claim, "readOnly": True}}
        )
        mounts["model"] = _MODEL
    if spec.dataset.config_map is not None:
        volumes.append({"name": "dataset", "configMap": {"name": spec.dataset.config_map.name}})
        mounts["dataset"] = _DATASET
    elif spec.dataset.volume is not None:
        claim = {"claimName": spec.dataset.volume.claim_name, "readOnly": True}
        volumes.append({"name": "dataset", "persistentVolumeClaim": claim})
        mounts["dataset"] = _DATASET
    return volumes, mounts


def _claim(owner: Owner, spec: FinetuneJobSpec, own: dict[str, str]) -> Manifest:
    storage_class = spec.checkpoints.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": owner.metadata(claim_name(owner, spec), own),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": spec.checkpoints.size}},
            **({"storageClassName": storage_class} if storage_class else {}),
        },
    }
