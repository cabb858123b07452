"""From a plan to objects: pure, restricted, each service's own, named so that only what changed rolls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.addresses import Address
from pricecast_core.errors import SettingsError
from pricecast_core.settings import FinetuneSettings, NewsSettings, NewsSignalSettings, load
from pricecast_core.settings.exchanges import EXCHANGES
from pricecast_core.settings.news_signal import ENCODER
from pricecast_operator.render import labels
from pricecast_operator.render.backends import ClusterBackends
from pricecast_operator.render.finetune import render_finetune
from pricecast_operator.render.network import of_settings
from pricecast_operator.render.owner import Owner
from pricecast_operator.render.pipeline import Pipeline, render
from pricecast_operator.render.pods import RenderOptions
from pricecast_resources.base import SecretKeyRef
from pricecast_resources.finetunejob import FinetuneJobSpec
from pricecast_resources.plan import plan
from pricecast_resources.pricepipeline import PricePipelineSpec
from tests.contracts.manifests import FINETUNE

OWNER = Owner("PricePipeline", "btc", "prices", "1234")
NEWS = {"rss": {"urls": ["https://news.example/feed"]}, "signals": {"provider": "Ollama", "model": "m", "url": "http://ollama.llm.svc:11434"}}  # fmt: skip


def objects(spec: dict[str, Any] | None = None, options: RenderOptions | None = None, news_model: str = "") -> Any:
    parsed = PricePipelineSpec.model_validate({"pairs": ["BTC/USD"], **(spec or {})})
    planned = plan("btc", parsed, ClusterBackends(parsed.storage), news_model)
    return render(Pipeline(OWNER, parsed, planned), options or RenderOptions())


def by_name(rendered: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in rendered}


def told(config_map: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(config_map["data"]["settings.json"])
    return document


def pod_specs(rendered: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for each in rendered:
        spec = each.get("spec", {})
        template = spec.get("template") or spec.get("jobTemplate", {}).get("spec", {}).get("template")
        if template:
            yield f"{each['kind']}/{each['metadata']['name']}", template["spec"]


def test_a_pipeline_is_these_objects() -> None:
    kinds = [each["kind"] for each in objects()]
    assert {kind: kinds.count(kind) for kind in sorted(set(kinds))} == {
        "ConfigMap": 5,
        "CronJob": 1,
        "Deployment": 5,
        "Job": 1,
        "NetworkPolicy": 6,
        "PodDisruptionBudget": 1,
        "Service": 1,
        "ServiceAccount": 5,
    }


def test_names_are_unique_and_everything_has_its_owner_and_labels() -> None:
    rendered = objects({"news": NEWS})
    assert len(by_name(rendered)) == len(rendered)
    for each in rendered:
        metadata = each["metadata"]
        assert metadata["namespace"] == "prices"
        assert metadata["ownerReferences"] == [OWNER.reference]
        assert metadata["labels"][labels.MANAGED_BY] == labels.MANAGER
        assert metadata["labels"][labels.PIPELINE] == "btc"
        assert len(metadata["name"]) <= 63


def test_rendering_twice_gives_the_same_bytes() -> None:
    assert json.dumps(objects({"news": NEWS})) == json.dumps(objects({"news": NEWS}))


@pytest.mark.parametrize(
    "spec", [{}, {"news": NEWS}, {"source": {"kind": "Replay", "replay": {"files": ["/data/a.csv"]}}}]
)
def test_pods_meet_pod_security_restricted(spec: dict[str, Any]) -> None:
    found = list(pod_specs(objects(spec)))
    assert len(found) >= 6
    for name, pod in found:
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod), name
        for volume in pod["volumes"]:
            assert set(volume) - {"name"} <= {"emptyDir", "configMap", "persistentVolumeClaim"}, name
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["requests"], name
            assert container["resources"]["limits"]["memory"], name


def test_secrets_come_by_reference_only() -> None:
    rendered = objects({"news": {"cryptoPanic": {"apiKeySecretRef": {"name": "panic", "key": "token"}}}})
    deployments = by_name(rendered)
    container = deployments["Deployment/btc-news"]["spec"]["template"]["spec"]["containers"][0]
    assert {
        "name": "CRYPTOPANIC_API_KEY",
        "valueFrom": {"secretKeyRef": {"name": "panic", "key": "token"}},
    } in container["env"]
    for each in rendered:
        if each["kind"] == "ConfigMap":
            assert set(each["data"]) == {"settings.json"}
            assert not any("key" in name or "token" in name or name.endswith("store_url") for name in told(each))


def test_a_process_reads_its_settings_from_the_file_that_its_config_map_is_mounted_as(tmp_path: Path) -> None:
    news = {"rss": {"urls": ["https://news.example/feed?tags=btc,eth"]}}
    found = by_name(objects({"news": news, "candles": {"seconds": 30}, "prediction": {"horizonsSeconds": [60]}}))
    pod = found["Deployment/btc-news"]["spec"]["template"]["spec"]
    assert {"name": "settings", "configMap": {"name": "btc-news"}} in pod["volumes"]
    (container,) = pod["containers"]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "settings"]
    assert mount["readOnly"]
    environ = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    document = Path(environ["PRICECAST_SETTINGS"])
    assert str(document.parent) == mount["mountPath"]
    (tmp_path / document.name).write_text(found["ConfigMap/btc-news"]["data"][document.name])
    settings = load(NewsSettings, {**environ, "PRICECAST_SETTINGS": str(tmp_path / document.name)})
    assert settings.rss_urls == ["https://news.example/feed?tags=btc,eth"]
    assert settings.http_host == "0.0.0.0"


def test_what_the_operator_itself_is_told_reaches_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [*objects({"news": NEWS}), *finetune().values()]
    for name, value in {"LOG_LEVEL": "DEBUG", "HTTP_PORT": "1234", "THREADS": "9", "PAIRS": "nonsense"}.items():
        monkeypatch.setenv(name, value)
    assert [*objects({"news": NEWS}), *finetune().values()] == before


@pytest.mark.parametrize(
    ("change", "rolled"),
    [
        ({"training": {"schedule": "0 0 * * *"}}, set()),
        ({"prediction": {"horizonsSeconds": [600]}}, {"price-predictor"}),
        ({"indicators": ["rsi(14)"]}, {"technical-indicators"}),
        ({"pairs": ["BTC/USD", "ETH/USD"]}, {"trades", "candles", "price-predictor"}),
        (
            {"candles": {"graceSeconds": 5}},
            {"trades", "candles"},
        ),  # heartbeats of a quiet market come as late as trades may
        ({"source": {"since": "10d"}}, {"trades"}),
    ],
)
def test_a_change_rolls_only_what_it_concerns(change: dict[str, Any], rolled: set[str]) -> None:
    def templates(spec: dict[str, Any]) -> dict[str, str]:
        return {
            each["metadata"]["labels"][labels.PROCESS]: json.dumps(each["spec"]["template"])
            for each in objects(spec)
            if each["kind"] == "Deployment"
        }

    before, after = templates({}), templates(change)
    assert {process for process, template in before.items() if after[process] != template} == rolled


def test_another_version_of_a_secret_rolls_only_who_reads_it() -> None:
    parsed = PricePipelineSpec.model_validate({"pairs": ["BTC/USD"]})
    planned = plan("btc", parsed, ClusterBackends(parsed.storage))

    def rendered(version: str) -> dict[str, str]:
        pipeline = Pipeline(OWNER, parsed, planned, secret_versions={"pricecast-storage": version})
        return {name: json.dumps(each) for name, each in by_name(render(pipeline, RenderOptions())).items()}

    before, after = rendered("1"), rendered("2")
    assert before.keys() == after.keys()  # a training that has run is not run again
    assert {name for name in before if before[name] != after[name]} == {
        "Deployment/btc-to-feature-store",
        "Deployment/btc-price-predictor",
    }


def test_new_training_settings_are_a_new_job_and_a_new_image_is_not() -> None:
    def job(spec: dict[str, Any], options: RenderOptions | None = None) -> str:
        return next(each["metadata"]["name"] for each in objects(spec, options) if each["kind"] == "Job")

    assert job({}) == job({}, RenderOptions(image="other/{service}:2"))
    assert job({}) != job({"prediction": {"horizonsSeconds": [600]}})
    assert job({}) == job({"training": {"schedule": "0 0 * * *"}})


def test_a_source_that_ends_is_a_job_that_is_not_started_over() -> None:
    replay = {"source": {"kind": "Replay", "replay": {"files": ["/data/a.csv"], "configMap": "market"}}}
    found = by_name(objects(replay))
    assert "Deployment/btc-trades" not in found
    job = next(each for name, each in found.items() if name.startswith("Job/btc-trades-"))
    assert {"name": "data", "configMap": {"name": "market"}} in job["spec"]["template"]["spec"]["volumes"]
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_two_readers_of_one_market_never_run_at_once() -> None:
    found = by_name(objects())
    assert found["Deployment/btc-trades"]["spec"]["strategy"] == {"type": "Recreate"}
    assert found["Deployment/btc-candles"]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@given(st.integers(0, 20), st.integers(1, 10), st.booleans())
def test_replicas_share_partitions_and_suspension_stops_all(wanted: int, partitions: int, suspended: bool) -> None:
    rendered = objects({"replicas": wanted, "topics": {"partitions": partitions}, "suspend": suspended})
    for each in rendered:
        if each["kind"] == "Deployment":
            scalable = labels.SCALABLE in each["metadata"]["labels"]
            expected = min(wanted, partitions) if scalable else 1
            assert each["spec"]["replicas"] == (0 if suspended else expected)
        elif each["kind"] in ("Job", "CronJob"):
            assert each["spec"]["suspend"] is suspended


def test_overrides_reach_the_pods() -> None:
    override = {
        "resources": {"requests": {"cpu": 2, "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "dedicated", "effect": "NoSchedule"}],
        "image": "mine/candles:1",
    }
    pod = by_name(objects({"services": {"candles": override}}))["Deployment/btc-candles"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"disk": "fast"}
    assert pod["tolerations"] == [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["containers"][0]["image"] == "mine/candles:1"
    assert pod["containers"][0]["resources"]["requests"] == {"cpu": "2", "memory": "1Gi"}


def test_pod_monitor_only_where_it_is_known() -> None:
    assert "PodMonitor/btc" not in by_name(objects())
    assert "PodMonitor/btc" in by_name(objects(options=RenderOptions(pod_monitors=True)))


def test_every_pod_is_covered_by_default_deny_and_names_whom_it_talks_to() -> None:
    storage = {"kafka": {"brokers": "kafka.streams.svc:9092"}, "predictions": {"url": "http://10.1.2.3:9200"}}
    found = by_name(objects({"storage": storage, "news": NEWS}))
    deny = found["NetworkPolicy/btc-default-deny"]["spec"]
    assert deny == {"podSelector": {"matchLabels": {labels.PIPELINE: "btc"}}, "policyTypes": ["Ingress", "Egress"]}
    candles = found["NetworkPolicy/btc-candles"]["spec"]
    assert [rule.get("to") for rule in candles["egress"]] == [
        None,  # DNS
        [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "streams"}}}],
    ]
    predictor = yaml.safe_dump(found["NetworkPolicy/btc-price-predictor"])
    assert "10.1.2.3/32" in predictor
    assert "port: 5432" in predictor
    assert "port: 11434" in yaml.safe_dump(found["NetworkPolicy/btc-news-signal"])
    trades = yaml.safe_dump(found["NetworkPolicy/btc-trades"])
    assert "169.254.0.0/16" in trades  # the internet, without the cloud's metadata service


def test_known_databases_are_named_exactly() -> None:
    parsed = PricePipelineSpec.model_validate({"pairs": ["BTC/USD"]})
    databases = {SecretKeyRef(name="pricecast-storage", key="sql-url"): Address("db.data.svc", 6432)}
    planned = plan("btc", parsed, ClusterBackends(parsed.storage))
    rendered = by_name(render(Pipeline(OWNER, parsed, planned, databases), RenderOptions()))
    policy = yaml.safe_dump(rendered["NetworkPolicy/btc-to-feature-store"])
    assert "port: 6432" in policy
    assert "port: 5432" not in policy


def finetune(**spec: Any) -> dict[str, dict[str, Any]]:
    parsed = FinetuneJobSpec.model_validate({**FINETUNE["spec"], **spec})
    return by_name(render_finetune(Owner("FinetuneJob", "news", "prices", "abcd1234-5"), parsed, RenderOptions()))


def test_finetune_job_asks_for_a_gpu_and_tolerates_its_taint() -> None:
    pod = finetune()["Job/news"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_finetune_job_runs_on_the_cpu_if_told_to() -> None:
    resources = finetune(gpu={"count": 0})["Job/news"]["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert "nvidia.com/gpu" not in {**resources["requests"], **resources.get("limits", {})}


def test_finetune_job_carries_deadline_retries_and_queue() -> None:
    job = finetune(queueName="gpus", backoffLimit=5, deadline="2h", ttlAfterFinished="1d")["Job/news"]
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    assert job["spec"]["backoffLimit"] == 5
    assert job["spec"]["activeDeadlineSeconds"] == 7_200
    assert job["spec"]["ttlSecondsAfterFinished"] == 86_400
    assert "suspend" not in job["spec"]  # Kueue's to decide


def test_suspended_finetune_job_keeps_its_checkpoints() -> None:
    assert finetune(suspend=True)["Job/news"]["spec"]["suspend"] is True
    queued = finetune(suspend=True, queueName="gpus")
    assert "Job/news" not in queued
    assert "PersistentVolumeClaim/news-checkpoints" in queued


def test_finetune_settings_are_read_back_by_the_service() -> None:
    found = finetune(trainer={"maxSteps": 40}, lora={"rank": 8}, coins=["BTC", "ETH"])
    settings = FinetuneSettings(**told(found["ConfigMap/news"]))
    assert settings.max_steps == 40
    assert settings.lora_rank == 8
    assert settings.coins == ["BTC", "ETH"]
    assert settings.ollama_model == "pricecast-news"
    assert settings.dataset == "/dataset/dataset.jsonl"
    assert settings.version == "abcd1234"


def test_an_encoder_is_read_from_the_pods_own_volume_and_asks_nobody() -> None:
    signals = {"provider": "Encoder", "encoder": {"head": "/encoder/head.json", "weights": "/encoder/bge.jar"}}
    volumes = {
        "volumes": [{"name": "encoder", "persistentVolumeClaim": {"claimName": "encoder"}}],
        "volumeMounts": [{"name": "encoder", "mountPath": "/encoder"}],
    }
    rendered = by_name(objects({"news": {"signals": signals}, "services": {"news-signal": volumes}}))
    settings = told(rendered["ConfigMap/btc-news-signal"])
    assert (settings["provider"], settings["model"]) == ("encoder", ENCODER)
    assert (settings["encoder_head"], settings["encoder_weights"]) == ("/encoder/head.json", "/encoder/bge.jar")
    assert told(rendered["ConfigMap/btc-price-predictor"])["news_model"] == ENCODER
    mounts = rendered["Deployment/btc-news-signal"]["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert {"name": "encoder", "mountPath": "/encoder"} in mounts
    assert NewsSignalSettings(pipeline="btc", provider="encoder").addresses == []


def test_pipeline_moves_to_the_model_that_a_finetune_job_published() -> None:
    signals = {"provider": "Ollama", "url": "http://ollama.llm.svc:11434", "finetuneJob": "news"}
    spec = {"news": {"rss": {"urls": ["https://news.example/feed"]}, "signals": signals}}
    before, after = by_name(objects(spec)), by_name(objects(spec, news_model="pricecast-news:abcd1234"))
    assert told(before["ConfigMap/btc-news-signal"])["provider"] == "lexicon"  # until there is one
    settings = told(after["ConfigMap/btc-news-signal"])
    assert (settings["provider"], settings["model"]) == ("ollama", "pricecast-news:abcd1234")
    assert told(after["ConfigMap/btc-price-predictor"])["news_model"] == "pricecast-news:abcd1234"
    assert before["Deployment/btc-news-signal"] != after["Deployment/btc-news-signal"]
    assert before["Deployment/btc-candles"] == after["Deployment/btc-candles"]


def objects_by_name(spec: dict[str, Any], options: RenderOptions | None = None) -> dict[str, dict[str, Any]]:
    return by_name(objects(spec, options))


PODS = {
    "labels": {"team": "prices", labels.PIPELINE: "someone-elses"},
    "annotations": {"sidecar.istio.io/inject": "false"},
    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}, {"name": "KAFKA_BROKERS", "value": "evil:1"}],
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "priorityClassName": "business",
    "imagePullSecrets": ["harbor"],
    "serviceAccount": {"annotations": {"iam.example/role": "reader"}},
    "volumes": [{"name": "extra", "emptyDir": {}}],
    "volumeMounts": [{"name": "extra", "mountPath": "/extra"}],
    "caBundle": {"configMap": "corporate-ca"},
    "stateSizeLimit": "2Gi",
    "queueName": "batch",
}


def test_what_is_asked_of_all_pods_is_on_all_and_a_service_may_ask_otherwise() -> None:
    services = {"candles": {"priorityClassName": "urgent", "labels": {"tier": "one"}, "env": [{"name": "X"}]}}
    found = objects_by_name({"pods": PODS, "services": services}, RenderOptions(image_pull_secrets=("harbor", "own")))
    for name, each in found.items():
        if not name.startswith(("Deployment/", "Job/", "CronJob/")):
            continue
        spec = each["spec"]["jobTemplate"]["spec"] if name.startswith("CronJob/") else each["spec"]
        template, pod = spec["template"], spec["template"]["spec"]
        assert template["metadata"]["labels"]["team"] == "prices"
        assert template["metadata"]["labels"][labels.PIPELINE] == "btc"
        assert template["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"
        assert pod["affinity"] == PODS["affinity"]
        assert pod["topologySpreadConstraints"] == PODS["topologySpreadConstraints"]
        assert pod["priorityClassName"] == ("urgent" if name == "Deployment/btc-candles" else "business")
        assert pod["imagePullSecrets"] == [{"name": "harbor"}, {"name": "own"}]
        container = pod["containers"][0]
        env = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert env["HTTPS_PROXY"] == "http://proxy:3128"
        assert env["SSL_CERT_FILE"] == "/etc/pricecast/ca/ca.crt"
        assert "KAFKA_BROKERS" not in env  # what pricecast tells its processes stands
        assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/extra", "/etc/pricecast/ca"}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["state"] == {"name": "state", "emptyDir": {"sizeLimit": "2Gi"}}
        assert volumes["ca-bundle"]["configMap"]["name"] == "corporate-ca"
    assert found["Deployment/btc-candles"]["spec"]["template"]["metadata"]["labels"]["tier"] == "one"
    assert found["ServiceAccount/btc-trades"]["metadata"]["annotations"] == {"iam.example/role": "reader"}
    job = next(each for name, each in found.items() if name.startswith("Job/"))
    assert job["metadata"]["labels"][labels.QUEUE] == "batch"
    assert "suspend" not in job["spec"]  # Kueue's to set
    assert found["CronJob/btc-retrain"]["spec"]["jobTemplate"]["metadata"]["labels"] == {labels.QUEUE: "batch"}


def test_a_queued_training_is_taken_away_while_the_pipeline_is_suspended() -> None:
    found = objects_by_name({"pods": {"queueName": "batch"}, "suspend": True})
    assert not any(name.startswith("Job/") for name in found)


def test_an_account_that_exists_is_used_and_none_is_made() -> None:
    found = objects_by_name({"pods": {"serviceAccount": {"name": "workload"}}})
    assert not any(name.startswith("ServiceAccount/") for name in found)
    assert found["Deployment/btc-trades"]["spec"]["template"]["spec"]["serviceAccountName"] == "workload"


def test_a_digest_is_used_instead_of_the_tag() -> None:
    options = RenderOptions(image="registry:5000/p/{service}:1", digests=(("trades", "sha256:ab"),))
    assert options.image_of("trades") == "registry:5000/p/trades@sha256:ab"
    assert options.image_of("candles") == "registry:5000/p/candles:1"
    assert RenderOptions(image="registry:5000/{service}", digests=(("x", "sha256:ab"),)).image_of("x") == (
        "registry:5000/x@sha256:ab"
    )


def test_an_unquoted_quantity_is_one() -> None:
    resources = {"requests": {"cpu": 0.5}, "limits": {"cpu": 2, "memory": "1Gi"}}
    found = objects_by_name({"services": {"candles": {"resources": resources}}})
    container = found["Deployment/btc-candles"]["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == {"requests": {"cpu": "0.5"}, "limits": {"cpu": "2", "memory": "1Gi"}}


@pytest.mark.parametrize("kind", [exchange.title for exchange in EXCHANGES.values()])
def test_trades_may_talk_to_the_exchange_that_the_source_names(kind: str) -> None:
    source = {"kind": kind, kind.lower(): {"restUrl": "http://10.9.8.7:8001", "websocketUrl": "ws://10.9.8.6:8002"}}
    rules = by_name(objects({"source": source}))["NetworkPolicy/btc-trades"]["spec"]["egress"]
    reached = {
        (peer["ipBlock"]["cidr"], rule["ports"][0]["port"])
        for rule in rules
        for peer in rule.get("to", ())
        if "ipBlock" in peer
    }
    assert reached >= {("10.9.8.7/32", 8001), ("10.9.8.6/32", 8002)}


def test_an_address_that_is_none_is_refused_by_the_setting_that_holds_it() -> None:
    settings = NewsSettings(pipeline="t", source=["rss"], rss_urls=["https://a.example/feed", "http://"])  # type: ignore[call-arg]
    with pytest.raises(SettingsError, match=r"^rss_urls: is not such a URL; write http://"):
        of_settings(settings)


AUTOSCALED = {
    "pairs": ["BTC/USD", "ETH/USD", "SOL/USD"],
    "services": {"candles": {"autoscaling": {"minReplicas": 2, "maxReplicas": 9, "lagThreshold": 500}}},
    "topics": {"partitions": 4},
}


def test_a_service_that_scales_itself_is_scaled_by_lag_where_keda_is() -> None:
    found = by_name(objects(AUTOSCALED, RenderOptions(scaled_objects=True)))
    assert "replicas" not in found["Deployment/btc-candles"]["spec"]
    spec = found["ScaledObject/btc-candles"]["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 4)  # no more than partitions
    assert spec["triggers"][0]["metadata"] == {
        "bootstrapServers": "redpanda.redpanda.svc:9093",
        "consumerGroup": "btc.candles",
        "topic": "btc.trades",
        "lagThreshold": "500",
        "offsetResetPolicy": "earliest",
    }
    assert "HorizontalPodAutoscaler/btc-candles" not in found


def test_without_keda_it_is_scaled_by_cpu_and_suspended_by_nobody_but_us() -> None:
    found = by_name(objects(AUTOSCALED))
    spec = found["HorizontalPodAutoscaler/btc-candles"]["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "btc-candles"}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 4)
    assert spec["metrics"][0]["resource"]["target"]["averageUtilization"] == 80
    suspended = by_name(objects({**AUTOSCALED, "suspend": True}))
    assert suspended["Deployment/btc-candles"]["spec"]["replicas"] == 0
    assert "HorizontalPodAutoscaler/btc-candles" not in suspended


def test_many_pairs_are_deployments_and_jobs_of_their_own() -> None:
    pairs = [f"C{number}/USD" for number in range(130)]
    found = by_name(objects({"pairs": pairs, "training": {"minRows": 500}}))
    for number in ("", "-2", "-3"):
        deployment = found[f"Deployment/btc-price-predictor{number}"]
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert labels["pricecast.dev/process"] == f"price-predictor{number}"
        assert f"CronJob/btc-retrain{number}" in found
        document = told(found[f"ConfigMap/btc-price-predictor{number}"])
        assert len(document["pairs"]) == (2 if number == "-3" else 64)
    assert len([name for name in found if name.startswith("Job/btc-train")]) == 3
