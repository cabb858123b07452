"""What a cluster may ask of every pod: labels, placement, identity, certificates, volumes. Part of both resources."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from pricecast_resources.base import Labels, Model, Quantity, Text, Toleration

FREE: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}
"""Marks an object of Kubernetes' own, which is handed through as it is; the API server checks it in the pod."""
KubernetesObject = Annotated[dict[str, Any], Field(json_schema_extra=FREE)]
Annotations = Annotated[dict[str, Annotated[str, Field(max_length=4_096)]], Field(max_length=32)]


class EnvVar(Model):
    """A variable for the pods; one that pricecast sets itself can't be changed by it."""

    name: str = Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$", max_length=128, description="Name.")
    value: str = Field("", max_length=4_096, description="Value; what is secret belongs into a Secret.")


class ServiceAccount(Model):
    """The account that the pods run as, which a cloud may map to one of its own (workload identity)."""

    name: Text = Field("", description="An account that exists; empty means one of the operator's for each service.")
    annotations: Annotations = Field(default_factory=dict, description="Annotations of the operator's accounts.")


class CaBundle(Model):
    """Certificates to trust, in a ConfigMap; they replace those of the image."""

    config_map: str = Field(min_length=1, max_length=253, description="Name of the ConfigMap.")
    key: str = Field("ca.crt", min_length=1, max_length=253, description="Key of the PEM file.")


class PodSettings(Model):
    """What is asked of pods beyond what they run."""

    labels: Labels = Field(default_factory=dict, description="Labels of the pods, such as a cost centre.")
    annotations: Annotations = Field(default_factory=dict, description="Annotations of the pods.")
    env: list[EnvVar] = Field(default_factory=list, max_length=32, description="Further variables, such as a proxy.")
    node_selector: Labels = Field(default_factory=dict, description="Labels of the nodes to run on.")
    tolerations: list[Toleration] = Field(
        default_factory=list, max_length=16, description="Taints of nodes that the pods accept."
    )
    affinity: KubernetesObject = Field(default_factory=dict, description="Affinity, as in a pod's spec.")
    topology_spread_constraints: list[KubernetesObject] = Field(
        default_factory=list, max_length=8, description="Topology spread constraints, as in a pod's spec."
    )
    priority_class_name: Text = Field("", description="Priority class.")
    image_pull_secrets: list[Text] = Field(
        default_factory=list, max_length=8, description="Secrets to pull images with, besides the operator's."
    )
    service_account: ServiceAccount = Field(default_factory=ServiceAccount, description="Account of the pods.")
    volumes: list[KubernetesObject] = Field(
        default_factory=list, max_length=16, description="Further volumes, as in a pod's spec."
    )
    volume_mounts: list[KubernetesObject] = Field(
        default_factory=list, max_length=16, description="Where they are mounted, as in a container's spec."
    )
    ca_bundle: CaBundle | None = Field(None, description="Certificates to trust.")
    state_size_limit: Quantity | None = Field(None, description="Most that each of the pod's own volumes may hold.")
    queue_name: str = Field("", max_length=63, description="Kueue's LocalQueue for the pods of jobs.")

    def changed_by(self, other: PodSettings) -> PodSettings:
        """Returns these settings with another's on top: maps and lists together, single values the other's if given."""
        merged: dict[str, Any] = {}
        for name in PodSettings.model_fields:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, dict) and name != "affinity":
                merged[name] = {**mine, **theirs}
            elif isinstance(mine, list):
                merged[name] = [*mine, *theirs]
            else:
                merged[name] = theirs if theirs not in ("", None, {}, ServiceAccount()) else mine
        return PodSettings.model_construct(**merged)
