"""From a plan to programs that this machine can run: commands, environments, the order in which they start.

Each service is the console script that is installed beside this interpreter. It reads a settings document in the data
folder, which a cluster mounts from a ConfigMap. What a cluster takes from Secrets, a laptop takes from the environment
of `pricecast up`, under the name by which the service knows it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pricecast_cli.local.folder import DataFolder
from pricecast_core import services
from pricecast_core.errors import SettingsError
from pricecast_core.settings import DOCUMENT_VARIABLE, StreamSettings, read
from pricecast_core.settings.news_signal import ENCODER_HEAD
from pricecast_resources.base import OptionalKey, SecretKeyRef
from pricecast_resources.news import EncoderFiles, NewsSignals
from pricecast_resources.plan import Access, Plan, ServiceProcess, prediction_api
from pricecast_resources.pricepipeline import PricePipelineSpec
from pricecast_resources.storage import KafkaStorage, Storage

BROKER = "broker"
API = services.PREDICTION_API.name
TRAINING = services.TRAIN.name
"""The program that trains: the plan's first training and its later ones are one here."""

JOB_ATTEMPTS = 4
BROKER_STAGE, SERVICE_STAGE, API_STAGE = 0, 1, 2
"""A stage starts once the one before it is ready."""


@dataclass(frozen=True, slots=True)
class Program:
    """One process to supervise.

    Attributes:
        name: Its name, in logs and on screen.
        command: What is executed.
        document: Its settings, which are written to the data folder as it starts; none for the broker.
        env: Variables on top of the caller's; the supervisor adds HTTP_PORT.
        stage: When it starts.
        ends: True if it may end by itself, with exit code 0.
        job: True if it is started only when it is due, and runs to its end in the background.
        optional: True if the pipeline goes on without it.
        attempts: How often it is tried in a row when it crashes; 0 for ever.
        grace_seconds: How long it may take to end once it is asked to.
        problem: Why it can't be started at all; empty if it can.
    """

    name: str
    command: tuple[str, ...]
    document: Mapping[str, Any] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    stage: int = SERVICE_STAGE
    ends: bool = False
    job: bool = False
    optional: bool = False
    attempts: int = 0
    grace_seconds: float = 15.0
    problem: str = ""

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Returns all its variables.

        Args:
            environ: The caller's: they reach the program, but for those that would undo what the manifest says.
        """
        decided = self.document or {}
        inherited = {name: value for name, value in environ.items() if not (name.isupper() and name.lower() in decided)}
        return {**inherited, **self.env}


@dataclass(frozen=True, slots=True)
class LocalBackends:
    """The embedded stores: files in the data folder, and one broker.

    Attributes:
        folder: The pipeline's data folder.
        kafka: The broker, the embedded one or another.
    """

    folder: DataFolder
    kafka: KafkaStorage

    @property
    def prediction_store(self) -> Literal["sql", "elasticsearch"]:
        """Kind of the prediction store."""
        return "sql"

    def features(self) -> Access:
        """Variables that give access to the feature store."""
        return {"FEATURE_STORE_URL": self.folder.database("features")}

    def models(self) -> Access:
        """Variables that give access to the model registry."""
        return {"MODEL_REGISTRY_URL": self.folder.database("models")}

    def predictions(self) -> Access:
        """Variables that give access to the prediction store."""
        return {"PREDICTION_STORE_URL": self.folder.database("predictions")}

    def news_cache(self) -> Access:
        """Variables that give access to the cache of news signals."""
        return {"CACHE_URL": self.folder.database("news-signals")}


def kafka_of(named: KafkaStorage, environ: Mapping[str, str]) -> KafkaStorage | None:
    """Returns the Kafka that KAFKA_BROKERS names, reached as the manifest says, or as variables do; None without it.

    Args:
        named: The manifest's Kafka.
        environ: Where variables are looked up.

    Raises:
        SettingsError: If a variable names no protocol or mechanism.
    """
    if not environ.get("KAFKA_BROKERS"):
        return None
    wanted = {"KAFKA_PROTOCOL": named.protocol, "KAFKA_MECHANISM": named.mechanism, **environ}
    told = read(StreamSettings, wanted, pipeline="local")
    changes = {"brokers": told.kafka_brokers, "protocol": told.kafka_protocol, "mechanism": told.kafka_mechanism}
    return named.model_copy(update=changes)


def on_embedded_stores(spec: PricePipelineSpec) -> PricePipelineSpec:
    """Returns the spec without the servers it names: a laptop has its own."""
    return spec.model_copy(update={"storage": Storage()})


def with_best_reader(spec: PricePipelineSpec, head: Path = ENCODER_HEAD) -> PricePipelineSpec:
    """Returns the spec with news read by the encoder, where a head was trained here and no reader is asked for.

    Args:
        spec: A pipeline's spec.
        head: Where training leaves the head; it says where the encoder's weights were then.
    """
    if spec.news is None or spec.news.signals.model_fields_set:
        return spec
    try:
        weights = str(json.loads(head.read_bytes())["weights"])
    except (OSError, ValueError, KeyError, TypeError):
        return spec
    if not weights.startswith(("package:", "hub:")) and not Path(weights).exists():
        return spec
    signals = NewsSignals(provider="Encoder", encoder=EncoderFiles(head=str(head.absolute())))
    return spec.model_copy(update={"news": spec.news.model_copy(update={"signals": signals})})


def script(service: str) -> str:
    """Returns the path of a service's command: beside this interpreter, else on the PATH."""
    beside = Path(sys.executable).with_name(f"pricecast-{service}")
    return str(beside) if beside.exists() else shutil.which(beside.name) or str(beside)


def broker_program(folder: DataFolder, port: int, partitions: int) -> Program:
    """Returns the embedded broker."""
    env = {"BROKER_PORT": str(port), "BROKER_DATA_DIR": str(folder.broker), "BROKER_PARTITIONS": str(partitions)}
    return Program(name=BROKER, command=(script("embedded-broker"),), env=env, stage=BROKER_STAGE, grace_seconds=30)


def programs_of(plan: Plan, folder: DataFolder, environ: Mapping[str, str] | None = None) -> list[Program]:
    """Returns the plan's programs, in the order in which data flows.

    The plan's training job and its schedule become one program: when it is due is decided while it runs.

    Args:
        plan: What the pipeline needs.
        folder: Where its data lies.
        environ: Where secrets are looked up; this process's environment by default.
    """
    found: dict[str, Program] = {}
    for process in plan.processes:
        if process.override.replicas == 0 or process.kind == "schedule":
            continue
        found[process.name] = _program(process, folder, os.environ if environ is None else environ)
    return list(found.values())


def api_program(
    plan: Plan, folder: DataFolder, backends: LocalBackends, *, grpc_port: int, http_port: int, host: str = "127.0.0.1"
) -> Program:
    """Returns the prediction API of a pipeline."""
    process = prediction_api(
        backends,
        pipeline=plan.pipeline,
        grpc_host=host,
        api_host=host,
        grpc_port=grpc_port,
        api_port=http_port,
        state_file=folder.state_file,
    )
    return _program(process, folder, os.environ, stage=API_STAGE)


def _variables(process: ServiceProcess, folder: DataFolder, environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables that a process has besides its document.

    Raises:
        SettingsError: If a secret that the process needs isn't in the environment.
    """
    env = {
        DOCUMENT_VARIABLE: str(folder.settings_of(process.name)),
        "STATE_DIR": str(folder.state_of(process.name)),
        "INSTANCE": process.name,
    }
    for name, value in process.access.items():
        if not isinstance(value, SecretKeyRef):
            env[name] = value
        elif name in environ:
            env[name] = environ[name]
        elif not isinstance(value, OptionalKey):
            raise SettingsError(
                f"{name}: is not set; a cluster takes it from Secret {value.name}, key {value.key}; "
                f"on this machine, export {name} before `pricecast up`"
            )
    return env


def _program(
    process: ServiceProcess, folder: DataFolder, environ: Mapping[str, str], stage: int = SERVICE_STAGE
) -> Program:
    env: Mapping[str, str] = {}
    problem = ""
    try:
        env = _variables(process, folder, environ)
    except SettingsError as error:
        problem = str(error)
    return Program(
        name=process.name,
        command=(script(process.service.program), *process.service.args),
        document=process.settings.document(),
        env=env,
        stage=stage,
        ends=process.finite or process.kind == "job",
        job=process.kind == "job",
        attempts=JOB_ATTEMPTS if process.kind == "job" else 0,
        optional=process.service.optional,
        problem=problem,
    )


def stop_order(programs: Sequence[Program]) -> list[list[Program]]:
    """Returns groups of programs to stop one after the other: jobs and the API first, then as data flows, the broker last.

    A service that stops before the one it reads from would leave work behind; the other way round, all that was
    taken in is handed on.
    """
    first = [program for program in programs if program.job or program.stage == API_STAGE]
    flow = [[program] for program in programs if program.stage == SERVICE_STAGE and not program.job]
    last = [program for program in programs if program.stage == BROKER_STAGE]
    return [group for group in (first, *flow, last) if group]
