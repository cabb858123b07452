"""Autoscalers of services that share work: KEDA's by lag where KEDA is installed, Kubernetes' own by CPU else. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pricecast_operator.render.pods import Manifest
from pricecast_resources.storage import KafkaStorage

_MECHANISMS = {
    "PLAIN": "plaintext",
    "SCRAM-SHA-256": "scram_sha256",
    "SCRAM-SHA-512": "scram_sha512",
    "OAUTHBEARER": "oauthbearer",
}
_PARAMETERS = {
    "KAFKA_USERNAME": "username",
    "KAFKA_PASSWORD": "password",
    "KAFKA_CA": "ca",
    "KAFKA_CERTIFICATE": "cert",
    "KAFKA_KEY": "key",
    "KAFKA_TOKEN_URL": "oauthTokenEndpointUri",
    "KAFKA_CLIENT_ID": "username",
    "KAFKA_CLIENT_SECRET": "password",
}
"""What KEDA calls what services read from variables; a key that the Secret lacks it takes for empty."""
_POLL_SECONDS, _COOL_DOWN_SECONDS = 15, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What an autoscaler needs to know.

    Attributes:
        metadata: Metadata of its object.
        deployment: The Deployment that it scales.
        least: Fewest replicas.
        most: Most replicas.
        kafka: Kafka, and where its credentials are.
        group: The consumer group whose lag counts.
        topics: The topics that it reads.
        authentication: The TriggerAuthentication that holds how KEDA is let in by Kafka.
        lag: Unread messages for each replica.
        cpu_percent: CPU in percent of the request.
    """

    metadata: Manifest
    deployment: str
    least: int
    most: int
    kafka: KafkaStorage
    group: str
    topics: tuple[str, ...]
    authentication: str
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
                        "bootstrapServers": scaling.kafka.brokers,
                        "consumerGroup": scaling.group,
                        "topic": topic,
                        "lagThreshold": str(scaling.lag),
                        "offsetResetPolicy": "earliest",
                        **_security(scaling.kafka),
                    },
                    **({"authenticationRef": {"name": scaling.authentication}} if scaling.kafka.secrets else {}),
                }
                for topic in scaling.topics
            ],
        },
    }


def authentication(metadata: Manifest, kafka: KafkaStorage) -> Manifest:
    """Returns how KEDA is let in by Kafka: by the same Secret as the services."""
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": metadata,
        "spec": {
            "secretTargetRef": [
                {"parameter": _PARAMETERS[variable], "name": ref.name, "key": ref.key}
                for variable, ref in kafka.secrets.items()
            ]
        },
    }


def _security(kafka: KafkaStorage) -> dict[str, str]:
    if kafka.protocol == "PLAINTEXT":
        return {}
    return {
        "sasl": _MECHANISMS[kafka.mechanism] if kafka.protocol.startswith("SASL") else "none",
        "tls": "enable" if kafka.protocol.endswith("SSL") else "disable",
    }
