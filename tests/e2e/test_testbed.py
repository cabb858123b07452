"""The testbed's cluster behaves as a cluster should: names, volumes, policies, and the machine's servers in reach."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pricecast_testbed import Kafka
from pricecast_testbed.kubernetes import Cluster, images
from tests.e2e.kube import Kube

SECURITY = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
SERVE = "import http.server as h; h.HTTPServer(('', 8080), h.SimpleHTTPRequestHandler).serve_forever()"
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"


@pytest.fixture(scope="module")
def cluster(kubeconfig: Path) -> Cluster:
    cluster = Cluster()
    if kubeconfig != cluster.layout.admin:
        pytest.skip("KUBECONFIG names another cluster than the testbed's")
    return cluster


@pytest.fixture(scope="module")
def image(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("image")
    (folder / "Dockerfile").write_text(
        "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nARG SERVICE\nRUN echo $SERVICE > /service\n"
    )
    [name] = images.build(cluster.layout, folder, ["probe"], tag="test")
    return name


def pod(image: str, name: str, program: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": image, "command": ["python3", "-c", program], "securityContext": SECURITY}
    container |= spec.pop("container", {})
    metadata = {"name": name, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}


@pytest.fixture
def client(kube: Kube, namespace: str, image: str, cluster: Cluster) -> Any:
    """A pod that serves HTTP on 8080, and what it answers to `python3 -c PROGRAM ARGUMENTS`."""
    kube.apply(pod(image, "web", SERVE, container={"readinessProbe": {"httpGet": {"port": 8080}}}), namespace)
    kube.wait("the pod is ready", lambda: kube.condition("Pod", "web", "Ready", namespace), seconds=60)

    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        kubectl = [str(cluster.layout.kube / "kubectl"), f"--kubeconfig={cluster.layout.admin}"]
        words = [*kubectl, f"--namespace={namespace}", "exec", "web", "--", "python3", "-c", program, *arguments]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)

    return run


def reaches(client: Any, host: str, port: int) -> bool:
    return bool(client(CONNECT, host, str(port)).returncode == 0)


def test_a_service_is_found_by_its_name(kube: Kube, namespace: str, client: Any) -> None:
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    kube.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}, namespace)
    kube.wait("the service answers", lambda: reaches(client, f"web.{namespace}.svc.cluster.local", 80), seconds=30)


def test_a_claim_gets_a_volume_that_outlives_the_pod(kube: Kube, namespace: str, image: str) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec}
    kube.apply(claim, namespace)
    for name, program in (
        ("writer", "open('/data/f', 'w').write('kept')"),
        ("reader", "assert open('/data/f').read()"),
    ):
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
        mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
        kube.apply(pod(image, name, program, volumes=volumes, restartPolicy="Never", container=mounts), namespace)

        def done(name: str = name) -> bool:
            return bool((kube.get("Pod", name, namespace) or {})["status"].get("phase") == "Succeeded")

        kube.wait(f"{name} is done", done, seconds=60)


def test_pods_reach_a_server_beside_the_cluster(client: Any, cluster: Cluster, tmp_path: Path) -> None:
    kafka = Kafka(tmp_path / "kafka", node_address=cluster.layout.address)
    kafka.start()
    try:
        host, _, port = kafka.node_url.rpartition(":")
        assert reaches(client, host, int(port))
    finally:
        kafka.wipe()


def test_policies_are_enforced(kube: Kube, namespace: str, image: str, client: Any) -> None:
    kube.apply(pod(image, "other", SERVE, container={"readinessProbe": {"httpGet": {"port": 8080}}}), namespace)
    kube.wait("the other pod is ready", lambda: kube.condition("Pod", "other", "Ready", namespace), seconds=60)
    other = (kube.get("Pod", "other", namespace) or {})["status"]["podIP"]
    api = "kubernetes.default.svc.cluster.local"
    assert reaches(client, other, 8080)
    assert reaches(client, api, 443)

    def restrict(egress: list[dict[str, Any]]) -> None:
        spec = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress", "Ingress"], "egress": egress}
        policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "web"}}
        kube.apply({**policy, "spec": spec}, namespace)

    to_other = {"to": [{"podSelector": {"matchLabels": {"app": "other"}}}], "ports": [{"port": 8080}]}
    dns = {"ports": [{"port": 53, "protocol": "UDP"}]}
    restrict([dns])
    kube.wait("nothing else is allowed", lambda: not reaches(client, other, 8080), seconds=30)
    assert not reaches(client, api, 443)
    restrict([dns, to_other])
    kube.wait("the other pod is allowed", lambda: reaches(client, other, 8080), seconds=30)
    assert not reaches(client, api, 443)
    assert kube.condition("Pod", "web", "Ready", namespace), "the kubelet's probes are always let in"


def test_a_service_account_may_do_no_more_than_its_role(cluster: Cluster, namespace: str) -> None:
    kubeconfig = f"--kubeconfig={cluster.layout.admin}"
    kubectl = [str(cluster.layout.kube / "kubectl"), kubeconfig, f"--as=system:serviceaccount:{namespace}:default"]
    done = subprocess.run([*kubectl, "get", "secrets", "--output=json"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "forbidden" in done.stderr
    assert json.loads(done.stdout)["items"] == []
