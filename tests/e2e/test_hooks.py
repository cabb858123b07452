"""What a platform team asks of pods is so in the pods that run: looked at from outside and from inside."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.stack import Stack, until
from tests.e2e.test_waves import SPEC

PRIORITY = "pricecast-e2e-hooks"
SPREAD = {
    "maxSkew": 1,
    "topologyKey": "kubernetes.io/hostname",
    "whenUnsatisfiable": "ScheduleAnyway",
    "labelSelector": {"matchLabels": {"team": "prices"}},
}
PREFERRED = {
    "weight": 1,
    "preference": {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]},
}
ASKED: dict[str, Any] = {
    "labels": {"team": "prices"},
    "annotations": {"example.com/note": "asked"},
    "env": [{"name": "GREETING", "value": "hello"}, {"name": "PAIRS", "value": "ETH/USD"}],
    "serviceAccount": {"annotations": {"example.com/role": "reader"}},
    "imagePullSecrets": ["registry"],
    "priorityClassName": PRIORITY,
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [PREFERRED]}},
    "topologySpreadConstraints": [SPREAD],
    "volumes": [{"name": "extra", "emptyDir": {}}],
    "volumeMounts": [{"name": "extra", "mountPath": "/extra"}],
    "caBundle": {"configMap": "kube-root-ca.crt"},
    "stateSizeLimit": "64Mi",
    "queueName": "trainings",
}
LOOK = """
import json, os, ssl
print(json.dumps({
    "env": {name: os.environ.get(name) for name in ("GREETING", "PAIRS", "SSL_CERT_FILE")},
    "authorities": len(ssl.create_default_context().get_ca_certs()),
    "extra": os.access("/extra", os.W_OK),
}))
"""


def test_what_is_asked_of_pods_is_so_in_live_pods(stack: Stack, namespace: str) -> None:
    stack.storage_secret(namespace)
    stack.kube.apply(
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": PRIORITY},
            "value": 1_000,
            "description": "Of a test.",
        }
    )
    manifest = stack.pipeline("hooks", SPEC, pods=ASKED)
    stack.kube.apply(manifest, namespace)
    try:
        until("ready", lambda: stack.kube.condition("PricePipeline", "hooks", "Ready", namespace), 240)
        [pod] = stack.kube.list("Pod", namespace, "pricecast.dev/process=candles")
        assert pod["metadata"]["labels"]["team"] == "prices"
        assert pod["metadata"]["annotations"]["example.com/note"] == "asked"
        spec = pod["spec"]
        assert spec["imagePullSecrets"] == [{"name": "registry"}]
        assert (spec["priorityClassName"], spec["priority"]) == (PRIORITY, 1_000)
        assert spec["affinity"] == ASKED["affinity"]
        assert spec["topologySpreadConstraints"] == [SPREAD]
        own = {each["name"]: each["emptyDir"] for each in spec["volumes"] if "emptyDir" in each}
        assert own == {"state": {"sizeLimit": "64Mi"}, "tmp": {"sizeLimit": "64Mi"}, "extra": {}}
        account = stack.kube.get("ServiceAccount", spec["serviceAccountName"], namespace) or {}
        assert account["metadata"]["annotations"]["example.com/role"] == "reader"
        name = pod["metadata"]["name"]
        seen = json.loads(stack.kubectl("-n", namespace, "exec", name, "--", "python", "-c", LOOK))
        # A variable that the spec decides is not to be changed.
        assert seen["env"] == {"GREETING": "hello", "PAIRS": None, "SSL_CERT_FILE": "/etc/pricecast/ca/ca.crt"}
        assert (seen["authorities"], seen["extra"]) == (1, True)
        [job] = stack.kube.list("Job", namespace, "pricecast.dev/process=train")
        assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "trainings"
        assert job["spec"]["template"]["spec"]["priorityClassName"] == PRIORITY
    finally:
        stack.kube.delete("PricePipeline", "hooks", namespace)
        stack.kube.delete("PriorityClass", PRIORITY)
