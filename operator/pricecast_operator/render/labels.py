"""The labels by which objects, pods and people find each other."""

from __future__ import annotations

MANAGER = "pricecast-operator"
"""Field manager of server-side apply, and the value of `app.kubernetes.io/managed-by`."""
MANAGED_BY = "app.kubernetes.io/managed-by"
SERVICE = "app.kubernetes.io/name"
PIPELINE = "pricecast.dev/pipeline"
PROCESS = "pricecast.dev/process"
KIND = "pricecast.dev/kind"
"""`stream` or `job`: a disruption budget counts streams only."""
SCALABLE = "pricecast.dev/scalable"
FINETUNE_JOB = "pricecast.dev/finetune-job"
QUEUE = "kueue.x-k8s.io/queue-name"
"""Kueue's label: the queue that a Job waits in."""
PAUSED_ANNOTATION = "pricecast.dev/paused"
"""`true` on a resource: its objects are left as they are, and what runs goes on."""
RENDERED_ANNOTATION = "pricecast.dev/rendered"
"""Digest of an object as it was rendered."""
SETTINGS_ANNOTATION = "pricecast.dev/settings"
"""Digest of a process's settings on its pods: they roll when it changes."""
SECRETS_ANNOTATION = "pricecast.dev/secrets"
"""Digest of the versions of the Secrets that a stream's pods read as they start: they roll when it changes."""


def of_pipeline(pipeline: str) -> dict[str, str]:
    """Returns the labels of every object of a pipeline."""
    return {
        MANAGED_BY: MANAGER,
        "app.kubernetes.io/part-of": "pricecast",
        "app.kubernetes.io/instance": pipeline,
        PIPELINE: pipeline,
    }


def of_finetune_job(name: str) -> dict[str, str]:
    """Returns the labels of every object of a FinetuneJob."""
    return {
        MANAGED_BY: MANAGER,
        "app.kubernetes.io/part-of": "pricecast",
        "app.kubernetes.io/instance": name,
        SERVICE: "finetune",
        FINETUNE_JOB: name,
    }
