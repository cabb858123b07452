"""Autoscalers of services that share work: KEDA's by lag where KEDA is installed, Kubernetes' own by CPU else. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pricecast_operator.render.pods import Manifest

_POLL_SECONDS, _COOL_DOWN_SECONDS = 15, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What an autoscaler needs to know.

    Attributes:
        metadata: Metadata of its object.
        deployment: The Deployment that it scales.
        least: Fewest replicas.
        most: Most replicas.
        brokers: Kafka's bootstrap servers.
        group: The consumer group whose lag counts.
        topics: The topics that it reads.
        lag: Unread messages for each replica.
        cpu_percent: CPU in percent of the request.
    """

    metadata: Manifest
    deployment: str
    least: int
    most: int
    brokers: str
    group: str
    topics: tuple[str, ...]
    lag: int
    cpu_percent: int


def autoscaler(scaling: Scaling, *, by_lag: bool) -> Manifest:
    """Returns the autoscaler of a Deployment; `by_lag` is KEDA's, which must be there."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": scaling.deployment}
    if not by_lag:
        cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": scaling.cpu_percent}}
        return {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": scaling.metadata,
            "spec": {
                "scaleTargetRef": target,
                "minReplicas": scaling.least,
                "maxReplicas": scaling.most,
                "metrics": [{"type": "Resource", "resource": cpu}],
            },
        }
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": scaling.metadata,
        "spec": {
            "scaleTargetRef": target,
            "minReplicaCount": scaling.least,
            "maxReplicaCount": scaling.most,
            "pollingInterval": _POLL_SECONDS,
            "cooldownPeriod": _COOL_DOWN_SECONDS,
            "triggers": [
                {
                    "type": "kafka",
                    "metadata": {
                        "bootstrapServers": scaling.brokers,
                        "consumerGroup": scaling.group,
                        "topic": topic,
                        "lagThreshold": str(scaling.lag),
                        "offsetResetPolicy": "earliest",
                    },
                }
                for topic in scaling.topics
            ],
        },
    }
