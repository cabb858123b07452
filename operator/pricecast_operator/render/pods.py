"""Pods as every process gets them: Pod Security `restricted`, read-only root, probes, settings as a file of a ConfigMap. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any

from pricecast_core.settings import DOCUMENT_VARIABLE, ServiceSettings
from pricecast_operator.render import labels
from pricecast_resources.base import OptionalKey, Resources, SecretKeyRef, Toleration
from pricecast_resources.pods import PodSettings

Manifest = dict[str, Any]

VERSION = metadata.version("pricecast-operator")
HTTP_PORT = 8080
STATE_DIR = "/var/lib/pricecast"
DOCUMENT_DIR, DOCUMENT_KEY = "/etc/pricecast/settings", "settings.json"
"""Where the settings document is mounted, and its key in the ConfigMap."""
RUNTIME = {
    DOCUMENT_VARIABLE: f"{DOCUMENT_DIR}/{DOCUMENT_KEY}",
    "HTTP_HOST": "0.0.0.0",  # noqa: S104 - within the pod
    "HTTP_PORT": str(HTTP_PORT),
}
"""What the runtime tells every process, whatever the plan."""
USER = 65532
_CA_FOLDER, _CA_FILE = "/etc/pricecast/ca", "ca.crt"
GRACE_SECONDS = 60
"""Time for a clean end: the longest commit, closing transactions and leaving the consumer group."""


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """What the operator was told about the cluster.

    Attributes:
        image: Image of a service; `{service}` stands for its name, `{version}` for the operator's own version.
        image_pull_policy: When images are pulled.
        image_pull_secrets: Names of Secrets to pull images with, in the pipeline's namespace.
        pod_monitors: Whether the Prometheus operator's PodMonitor is known here.
        scaled_objects: Whether KEDA's ScaledObject is known here.
        metrics_namespaces: Namespaces that may read metrics; none means all.
        digests: Digests of images, by service: they are used instead of the tag.
        training_priority_class: Priority class of trainings; empty leaves them the cluster's default.
    """

    image: str = "pricecast/{service}:{version}"
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    pod_monitors: bool = False
    scaled_objects: bool = False
    metrics_namespaces: tuple[str, ...] = ()
    digests: tuple[tuple[str, str], ...] = ()
    training_priority_class: str = ""

    @property
    def images(self) -> str:
        """All that decides which images are used, as one text to keep and compare."""
        digests = (f"{service}={digest}" for service, digest in self.digests)
        return " ".join([self.image.replace("{version}", VERSION), *digests])

    def with_images(self, images: str) -> RenderOptions:
        """Returns the options with other images, as `images` gives them."""
        image, *digests = images.split(" ")
        pairs = (each.partition("=") for each in digests)
        return replace(self, image=image, digests=tuple((service, digest) for service, _, digest in pairs))

    def pinned(self, version: str) -> RenderOptions:
        """Returns the options with all images of one version."""
        repository, colon, tag = self.image.rpartition(":")
        named = repository if colon and "/" not in tag else self.image
        return replace(self, image=f"{named}:{version}", digests=())

    def image_of(self, service: str, override: str = "") -> str:
        """Returns the image of a service."""
        image = self.image.replace("{service}", service).replace("{version}", VERSION)
        digest = dict(self.digests).get(service)
        if digest:
            repository, _, tag = image.rpartition(":")
            image = f"{repository if repository and '/' not in tag else image}@{digest}"
        return override or image


@dataclass(frozen=True, slots=True)
class Container:
    """What differs from pod to pod.

    Attributes:
        service: Which service.
        image: Its image.
        args: Arguments of its command.
        config_map: ConfigMap that holds its settings document.
        env: Variables that the runtime adds, and whatever secret is no Secret's; on top of `RUNTIME`.
        secrets: Variables whose values are in Secrets.
        decided: Names of the settings in that document: no variable of the pod's settings overrides them.
        checksum: Digest of the settings.
        secret_versions: Digest of the Secrets' versions; empty where a new one needs no new pod.
        requests: CPU and memory guaranteed, by default.
        limits: The most, by default.
        resources: What the spec says instead.
        mounts: Folders by name of the volume.
        volumes: Further volumes.
        probes: Whether health decides on restarts and readiness.
        settings: What the spec asks of the pod.
        priority_class: Priority class, unless the spec asks for another.
    """

    service: str
    image: str
    config_map: str
    checksum: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, SecretKeyRef] = field(default_factory=dict)
    decided: Collection[str] = ()
    secret_versions: str = ""
    requests: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    mounts: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[Manifest, ...] = ()
    probes: bool = True
    settings: PodSettings = field(default_factory=PodSettings)
    priority_class: str = ""


def settings_document(settings: ServiceSettings) -> dict[str, str]:
    """Returns the data of the ConfigMap that holds a process's settings."""
    return {DOCUMENT_KEY: json.dumps(settings.document(), indent=2, sort_keys=True) + "\n"}


def digest(value: Any) -> str:
    """Returns a short name for a value: equal values give equal names."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]


def pod_template(
    container: Container,
    *,
    pod_labels: Mapping[str, str],
    service_account: str,
    options: RenderOptions,
    restart_policy: str = "Always",
    grace_seconds: int = GRACE_SECONDS,
) -> Manifest:
    """Returns a pod template; what pricecast itself needs of it no setting can change."""
    asked = container.settings
    own_volume: Manifest = {"sizeLimit": str(asked.state_size_limit)} if asked.state_size_limit is not None else {}
    volumes = [
        {"name": "settings", "configMap": {"name": container.config_map}},
        {"name": "state", "emptyDir": own_volume},
        {"name": "tmp", "emptyDir": own_volume},
        *container.volumes,
        *asked.volumes,
    ]
    if asked.ca_bundle is not None:
        items = [{"key": asked.ca_bundle.key, "path": _CA_FILE}]
        volumes.append({"name": "ca-bundle", "configMap": {"name": asked.ca_bundle.config_map, "items": items}})
    pull_secrets = list(dict.fromkeys([*options.image_pull_secrets, *asked.image_pull_secrets]))
    spec: Manifest = {
        "serviceAccountName": asked.service_account.name or service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_seconds,
        "restartPolicy": restart_policy,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(container, options)],
        "volumes": volumes,
    }
    optional = {
        "imagePullSecrets": [{"name": name} for name in pull_secrets],
        "nodeSelector": dict(asked.node_selector),
        "tolerations": [_toleration(each) for each in asked.tolerations],
        "affinity": dict(asked.affinity),
        "topologySpreadConstraints": list(asked.topology_spread_constraints),
        "priorityClassName": asked.priority_class_name or container.priority_class,
    }
    spec |= {name: value for name, value in optional.items() if value}
    return {
        "metadata": {
            "labels": {**asked.labels, **pod_labels},
            "annotations": {
                **asked.annotations,
                labels.SETTINGS_ANNOTATION: container.checksum,
                **({labels.SECRETS_ANNOTATION: container.secret_versions} if container.secret_versions else {}),
            },
        },
        "spec": spec,
    }


def service_account(metadata: Manifest, annotations: Mapping[str, str]) -> Manifest:
    """Returns the account of pods that don't talk to the API server."""
    noted = {**metadata, "annotations": dict(annotations)} if annotations else metadata
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": noted, "automountServiceAccountToken": False}


def pod_monitor(metadata: Manifest, pods: Mapping[str, str]) -> Manifest:
    """Returns the Prometheus operator's order to read these pods' metrics, labelled by pipeline and process."""
    relabelings = [
        {"sourceLabels": [f"__meta_kubernetes_pod_label_{re.sub('[^a-zA-Z0-9_]', '_', label)}"], "targetLabel": target}
        for label, target in ((labels.PIPELINE, "pipeline"), (labels.PROCESS, "process"))
    ]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": metadata,
        "spec": {
            "selector": {"matchLabels": dict(pods)},
            "podMetricsEndpoints": [{"port": "http", "relabelings": relabelings}],
        },
    }


def _container(container: Container, options: RenderOptions) -> Manifest:
    asked = container.settings
    requests = container.resources.requests or container.requests
    limits = container.resources.limits or container.limits
    rendered: Manifest = {
        "name": container.service,
        "image": container.image,
        "imagePullPolicy": options.image_pull_policy,
        "ports": [{"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"}],
        "resources": {
            **({"requests": {name: str(value) for name, value in requests.items()}} if requests else {}),
            **({"limits": {name: str(value) for name, value in limits.items()}} if limits else {}),
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "settings", "mountPath": DOCUMENT_DIR, "readOnly": True},
            {"name": "state", "mountPath": STATE_DIR},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own volume
            *({"name": name, "mountPath": path} for name, path in container.mounts.items()),
            *asked.volume_mounts,
        ],
    }
    if asked.ca_bundle is not None:
        mount = {"name": "ca-bundle", "mountPath": _CA_FOLDER, "readOnly": True}
        rendered["volumeMounts"].append(mount)
    if container.args:
        rendered["args"] = list(container.args)
    variables: dict[str, Manifest] = {each.name: {"name": each.name, "value": each.value} for each in asked.env}
    if asked.ca_bundle is not None:
        trust = f"{_CA_FOLDER}/{_CA_FILE}"
        variables |= {name: {"name": name, "value": trust} for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")}
    variables = {name: each for name, each in variables.items() if name.lower() not in container.decided}
    variables |= {name: {"name": name, "value": value} for name, value in {**RUNTIME, **container.env}.items()}
    variables |= {
        name: {"name": name, "valueFrom": {"secretKeyRef": _key(ref)}} for name, ref in container.secrets.items()
    }
    rendered["env"] = [variables[name] for name in sorted(variables)]
    if container.probes:
        rendered |= {
            # Importing takes seconds where many start at once; liveness counts from there on.
            "startupProbe": _probe("/healthz", period=2, failures=90),
            "livenessProbe": _probe("/healthz", period=10, failures=3),
            "readinessProbe": _probe("/readyz", period=5, failures=2),
        }
    return rendered


def _key(ref: SecretKeyRef) -> Manifest:
    return {"name": ref.name, "key": ref.key, **({"optional": True} if isinstance(ref, OptionalKey) else {})}


def _probe(path: str, *, period: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _toleration(toleration: Toleration) -> Manifest:
    return {name: value for name, value in toleration.model_dump(by_alias=True).items() if value}
