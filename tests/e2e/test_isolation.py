"""What a pod of a pipeline can't do: read Secrets, or reach what its NetworkPolicy doesn't name."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.stack import Stack, until

SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
PROBE = """
import socket, sys, time
time.sleep(5)  # a network takes a moment to apply policies to a new pod
for target in sys.argv[1:]:
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=4).close()
        print(target, "open", flush=True)
    except OSError as error:
        print(target, "closed", flush=True)
"""


def can(stack: Stack, account: str, verb: str, resource: str, where: str) -> bool:
    """Asks the API server what a ServiceAccount (`namespace:name`) may do."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{account}",
            "resourceAttributes": {"namespace": where, "verb": verb, "resource": resource},
        },
    }
    answer = stack.kube.resource("SubjectAccessReview", "authorization.k8s.io/v1").create(body=review)
    return bool(answer.to_dict()["status"]["allowed"])


def test_services_may_do_nothing_at_the_api_server(stack: Stack, live: tuple[str, str]) -> None:
    namespace, name = live
    for account in stack.kube.list("ServiceAccount", namespace, f"pricecast.dev/pipeline={name}"):
        for resource in ("secrets", "pods", "configmaps"):
            assert not can(stack, f"{namespace}:{account['metadata']['name']}", "get", resource, namespace)
            assert not can(stack, f"{namespace}:{account['metadata']['name']}", "get", resource, "kube-system")


def test_operator_reads_single_secrets_and_lists_none(stack: Stack) -> None:
    assert can(stack, "pricecast-system:pricecast-operator", "get", "secrets", "default")
    for verb in ("list", "watch", "create", "patch", "delete"):
        assert not can(stack, "pricecast-system:pricecast-operator", verb, "secrets", "default")
    assert not can(stack, "pricecast-system:pricecast-operator", "create", "pods", "default")


def test_pods_hold_no_token(stack: Stack, live: tuple[str, str]) -> None:
    namespace, _ = live
    for pod in stack.kube.list("Pod", namespace):
        volumes = [volume for volume in pod["spec"]["volumes"] if "projected" in volume]
        assert not volumes, pod["metadata"]["name"]


def test_pod_reaches_what_its_policy_names_and_nothing_else(stack: Stack, live: tuple[str, str]) -> None:
    namespace, name = live
    elasticsearch = stack.elasticsearch.removeprefix("http://")
    api_server = stack.kubectl("get", "endpointslices", "kubernetes", "-n", "default", "-o", "json")
    slices = json.loads(api_server)
    server = f"{slices['endpoints'][0]['addresses'][0]}:{slices['ports'][0]['port']}"
    predictor = _peer(stack, namespace, name)
    reached = probe(stack, namespace, name, "candles", [stack.brokers, elasticsearch, server, predictor])
    assert reached[stack.brokers] == "open"
    assert reached[server] == "closed"
    assert reached[elasticsearch] == "closed"  # candles have no business there
    reached = probe(stack, namespace, name, "price-predictor", [stack.brokers, elasticsearch, server])
    assert (reached[stack.brokers], reached[elasticsearch], reached[server]) == ("open", "open", "closed")


def _peer(stack: Stack, namespace: str, name: str) -> str:
    labels = f"pricecast.dev/pipeline={name},pricecast.dev/process=price-predictor"
    return f"{stack.kube.list('Pod', namespace, labels)[0]['status']['podIP']}:8080"


def probe(stack: Stack, namespace: str, pipeline: str, service: str, targets: list[str]) -> dict[str, str]:
    """Runs a pod that wears a service's labels and tells what it can connect to."""
    pod = f"probe-{service}"
    manifest: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod,
            "labels": {"pricecast.dev/pipeline": pipeline, "app.kubernetes.io/name": service},
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "probe",
                    "image": f"{stack.registry}/candles:{stack.tag}",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", PROBE, *targets],
                    "securityContext": SECURITY,
                }
            ],
        },
    }
    stack.kube.apply(manifest, namespace)
    until("probed", lambda: (stack.kube.get("Pod", pod, namespace) or {})["status"].get("phase") == "Succeeded", 90)
    lines = stack.kubectl("-n", namespace, "logs", pod).splitlines()
    stack.kube.delete("Pod", pod, namespace)
    return dict(line.split() for line in lines)  # type: ignore[misc]
