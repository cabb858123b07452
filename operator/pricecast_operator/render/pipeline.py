"""From a plan to the Kubernetes objects that make it real. Pure: the same plan gives the same objects.

Streams become Deployments. A stream that ends by itself (a replay, an archive) becomes a Job, which a Deployment would
start over for ever; so does the first training. A Job can't be changed, so its name carries a digest of its settings:
new settings are a new Job, and the old one is pruned. Local state lies in an `emptyDir`: the changelog topics give it
back after a restart, a rolling update or a move to another node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pricecast_core import services
from pricecast_core.addresses import Address, of_brokers
from pricecast_core.settings import StreamSettings
from pricecast_core.topics import topic_name
from pricecast_operator.render import labels
from pricecast_operator.render.autoscaling import Scaling, authentication, autoscaler
from pricecast_operator.render.network import egress, metrics_ingress, of_server, of_settings, policy
from pricecast_operator.render.owner import Owner
from pricecast_operator.render.pods import (
    HTTP_PORT,
    STATE_DIR,
    Container,
    Manifest,
    RenderOptions,
    digest,
    pod_monitor,
    pod_template,
    service_account,
    settings_document,
)
from pricecast_resources.base import SecretKeyRef
from pricecast_resources.plan import Access, Plan, ServiceProcess
from pricecast_resources.pods import PodSettings
from pricecast_resources.pricepipeline import PricePipelineSpec

_DATA_DIR = "/data"
_UNKNOWN_DATABASE = Address("", 5432)
"""Where a Secret's URL is not known: PostgreSQL's port, at any address."""
_ISSUER, _UNKNOWN_ISSUER = "KAFKA_TOKEN_URL", Address("", 443)
_STATE = {"STATE_DIR": f"{STATE_DIR}/state"}
_EXIT_NOT_YET, _EXIT_MISCONFIGURED = 75, 78


@dataclass(frozen=True)
class Pipeline:
    """What rendering needs to know of a pipeline.

    Attributes:
        owner: The PricePipeline.
        spec: Its spec.
        plan: Its plan.
        databases: Where the URLs in Secrets lead, as far as known.
        secret_versions: Version of each Secret that it uses, by name: another one makes pods anew.
    """

    owner: Owner
    spec: PricePipelineSpec
    plan: Plan
    databases: Mapping[SecretKeyRef, Address] = field(default_factory=dict)
    secret_versions: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def documents(self) -> dict[str, dict[str, str]]:
        """The data of each process's ConfigMap, by its name: dumping settings is the costly part of rendering."""
        return {process.name: settings_document(process.settings) for process in self.plan.processes}


def render(pipeline: Pipeline, options: RenderOptions) -> list[Manifest]:
    """Returns all objects of a pipeline, in the order in which they are to be applied."""
    return [*_foundations(pipeline, options), *_workloads(pipeline, options)]


def _foundations(pipeline: Pipeline, options: RenderOptions) -> Iterator[Manifest]:
    owner, name = pipeline.owner, pipeline.owner.name
    common = labels.of_pipeline(name)
    everything = {labels.PIPELINE: name}
    yield policy(owner.metadata(f"{name}-default-deny", common), everything, [], [])
    for service, processes in _by_service(pipeline.plan).items():
        metadata = owner.metadata(f"{name}-{service}", {**common, labels.SERVICE: service})
        accounts = [_asked(pipeline, process).service_account for process in processes]
        if not all(account.name for account in accounts):
            yield service_account(
                metadata, {key: value for each in accounts for key, value in each.annotations.items()}
            )
        yield policy(
            metadata,
            {**everything, labels.SERVICE: service},
            egress(each for process in processes for each in _destinations(process, pipeline)),
            metrics_ingress(HTTP_PORT, options.metrics_namespaces),
        )
    for config_map, data in _config_maps(pipeline).items():
        yield {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": owner.metadata(config_map, common),
            "data": data,
        }
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owner.metadata(f"{name}-metrics", common),
        "spec": {
            "clusterIP": "None",
            "selector": everything,
            "ports": [{"name": "http", "port": HTTP_PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }
    yield {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": owner.metadata(name, common),
        # A drain takes one stream after the other. Trainings are Jobs: they begin again by themselves.
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {**everything, labels.KIND: "stream"}}},
    }
    if options.pod_monitors:
        yield pod_monitor(owner.metadata(name, common), everything)


def _workloads(pipeline: Pipeline, options: RenderOptions) -> Iterator[Manifest]:
    scaled = any(scales_itself(process, pipeline.spec) for process in pipeline.plan.processes)
    if scaled and options.scaled_objects and pipeline.spec.storage.kafka.secrets:
        metadata = pipeline.owner.metadata(_authentication_name(pipeline), labels.of_pipeline(pipeline.owner.name))
        yield authentication(metadata, pipeline.spec.storage.kafka)
    for process in pipeline.plan.processes:
        if process.kind == "schedule":
            yield _cron_job(pipeline, process, options)
        elif is_job(process):
            if _queue(pipeline, process) and pipeline.spec.suspend:
                continue  # Kueue alone starts and stops it: while it is to stand still there is none
            yield _job(pipeline, process, options)
        else:
            yield _deployment(pipeline, process, options)
            if scales_itself(process, pipeline.spec):
                yield autoscaler(_scaling(pipeline, process), by_lag=options.scaled_objects)


def is_job(process: ServiceProcess) -> bool:
    """Returns whether a process runs to its end, once."""
    return process.kind == "job" or process.finite


def object_name(pipeline: Pipeline, process: ServiceProcess) -> str:
    """Returns the name of a process's Deployment, Job or CronJob."""
    name = f"{pipeline.owner.name}-{process.name}"
    return f"{name}-{digest([_settings(pipeline, process), process.service.args])}" if is_job(process) else name


def replicas(process: ServiceProcess, spec: PricePipelineSpec) -> int:
    """Returns how many pods a stream gets: no more than there are partitions to share, none while suspended."""
    if spec.suspend:
        return 0
    if not process.service.scalable:
        return 1 if process.override.replicas is None else min(process.override.replicas, 1)
    return min(spec.wanted_replicas(process.name)[0], spec.partitions)


def scales_itself(process: ServiceProcess, spec: PricePipelineSpec) -> bool:
    """Returns whether a stream's replicas are an autoscaler's to set; none while suspended."""
    return process.override.autoscaling is not None and process.service.scalable and not spec.suspend


def _deployment(pipeline: Pipeline, process: ServiceProcess, options: RenderOptions) -> Manifest:
    selector = {labels.PIPELINE: pipeline.owner.name, labels.PROCESS: process.name}
    # Two readers of one market would fence each other; those who share a consumer group take over before the old end.
    strategy: Manifest = (
        {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        if not process.service.alone
        else {"type": "Recreate"}
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": pipeline.owner.metadata(object_name(pipeline, process), _process_labels(pipeline, process)),
        "spec": {
            # Left to its autoscaler, where it has one: two who set it would undo each other's.
            **({} if scales_itself(process, pipeline.spec) else {"replicas": replicas(process, pipeline.spec)}),
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": 600,
            "strategy": strategy,
            "selector": {"matchLabels": selector},
            "template": _pods(pipeline, process, options),
        },
    }


def _scaling(pipeline: Pipeline, process: ServiceProcess) -> Scaling:
    asked = process.override.autoscaling
    assert asked is not None
    name = object_name(pipeline, process)
    return Scaling(
        metadata=pipeline.owner.metadata(name, _process_labels(pipeline, process)),
        deployment=name,
        least=min(asked.min_replicas, pipeline.spec.partitions),
        most=min(asked.max_replicas, pipeline.spec.partitions),
        kafka=pipeline.spec.storage.kafka,
        group=f"{pipeline.plan.pipeline}.{process.service.group}",
        topics=tuple(topic_name(pipeline.plan.pipeline, topic) for topic in process.service.reads),
        authentication=_authentication_name(pipeline),
        lag=asked.lag_threshold,
        cpu_percent=asked.cpu_percent,
    )


def _authentication_name(pipeline: Pipeline) -> str:
    return f"{pipeline.owner.name}-kafka"


def _job(pipeline: Pipeline, process: ServiceProcess, options: RenderOptions) -> Manifest:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": pipeline.owner.metadata(
            object_name(pipeline, process), {**_process_labels(pipeline, process), **_queue(pipeline, process)}
        ),
        "spec": {
            **_job_spec(backoff_limit=100 if process.finite else 6),
            **({} if _queue(pipeline, process) else {"suspend": pipeline.spec.suspend}),
            "template": _pods(pipeline, process, options, restart_policy="Never"),
        },
    }


def _cron_job(pipeline: Pipeline, process: ServiceProcess, options: RenderOptions) -> Manifest:
    object_labels = _process_labels(pipeline, process)
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": pipeline.owner.metadata(object_name(pipeline, process), object_labels),
        "spec": {
            "schedule": process.schedule,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 600,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 1,
            "suspend": pipeline.spec.suspend,
            "jobTemplate": {
                **({"metadata": {"labels": queue}} if (queue := _queue(pipeline, process)) else {}),
                "spec": {
                    **_job_spec(backoff_limit=2),
                    "activeDeadlineSeconds": 86_400,
                    "template": _pods(pipeline, process, options, restart_policy="Never"),
                },
            },
        },
    }


def _job_spec(backoff_limit: int) -> Manifest:
    return {
        "backoffLimit": backoff_limit,
        "podReplacementPolicy": "Failed",  # never two at once
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [_EXIT_NOT_YET]}},
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [_EXIT_MISCONFIGURED]}},
            ]
        },
    }


def _process_labels(pipeline: Pipeline, process: ServiceProcess) -> dict[str, str]:
    return {
        **labels.of_pipeline(pipeline.owner.name),
        labels.SERVICE: process.service.program,
        labels.PROCESS: process.name,
        labels.KIND: "job" if is_job(process) or process.kind == "schedule" else "stream",
        **({labels.SCALABLE: "true"} if process.service.scalable else {}),
    }


def _pods(
    pipeline: Pipeline, process: ServiceProcess, options: RenderOptions, restart_policy: str = "Always"
) -> Manifest:
    mounts, volumes = _data_volume(pipeline.spec, process)
    override = process.override
    return pod_template(
        Container(
            service=process.service.program,
            image=options.image_of(process.service.program, override.image),
            args=process.service.args,
            config_map=_config_map_name(pipeline, process),
            checksum=digest(_settings(pipeline, process)),
            env={**_STATE, **_values(process.access)},
            secrets=process.secrets,
            decided=process.settings.model_fields_set,
            secret_versions=_secret_versions(pipeline, process) if restart_policy == "Always" else "",
            requests=process.service.requests,
            limits=process.service.limits,
            resources=override.resources,
            mounts=mounts,
            volumes=volumes,
            probes=restart_policy == "Always",
            settings=_asked(pipeline, process),
            priority_class=options.training_priority_class if process.kind != "stream" else "",
        ),
        pod_labels=_process_labels(pipeline, process),
        service_account=f"{pipeline.owner.name}-{process.service.program}",
        options=options,
        restart_policy=restart_policy,
    )


def _asked(pipeline: Pipeline, process: ServiceProcess) -> PodSettings:
    """Returns what the spec asks of a process's pods."""
    return pipeline.spec.pods.changed_by(process.override)


def _queue(pipeline: Pipeline, process: ServiceProcess) -> dict[str, str]:
    queue = _asked(pipeline, process).queue_name
    return {labels.QUEUE: queue} if queue else {}


def _data_volume(spec: PricePipelineSpec, process: ServiceProcess) -> tuple[dict[str, str], tuple[Manifest, ...]]:
    replay = spec.source.replay
    if process.service is not services.TRADES or replay is None or not (replay.volume_claim or replay.config_map):
        return {}, ()
    source: Manifest = (
        {"persistentVolumeClaim": {"claimName": replay.volume_claim, "readOnly": True}}
        if replay.volume_claim
        else {"configMap": {"name": replay.config_map}}
    )
    return {"data": _DATA_DIR}, ({"name": "data", **source},)


def _settings(pipeline: Pipeline, process: ServiceProcess) -> dict[str, Any]:
    """Returns all that a process is told, with references instead of secrets."""
    access = {
        name: [value.name, value.key] if isinstance(value, SecretKeyRef) else value
        for name, value in process.access.items()
    }
    return {"document": pipeline.documents[process.name], "access": access}


def _secret_versions(pipeline: Pipeline, process: ServiceProcess) -> str:
    """Returns a name for the versions of the Secrets that a process reads as it starts; empty if it reads none."""
    names = sorted({ref.name for ref in process.secrets.values()})
    return digest([[name, pipeline.secret_versions.get(name, "")] for name in names]) if names else ""


def _values(access: Access) -> dict[str, str]:
    return {name: value for name, value in access.items() if isinstance(value, str)}


def _config_map_name(pipeline: Pipeline, process: ServiceProcess) -> str:
    """Returns the ConfigMap of a process: named after the first stream that is told the same."""
    same = [
        other
        for other in pipeline.plan.processes
        if other.service.program == process.service.program
        and pipeline.documents[other.name] == pipeline.documents[process.name]
    ]
    first = next((other for other in same if other.kind == "stream"), same[0])
    return f"{pipeline.owner.name}-{first.name}"


def _config_maps(pipeline: Pipeline) -> dict[str, dict[str, str]]:
    return {
        _config_map_name(pipeline, process): pipeline.documents[process.name] for process in pipeline.plan.processes
    }


def _by_service(plan: Plan) -> dict[str, list[ServiceProcess]]:
    services: dict[str, list[ServiceProcess]] = {}
    for process in plan.processes:
        services.setdefault(process.service.program, []).append(process)
    return services


def _destinations(process: ServiceProcess, pipeline: Pipeline) -> Iterator[Address]:
    """Yields whom a process talks to, as its settings say."""
    settings = process.settings
    if isinstance(settings, StreamSettings):
        yield from of_brokers(settings.kafka_brokers, "kafka_brokers")
    for name, value in process.access.items():
        if isinstance(value, SecretKeyRef):
            if name.endswith("_URL"):
                yield pipeline.databases.get(value, _UNKNOWN_ISSUER if name == _ISSUER else _UNKNOWN_DATABASE)
        elif name.endswith("_URL") and value:
            yield of_server(value, name.lower())
    yield from of_settings(settings)
