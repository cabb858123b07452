"""Starts the operator: `pricecast-operator`, configured by environment variables alone."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from typing import Any

import kopf
from kubernetes import config
from kubernetes.client import ApiClient, ApiException
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from pricecast_core import logs
from pricecast_core.errors import SettingsError
from pricecast_core.health import Health
from pricecast_core.service import EX_CONFIG, EX_FAILED, configured
from pricecast_operator.cluster.api import Cluster
from pricecast_operator.cluster.lease import Lease, LeaseTakenError
from pricecast_operator.cluster.objects import Ref
from pricecast_operator.controllers.operator import Operator
from pricecast_operator.render.pods import Manifest
from pricecast_operator.settings import OperatorSettings

SERVICE = "operator"
_DEFINITIONS_SECONDS = 60


def main() -> None:
    """Runs the operator until SIGTERM."""
    settings = configured(SERVICE, OperatorSettings)
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLevelName(settings.log_level)))
    logging.getLogger("elastic_transport").setLevel(logging.ERROR)  # what can't be reached is a condition
    log = logs.get(SERVICE)
    os.environ.setdefault("LOGNAME", SERVICE)  # kopf asks for the user's name; a container's user has none
    health = Health()
    try:
        cluster, owners, port = _connected(settings, health)
        lease = Lease(cluster, settings.namespace, settings.namespaces, owners)
        _lead(lease, health)
    except SettingsError as error:
        log.error("settings refused", error=str(error))
        sys.exit(EX_CONFIG)
    except ConfigException as error:
        log.error("there is no cluster to run for", error=f"{error}; set KUBECONFIG to the file of one that exists")
        sys.exit(EX_CONFIG)
    except (ApiException, HTTPError) as error:
        log.error("the API server can't be used", error=_in_words(error))
        sys.exit(EX_FAILED)
    operator = Operator(settings, cluster, health, owners)
    log.info("started", health=f"http://{settings.http_host}:{port}", namespaces=settings.namespaces or "all")
    try:
        kopf.run(
            registry=operator.registry(),
            standalone=True,
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
        )
    finally:
        lease.release()
        health.stop()
    log.info("stopped")


def _connected(settings: OperatorSettings, health: Health) -> tuple[Cluster, list[Manifest], int]:
    """Returns the cluster, the owners of what the operator keeps for itself, and the port of its health."""
    kubernetes_config: Any = config  # untyped
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        kubernetes_config.load_incluster_config()
    else:
        kubernetes_config.load_kube_config()
    cluster = Cluster(ApiClient())
    _await_definitions(cluster)
    port = health.start(settings.http_host, settings.http_port)
    return cluster, _owners(cluster, settings), port


def _in_words(error: ApiException | HTTPError) -> str:
    if isinstance(error, ApiException):
        return f"it answers {error.status} {error.reason}"
    return f"{getattr(error, 'reason', None) or error}"


def _owners(cluster: Cluster, settings: OperatorSettings) -> list[Manifest]:
    """Returns the owner references of what the operator keeps for itself: uninstalling leaves nothing of it."""
    found = cluster.find(Ref("Deployment", settings.namespace, settings.deployment)) if settings.deployment else None
    if found is None:
        return []
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": settings.deployment, "uid": found["metadata"]["uid"]}
    ]


def _lead(lease: Lease, health: Health) -> None:
    """Waits until this is the one operator that reconciles; ends the process at once if it no longer is."""
    log = logs.get(SERVICE)

    def lost(holder: str) -> None:
        log.error("another operator leads; this one ends", holder=holder)
        os._exit(EX_FAILED)  # not a write more: two would undo each other's

    def waits(holder: str) -> None:
        log.info("waits for the operator that leads", holder=holder)
        health.ready("standby", lambda: None)  # to take over is all that it is for

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the first process of a container ignores it otherwise
    try:
        lease.acquire(waits)
    except LeaseTakenError as error:
        log.error("another operator serves the same", error=str(error))
        sys.exit(EX_FAILED)
    log.info("leads", holder=lease.holder)
    lease.hold(lost)


def _await_definitions(cluster: Cluster) -> None:
    """Waits until the API server serves our resources: a chart installs their definitions a moment before us."""
    log, deadline = logs.get(SERVICE), time.monotonic() + _DEFINITIONS_SECONDS
    for kind in ("PricePipeline", "FinetuneJob"):
        while not cluster.serves(kind):
            if time.monotonic() > deadline:
                log.error("the API server doesn't know our resources; apply charts/pricecast/files/crds", kind=kind)
                sys.exit(EX_FAILED)
            time.sleep(1)
