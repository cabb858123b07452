"""The chart: linted, its values checked, its templates restricted, its objects accepted by the real API server."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pricecast_operator.crds.schema import RESOURCES, custom_resource_definition
from pricecast_testbed.kubernetes import binaries
from tests.e2e.kube import Kube
from tests.e2e.stack import CHART

pytestmark = pytest.mark.usefixtures("stack")  # builds helm, beside all else that the first test needs
VARIANTS = {
    "default": {},
    "everything": {
        "predictionApi.autoscaling.enabled": "true",
        "predictionApi.ingress.enabled": "true",
        "predictionApi.ingress.tlsSecret": "ingress-tls",
        "predictionApi.tlsSecret": "api-tls",
        "predictionApi.elasticsearch.apiKeySecretRef.name": "es",
        "predictionApi.elasticsearch.apiKeySecretRef.key": "key",
        "predictionApi.featureStoreUrlSecretRef.name": "sql",
        "predictionApi.featureStoreUrlSecretRef.key": "url",
        "predictionApi.modelRegistryUrlSecretRef.name": "sql",
        "predictionApi.modelRegistryUrlSecretRef.key": "url",
        "image.pullSecrets": "{registry}",
        "networkPolicies.metricsNamespaces": "{monitoring}",
    },
    "a platform team's": {
        "fullnameOverride": "prices",
        "image.tag": "20260101",
        "image.digests.operator": f"sha256:{'ab' * 32}",
        "operator.replicaCount": "2",
        **{
            f"{component}.{name}": value
            for component in ("operator", "predictionApi")
            for name, value in {
                "priorityClassName": "system-cluster-critical",
                "podLabels.team": "prices",
                "podAnnotations.note": "x",
                "serviceAccount.annotations.role": "reader",
                "caBundle.configMap": "corporate-ca",
                "extraEnv[0].name": "HTTPS_PROXY",
                "extraEnv[0].value": "http://proxy:3128",
                "volumes[0].name": "extra",
                "volumes[0].emptyDir.medium": "",
                "volumeMounts[0].name": "extra",
                "volumeMounts[0].mountPath": "/extra",
                "topologySpreadConstraints[0].maxSkew": "1",
                "topologySpreadConstraints[0].topologyKey": "zone",
                "topologySpreadConstraints[0].whenUnsatisfiable": "ScheduleAnyway",
            }.items()
        },
    },
    "one namespace": {"operator.namespaces": "{default}", "operator.aggregateRoles": "false"},
    "operator alone": {"predictionApi.enabled": "false"},
    "api alone": {"operator.enabled": "false"},
    "callers with tokens of their own and an issuer": {
        "predictionApi.access.tokensSecret": "callers",
        "predictionApi.access.oidc.issuer": "https://issuer.example",
        "predictionApi.access.oidc.audience": "pricecast",
        "predictionApi.mcp": "true",
        "predictionApi.access.corsOrigins": "{https://desk.example}",
    },
    "callers with certificates": {"predictionApi.tlsSecret": "tls", "predictionApi.access.clientCaSecret": "ca"},
    "everyone": {"predictionApi.access.anonymous": "true"},
    "no policies": {"networkPolicies.enabled": "false"},
}


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([binaries.tool("helm"), *arguments], capture_output=True, text=True, check=False)


def template(values: dict[str, str], *more: str) -> list[dict[str, Any]]:
    sets = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    done = helm("template", "pricecast", str(CHART), "-n", "default", "--kube-version", "1.34.0", *sets, *more)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def pods(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        each["spec"]["template"]["spec"] if each["kind"] == "Deployment" else each["spec"]
        for each in objects
        if each["kind"] in ("Deployment", "Pod")
    ]


def one(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return next(each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name))


def test_lint() -> None:
    done = helm("lint", "--strict", str(CHART), "--kube-version", "1.34.0")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS.keys())
def test_the_api_server_accepts_every_variant(kube: Kube, crds: None, values: dict[str, str]) -> None:
    for each in template(values):
        namespace = None if each["kind"].startswith("Cluster") else each["metadata"].get("namespace", "default")
        kube.apply(each, namespace, dry_run=True)


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS.keys())
def test_pods_meet_pod_security_restricted(values: dict[str, str]) -> None:
    for pod in pods(template(values)):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_definitions_come_with_the_chart_unless_they_come_otherwise() -> None:
    made = {each["metadata"]["name"]: each for each in template({}) if each["kind"] == "CustomResourceDefinition"}
    assert made == {f"{each.plural}.pricecast.dev": custom_resource_definition(each) for each in RESOURCES}
    assert all(each["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for each in made.values())
    kinds = {each["kind"] for each in template({"crds.enabled": "false"})}
    assert "CustomResourceDefinition" not in kinds


def test_the_api_asks_for_a_token_unless_told_otherwise() -> None:
    def environment(values: dict[str, str]) -> set[str]:
        api = next(pod for pod in pods(template(values)) if pod["containers"][0]["name"] == "prediction-api")
        return {variable["name"] for variable in api["containers"][0]["env"]}

    assert "API_TOKENS_FILE" in environment({})
    assert {"OIDC_ISSUER", "API_TOKENS_FILE"} <= environment(VARIANTS["callers with tokens of their own and an issuer"])
    assert {"TLS_CLIENT_CA"} <= environment(VARIANTS["callers with certificates"])
    assert environment(VARIANTS["everyone"]).isdisjoint({"API_TOKENS_FILE", "OIDC_ISSUER", "TLS_CLIENT_CA"})
    [token] = [each for each in template({}) if each["kind"] == "Secret"]
    [entry] = json.loads(token["stringData"]["tokens.json"])["tokens"]
    assert entry["sha256"] == hashlib.sha256(token["stringData"]["token"].encode()).hexdigest()


@pytest.mark.parametrize("way", ["ingress", "gateway"])
def test_an_api_that_asks_for_no_token_is_not_exposed_unless_told(way: str) -> None:
    open_to_all = {"predictionApi.access.anonymous": "true", f"predictionApi.{way}.enabled": "true"}
    sets = [word for name, value in open_to_all.items() for word in ("--set", f"{name}={value}")]
    refused = helm("template", "pricecast", str(CHART), "--kube-version", "1.34.0", *sets)
    assert refused.returncode != 0
    assert "predictionApi.access.exposeAnonymous" in refused.stderr
    assert template({**open_to_all, "predictionApi.access.exposeAnonymous": "true"})


def test_only_the_operator_has_a_token() -> None:
    tokens = {pod["containers"][0]["name"]: pod["automountServiceAccountToken"] for pod in pods(template({}))}
    assert tokens == {"operator": True, "prediction-api": False, "test": False}


def test_namespaced_mode_needs_no_cluster_role() -> None:
    objects = template(VARIANTS["one namespace"])
    assert not [each["kind"] for each in objects if each["kind"].startswith("Cluster")]
    environment = pods(objects)[0]["containers"][0]["env"]
    assert {"name": "NAMESPACES", "value": "default"} in environment


def test_operator_never_writes_secrets_pods_or_roles() -> None:
    for each in template({}):
        if each["kind"] in ("Role", "ClusterRole") and "edit" not in each["metadata"]["name"]:
            for rule in each["rules"]:
                writes = set(rule["verbs"]) - {"get", "list", "watch"}
                assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
                assert not writes or {"secrets", "pods", "roles", "clusterroles"}.isdisjoint(rule["resources"])
                assert "secrets" not in rule["resources"] or rule["verbs"] == ["get"]


def test_every_pod_of_the_chart_is_covered_by_default_deny() -> None:
    objects = template({})
    deny = one(objects, "NetworkPolicy", "pricecast-default-deny")["spec"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & deny.keys()
    for each in objects:
        if each["kind"] == "Deployment":
            labels = each["spec"]["template"]["metadata"]["labels"]
            assert deny["podSelector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize(
    ("url", "port", "peer"),
    [
        ("http://elasticsearch-master.elasticsearch.svc:9200", 9200, "namespaceSelector"),
        ("http://10.1.2.3:9201", 9201, "ipBlock"),
        ("https://search.example.com", 443, None),
    ],
)
def test_api_reaches_elasticsearch_and_nothing_else(url: str, port: int, peer: str | None) -> None:
    policy = one(template({"predictionApi.elasticsearch.url": url}), "NetworkPolicy", "pricecast-api")["spec"]
    rule = policy["egress"][1]
    assert [each["port"] for each in rule["ports"]] == [port]
    assert (list(rule["to"][0]) if peer else rule.get("to")) == ([peer] if peer else None)
    assert len(policy["egress"]) == 2


def test_the_api_reads_what_the_page_shows_from_the_databases_that_secrets_name() -> None:
    objects = template(VARIANTS["everything"])
    (container,) = one(objects, "Deployment", "pricecast-api")["spec"]["template"]["spec"]["containers"]
    named = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in container["env"] if "valueFrom" in each}
    assert named["FEATURE_STORE_URL"] == named["MODEL_REGISTRY_URL"] == {"name": "sql", "key": "url"}
    policy = one(objects, "NetworkPolicy", "pricecast-api")["spec"]
    assert {"ports": [{"port": 5432, "protocol": "TCP"}]} in policy["egress"]


def test_autoscaler_and_replicas_do_not_fight() -> None:
    objects = template(VARIANTS["everything"])
    assert "replicas" not in one(objects, "Deployment", "pricecast-api")["spec"]
    assert one(objects, "HorizontalPodAutoscaler", "pricecast-api")["spec"]["minReplicas"] == 2


def test_gateway_routes() -> None:
    objects = template({"predictionApi.gateway.enabled": "true", "predictionApi.gateway.parentRefs[0].name": "public"})
    assert {"HTTPRoute", "GRPCRoute"} <= {each["kind"] for each in objects}


def test_monitoring_brings_dashboards_and_alerts() -> None:
    objects = template({"monitoring.enabled": "true"})
    dashboards = len(list((CHART / "files" / "dashboards").glob("*.json")))
    alerts = len(list((CHART / "files" / "alerts").glob("*.yaml")))
    kinds = [each["kind"] for each in objects]
    assert kinds.count("PodMonitor") == 1
    assert kinds.count("ConfigMap") == dashboards
    assert kinds.count("PrometheusRule") == alerts


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("predictionApi.replicas=-1", "replicas"),
        ("predictionApi.elasticsearch.url=elasticsearch:9200", "url"),
        ("operator.nmaespaces={a}", "nmaespaces"),
        ("networkPolicies.apiServerPorts={0}", "apiServerPorts"),
        ("operator.namespaces={Not_A_Name}", "namespaces"),
    ],
)
def test_wrong_values_are_refused_by_name(value: str, field: str) -> None:
    done = helm("template", "pricecast", str(CHART), "--kube-version", "1.34.0", "--set", value)
    assert done.returncode != 0
    assert field in done.stderr


def test_every_value_is_described() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(value: Any, node: dict[str, Any], path: str) -> None:
        for name, inner in value.items():
            assert name in node["properties"], f"{path}.{name}"
            assert node["properties"][name].get("description"), f"{path}.{name}"
            if isinstance(inner, dict) and "properties" in node["properties"][name]:
                compare(inner, node["properties"][name], f"{path}.{name}")

    compare(values, schema, "")


def test_manifests_of_the_repository_are_accepted(kube: Kube, crds: None) -> None:
    for path in sorted(Path(CHART.parents[1] / "manifests").glob("*.yaml")):
        for manifest in yaml.safe_load_all(path.read_text()):
            kube.apply(manifest, "default", dry_run=True)
