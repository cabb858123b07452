"""What the operator can be told: by environment variables, as every service."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pricecast_core.settings.base import ServiceSettings
from pricecast_operator.render.pods import RenderOptions


class OperatorSettings(ServiceSettings):
    """How the operator works and what it renders."""

    pipeline: str = Field("", description="Not used")
    http_host: str = Field("0.0.0.0", description="Address of health and metrics")  # noqa: S104 - it runs in a pod
    namespaces: list[str] = Field(default_factory=list, description="Namespaces to serve; empty serves all")
    namespace: str = Field("pricecast-system", description="The operator's own namespace")
    deployment: str = Field(
        "", description="The operator's own Deployment: what it keeps in its namespace is deleted with it"
    )
    image: str = Field(
        "pricecast/{service}:{version}",
        description="Image of a service; {service} stands for its name, {version} for the operator's own version",
    )
    image_digests: list[str] = Field(
        default_factory=list, description="SERVICE=sha256:DIGEST: used instead of the image's tag"
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="When images are pulled"
    )
    image_pull_secrets: list[str] = Field(default_factory=list, description="Secrets to pull images with")
    metrics_namespaces: list[str] = Field(
        default_factory=list, description="Namespaces that may read the pods' metrics; empty means all"
    )
    training_priority_class: str = Field(
        "", description="Priority class of trainings; one below zero never keeps a stream from being scheduled"
    )
    upgrade_wave: int = Field(
        10, ge=1, le=100_000, description="How many pipelines are moved to new images at a time, each until it is Ready"
    )
    observe_seconds: float = Field(
        30, ge=1, le=3600, description="Time between looks at Kafka, the stores and the Secrets that specs name"
    )
    quiet_seconds: float = Field(
        60, ge=0, le=3600, description="Least time between two writes of a status in which only numbers moved"
    )
    resync_seconds: float = Field(
        600, ge=10, le=86_400, description="Time after which everything is compared again, event or not"
    )

    def render_options(self, *, pod_monitors: bool, scaled_objects: bool) -> RenderOptions:
        """Returns what rendering needs to know."""
        return RenderOptions(
            image=self.image,
            image_pull_policy=self.image_pull_policy,
            image_pull_secrets=tuple(self.image_pull_secrets),
            pod_monitors=pod_monitors,
            scaled_objects=scaled_objects,
            metrics_namespaces=tuple(self.metrics_namespaces),
            training_priority_class=self.training_priority_class,
            digests=tuple((name, digest) for name, _, digest in (each.partition("=") for each in self.image_digests)),
        )
