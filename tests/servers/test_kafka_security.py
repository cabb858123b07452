"""Every client of ours against a Kafka that lets nobody in unasked: SASL_SSL with SCRAM, mutual TLS, ACLs by prefix."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka import admin as kafka_admin

from pricecast_core.kafka import Kafka, connection, secured
from pricecast_core.streaming import StreamError, all_values, ensure_topics
from pricecast_core.streaming.positions import sizes
from pricecast_core.topics import ALL, CANDLES, topic_name
from pricecast_operator.observe.kafka import TopicPlan, Topics, TopicsError
from pricecast_resources.storage import KafkaStorage
from pricecast_testbed import SecuredKafka
from pricecast_testbed.kubernetes import pki
from tests.waiting import eventually

_admin: Any = kafka_admin
PASSWORD = "canary-7f3a"
HEADLINES = "title,newsDatetime\n" + "".join(f"Bitcoin rises for day {day},2024-06-{day:02d}\n" for day in range(1, 9))
SERVICES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "trades": ((), {"PAIRS": "BTC/USD", "SOURCE": "simulated", "SINCE": "5h", "SIMULATION_TRADES_PER_SECOND": "1"}),
    "candles": ((), {"PAIRS": "BTC/USD"}),
    "technical-indicators": ((), {}),
    "to-feature-store": ((), {}),
    "price-predictor": (("serve",), {"PAIRS": "BTC/USD", "HORIZONS_SECONDS": "300"}),
    "news": ((), {"SOURCE": "archive", "ARCHIVE": "news.csv"}),
    "news-signal": ((), {}),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    server = SecuredKafka(tmp_path_factory.mktemp("secured"))
    server.start()
    pki.sign(server.pki, "t", "/CN=t", [])
    admin = _admin.AdminClient({"bootstrap.servers": server.url})
    for user in ("t", "other"):
        for mechanism in (_admin.ScramMechanism.SCRAM_SHA_512, _admin.ScramMechanism.SCRAM_SHA_256):
            credential = _admin.UserScramCredentialUpsertion(
                user, _admin.ScramCredentialInfo(mechanism, 4096), PASSWORD.encode()
            )
            for done in admin.alter_user_scram_credentials([credential]).values():
                done.result(30)
        for done in admin.create_acls(acls(user)).values():
            done.result(30)
    yield server
    server.wipe()


def acls(pipeline: str) -> list[Any]:
    """What docs/cluster.md says that a pipeline's user needs: all of what begins with its name, and nothing else."""
    kinds, allow, everything = _admin.ResourceType, _admin.AclPermissionType.ALLOW, _admin.AclOperation.ALL
    prefixed = _admin.ResourcePatternType.PREFIXED
    wanted = [
        (kinds.TOPIC, f"{pipeline}."),
        (kinds.TOPIC, f"changelog__{pipeline}."),
        (kinds.GROUP, f"{pipeline}."),
        (kinds.TRANSACTIONAL_ID, f"{pipeline}."),
    ]
    return [
        _admin.AclBinding(kind, name, prefixed, f"User:{pipeline}", "*", everything, allow) for kind, name in wanted
    ]


def variables(server: SecuredKafka, user: str = "t", **changes: str) -> dict[str, str]:
    return {
        "KAFKA_BROKERS": server.sasl_url,
        "KAFKA_PROTOCOL": "SASL_SSL",
        "KAFKA_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_USERNAME": user,
        "KAFKA_PASSWORD": PASSWORD,
        "KAFKA_CA": (server.pki / "ca.crt").read_text(),
    } | changes


def kafka(server: SecuredKafka, **changes: str) -> Kafka:
    given = variables(server, **changes)
    return secured(given["KAFKA_BROKERS"], given["KAFKA_PROTOCOL"], given["KAFKA_MECHANISM"], given)  # type: ignore[arg-type]


class Process:
    """A service with credentials."""

    def __init__(self, service: str, folder: Path, env: dict[str, str]) -> None:
        arguments, needed = SERVICES[service]
        self.log = folder / f"{service}.log"
        given = {"PATH": os.environ["PATH"], "PIPELINE": "t", "HTTP_PORT": "0", "INSTANCE": service} | needed | env
        with self.log.open("wb") as log:
            command = [Path(sys.executable).with_name(f"pricecast-{service}"), *arguments]
            self._process = subprocess.Popen(command, cwd=folder, env=given, stderr=log, stdout=log)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)

    def problems(self) -> dict[str, str]:
        lines = self.log.read_text().splitlines()
        started = [json.loads(line)["health"] for line in lines if '"health"' in line]
        if not started:
            return {"service": "not started"}
        try:
            with urllib.request.urlopen(f"{started[0]}/readyz", timeout=30) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            found = json.load(error)
        problems: dict[str, str] = found["problems"]
        return problems


def test_every_service_works_with_rights_for_its_pipeline_alone(server: SecuredKafka, tmp_path: Path) -> None:
    ensure_topics(kafka(server), "t", ALL)
    (tmp_path / "news.csv").write_text(HEADLINES)
    with ExitStack() as stack:
        running = [stack.enter_context(Process(name, tmp_path, variables(server))) for name in SERVICES]
        names = [topic_name("t", spec) for spec in ALL if spec.name not in ("predictions", "dead-letters")]
        eventually(lambda: all(size.offsets for size in sizes(kafka(server), names).values()), seconds=180)
        for process in running[:4]:
            eventually(lambda process=process: process.problems() == {}, seconds=120)
    logs = "".join(path.read_text() for path in tmp_path.glob("*.log"))
    assert "not authorized" not in logs.lower()
    assert "authorization failed" not in logs.lower()
    assert PASSWORD not in logs
    assert "BEGIN" not in logs


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"KAFKA_PASSWORD": "wrong"}, "Authentication failed"),
        ({"KAFKA_CA": ""}, "certificate verify failed"),
        ({"KAFKA_USERNAME": "other"}, "authorization failed"),
    ],
)
@pytest.mark.parametrize("service", ["trades", "candles", "news-signal"])
def test_who_is_not_let_in_says_why_within_a_minute(
    server: SecuredKafka, tmp_path: Path, service: str, changes: dict[str, str], said: str
) -> None:
    ensure_topics(kafka(server), "t", ALL)
    with Process(service, tmp_path, variables(server, **changes)) as process:
        eventually(lambda: said.lower() in json.dumps(process.problems()).lower(), seconds=60)


def test_a_client_certificate_is_enough(server: SecuredKafka) -> None:
    certificate = {
        "KAFKA_BROKERS": server.mutual_url,
        "KAFKA_PROTOCOL": "SSL",
        "KAFKA_CERTIFICATE": (server.pki / "t.crt").read_text(),
        "KAFKA_KEY": (server.pki / "t.key").read_text(),
    }
    ensure_topics(kafka(server, **certificate), "t", ALL)
    with pytest.raises(StreamError):
        ensure_topics(kafka(server, **certificate), "other", ALL)
    with pytest.raises(StreamError):
        list(all_values(kafka(server, **(certificate | {"KAFKA_CERTIFICATE": "", "KAFKA_KEY": ""})), "t.trades"))


def test_the_other_scram_mechanism_is_as_good(server: SecuredKafka) -> None:
    ensure_topics(kafka(server, KAFKA_MECHANISM="SCRAM-SHA-256"), "t", ALL)


def test_the_command_takes_the_same_variables(server: SecuredKafka, tmp_path: Path) -> None:
    ensure_topics(kafka(server), "t", ALL)
    command = [Path(sys.executable).with_name("pricecast"), "topics", "--pipeline", "t", "--brokers", server.sasl_url]
    env = {"PATH": os.environ["PATH"], "COLUMNS": "160"} | variables(server)
    shown = subprocess.run(command, env=env, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    assert "t.dead-letters" in shown.stdout


def test_the_operator_makes_measures_and_deletes_topics_with_a_pipelines_rights(server: SecuredKafka) -> None:
    storage = KafkaStorage(brokers=server.sasl_url, protocol="SASL_SSL", secret_name="other-kafka")
    own = storage.reached(variables(server, "other"))
    topics, plan = Topics(), TopicPlan({topic_name("other", CANDLES): CANDLES}, partitions=2, replication=1)
    assert topics.ensure(own, plan) == 2
    assert topics.missing(own, plan.topics) == set()
    producer = Producer({**connection(own)})
    producer.produce(topic_name("other", CANDLES), b"{}", partition=0)
    producer.flush(30)
    consumer = Consumer({**connection(own), "group.id": "other.technical-indicators"})
    consumer.commit(offsets=[TopicPartition(topic_name("other", CANDLES), 0, 0)], asynchronous=False)
    consumer.close()
    assert topics.lags(own, ["other"]) == {"other": {"technical-indicators": 1}}
    foreign = TopicPlan({topic_name("t", CANDLES): CANDLES, topic_name("u", CANDLES): CANDLES}, 1, 1)
    with pytest.raises(TopicsError, match="give the user all rights to topics") as refused:
        topics.ensure(own, foreign)
    assert refused.value.reason == "TopicsRefused"
    assert topics.delete(own, "other") == [topic_name("other", CANDLES)]
    assert topics.missing(own, plan.topics) == set(plan.topics)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"KAFKA_PASSWORD": f"{PASSWORD}-old"}, "check KAFKA_USERNAME, KAFKA_PASSWORD"),
        ({"KAFKA_CA": ""}, "check KAFKA_CA, on a cluster ca.crt"),
        ({"KAFKA_CA": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, "are PEM"),
    ],
)
def test_the_operator_says_why_it_is_not_let_in_and_what_to_do(
    server: SecuredKafka, changes: dict[str, str], said: str
) -> None:
    with pytest.raises(TopicsError, match=said) as refused:
        Topics().missing(kafka(server, **changes), ["t.trades"])
    assert refused.value.reason == "KafkaUnreachable"
    assert PASSWORD not in str(refused.value)


MANIFEST = """
apiVersion: pricecast.dev/v1alpha1
kind: PricePipeline
metadata: {{name: t}}
spec:
  pairs: [BTC/USD]
  source: {{kind: Replay, replay: {{files: [bars.csv]}}}}
  training: {{minRows: 200, trials: 0, folds: 2}}
  storage:
    kafka: {{brokers: "{brokers}", protocol: SASL_SSL, secretName: t-kafka}}
"""


def test_a_manifest_with_credentials_runs_to_its_end_and_its_topics_are_listed(
    server: SecuredKafka, tmp_path: Path
) -> None:
    # A pipeline of its own: the topics of t have trades of the tests before.
    manifest = MANIFEST.format(brokers=server.sasl_url).replace("name: t", "name: other")
    (tmp_path / "pipeline.yaml").write_text(manifest)
    start = 1_700_000_040
    bars = [f"{start + 60 * i},{100 + i % 7},110,90,{100 + i % 5},1,3" for i in range(700)]
    (tmp_path / "bars.csv").write_text("\n".join(bars) + "\n")
    given = variables(server, "other")
    secrets = {name: given[name] for name in ("KAFKA_USERNAME", "KAFKA_PASSWORD", "KAFKA_CA")}
    base = {"PATH": os.environ["PATH"], "COLUMNS": "160"}

    def pricecast(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).with_name("pricecast"), *arguments]
        return subprocess.run(
            command, env=base | env, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=300
        )

    drained = ("up", "pipeline.yaml", "--exit-when-drained", "--data-dir", "data")
    ran = pricecast(*drained, KAFKA_BROKERS=server.sasl_url, **secrets)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    shown = pricecast("topics", "--manifest", "pipeline.yaml", "--pipeline", "other", **secrets)
    assert shown.returncode == 0, shown.stderr
    assert "other.features" in shown.stdout
    letters = pricecast("deadletters", "list", "--manifest", "pipeline.yaml", "--pipeline", "other", **secrets)
    assert letters.returncode == 0, letters.stderr
    looked = pricecast("doctor", "--json", "pipeline.yaml", **secrets)
    (found,) = [json.loads(line) for line in looked.stdout.splitlines() if "Kafka" in line]
    assert found["status"] == "ok", found
    lacking = pricecast("topics", "--manifest", "pipeline.yaml", "--pipeline", "other", KAFKA_USERNAME="other")
    assert lacking.returncode == 78
    assert "KAFKA_PASSWORD" in lacking.stderr
    written = "".join(path.read_text(errors="replace") for path in (tmp_path / "data").rglob("*.log"))
    settings = "".join(path.read_text() for path in (tmp_path / "data" / "settings").iterdir())
    said = [each.stdout + each.stderr for each in (ran, shown, letters, looked, lacking)]
    for text in (written, settings, (tmp_path / "data" / "state.json").read_text(), *said):
        assert PASSWORD not in text
        assert "BEGIN CERTIFICATE" not in text
