"""`pricecast doctor MANIFEST`: whether all that a pipeline needs can be reached and used, from where this runs.

What it prints is what a person pastes into an issue: no secret is ever part of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

import typer
from rich.console import Console
from rich.table import Table

from pricecast_cli.commands.options import ManifestArgument
from pricecast_core.addresses import of_url
from pricecast_core.errors import PricecastError
from pricecast_core.settings import PricePredictorSettings
from pricecast_core.settings.base import ANYWHERE, read
from pricecast_core.stores.features import group_name
from pricecast_core.stores.models import model_name
from pricecast_core.values import slug
from pricecast_resources.base import OptionalKey, SecretKeyRef
from pricecast_resources.manifest import load_manifest
from pricecast_resources.plan import Access, plan
from pricecast_resources.pricepipeline import PricePipelineSpec
from pricecast_resources.storage import KafkaStorage

_SECONDS = 45.0
_CONNECT_SECONDS = 5.0
_NAMES = {"kafka_username", "kafka_client_id"}
"""Settings that are kept with secrets, and are none."""
Status = Literal["ok", "failed", "not checked"]
Environ = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: What was looked at.
        status: How it is.
        message: What is wrong and what to do, or what was seen.
        seconds: How long the look took.
    """

    check: str
    status: Status
    message: str
    seconds: float = 0.0


class NotCheckedError(PricecastError):
    """Something that the check needs isn't here."""


@dataclass(frozen=True, slots=True)
class _NamedServers:
    """The `Backends` that the spec names; their secrets come from the environment."""

    spec: PricePipelineSpec
    prediction_store: Literal["sql", "elasticsearch"] = "elasticsearch"

    @property
    def kafka(self) -> KafkaStorage:
        return self.spec.storage.kafka

    def features(self) -> Access:
        return {}

    def models(self) -> Access:
        return {}

    def predictions(self) -> Access:
        return {}

    def news_cache(self) -> Access:
        return {}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(doctor)


def doctor(
    manifest: ManifestArgument,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON for each check.")] = False,
) -> None:
    """Checks each server, credential and right that a pipeline needs, from where this runs, and says what to do.

    It runs on a laptop and in a pod. Secrets come from the variables that the services read, such as COMET_API_KEY; what
    they are is never shown. Ends with 1 if something is wrong.
    """
    found = load_manifest(manifest)
    findings = list(examine(found.name, found.spec, os.environ))
    if as_json:
        for finding in findings:
            typer.echo(json.dumps(asdict(finding)))
    else:
        Console().print(_table(findings))
    if any(finding.status == "failed" for finding in findings):
        raise typer.Exit(1)


def examine(name: str, spec: PricePipelineSpec, environ: Environ) -> Iterator[Finding]:
    """Yields what each check finds.

    Args:
        name: Name of the pipeline.
        spec: Its spec.
        environ: Variables that secrets are in.
    """
    planned = plan(name, spec, _NamedServers(spec))
    train = next(process.settings for process in planned.processes if process.name == "train")
    given = {**train.model_dump(exclude_unset=True), "prediction_store_url": spec.storage.predictions.url}
    settings = read(PricePredictorSettings, environ, **given)
    secrets = list(_secrets(settings))
    checks: dict[str, Callable[[], str]] = {
        f"Kafka at {spec.storage.kafka.brokers}": lambda: _kafka(spec, settings, environ),
        f"features in {spec.storage.features.kind}": lambda: _features(name, spec, settings, environ),
        f"models in {spec.storage.models.kind}": lambda: _models(name, spec, settings, environ),
        f"predictions at {spec.storage.predictions.url}": lambda: _predictions(settings),
    }
    for address in sorted({url for each in planned.processes for url in each.settings.addresses} - {ANYWHERE}):
        checks[f"connection to {address}"] = lambda address=address: _connection(address)  # type: ignore[misc]
    for check, look in checks.items():
        yield _run(check, look, secrets)


def _run(check: str, look: Callable[[], str], secrets: list[str]) -> Finding:
    """Runs a check on a thread of its own, which is left behind if it doesn't come back."""
    answers: queue.Queue[tuple[Status, str]] = queue.Queue()

    def run() -> None:
        try:
            answers.put(("ok", look()))
        except NotCheckedError as error:
            answers.put(("not checked", str(error)))
        except ModuleNotFoundError as error:
            answers.put(("not checked", f"the client library {error.name} isn't installed here; install it"))
        except Exception as error:
            answers.put(("failed", " ".join(str(error).split()) or type(error).__name__))

    start = time.perf_counter()
    threading.Thread(target=run, daemon=True).start()
    try:
        status, message = answers.get(timeout=_SECONDS)
    except queue.Empty:
        status, message = "failed", f"has not answered within {_SECONDS:.0f} s; check the network between here and it"
    for secret in secrets:
        message = message.replace(secret, "***")
    return Finding(check, status, message, round(time.perf_counter() - start, 3))


def _secrets(settings: PricePredictorSettings) -> Iterator[str]:
    """Yields what must not be shown: secret settings, the longest first, and the passwords within them."""
    hidden = set(settings.secrets()) & settings.model_fields_set - _NAMES
    values = [getattr(settings, name) for name in hidden]
    texts = {value.get_secret_value() for value in values if value is not None} - {""}
    for text in list(texts):
        with contextlib.suppress(ValueError):
            if password := urlsplit(text).password:
                texts |= {password, unquote(password)}
    yield from sorted(texts - {str(settings.prediction_store_url.get_secret_value())}, key=len, reverse=True)


def _needs(variable: str, ref: SecretKeyRef, environ: Environ) -> None:
    if not environ.get(variable):
        raise NotCheckedError(f"set {variable} to what is in the Secret {ref.name}, key {ref.key}")


def _kafka(spec: PricePipelineSpec, settings: PricePredictorSettings, environ: Environ) -> str:
    from pricecast_core.streaming.admin import StreamError, connected

    for variable, ref in spec.storage.kafka.secrets.items():
        if not isinstance(ref, OptionalKey):
            _needs(variable, ref, environ)
    try:
        brokers = len(connected(settings.kafka, _CONNECT_SECONDS)[1].brokers)
    except StreamError as error:
        raise StreamError(f"{error}; check spec.storage.kafka.brokers, and that it listens there") from None
    if brokers < spec.topics.replication_factor:
        raise StreamError(
            f"{brokers} brokers for topics.replicationFactor {spec.topics.replication_factor}; lower it, or add brokers"
        )
    return f"{brokers} brokers"


def _features(name: str, spec: PricePipelineSpec, settings: PricePredictorSettings, environ: Environ) -> str:
    from pricecast_core.stores.open import open_feature_store

    store = spec.storage.features
    if store.hopsworks is None:
        _needs("FEATURE_STORE_URL", store.url_secret_ref, environ)
    else:
        _needs("HOPSWORKS_API_KEY", store.hopsworks.api_key_secret_ref, environ)
    with contextlib.closing(open_feature_store(settings)) as opened:
        columns = opened.columns(group_name(name, "technical_indicators"))
    return f"readable; {len(columns)} columns" if columns else "readable; no feature group yet"


def _models(name: str, spec: PricePipelineSpec, settings: PricePredictorSettings, environ: Environ) -> str:
    from pricecast_core.stores.open import open_model_registry

    models = spec.storage.models
    if models.comet is None:
        _needs("MODEL_REGISTRY_URL", models.url_secret_ref, environ)
    else:
        _needs("COMET_API_KEY", models.comet.api_key_secret_ref, environ)
    first = model_name(name, slug(spec.pairs[0]), spec.prediction.horizons_seconds[0])
    with contextlib.closing(open_model_registry(settings)) as opened:
        return f"readable; {len(opened.versions(first))} versions of {first}"


def _predictions(settings: PricePredictorSettings) -> str:
    from pricecast_core.stores.open import open_prediction_store

    with contextlib.closing(open_prediction_store(settings)) as opened:
        return f"readable; {len(opened.latest())} forecasts"


def _connection(url: str) -> str:
    address = of_url(url, "address", ("http", "https", "ws", "wss"))
    try:
        socket.create_connection((address.host, address.port), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise ConnectionError(
            f"can't be reached: {error}; check the address, and that a network policy or firewall lets it through"
        ) from None
    return "listens"


def _table(findings: list[Finding]) -> Table:
    table = Table(box=None, header_style="dim")
    for column in ("check", "status", "message"):
        table.add_column(column, overflow="fold")
    colours = {"ok": "green", "failed": "bold red", "not checked": "yellow"}
    for finding in findings:
        table.add_row(finding.check, f"[{colours[finding.status]}]{finding.status}[/]", finding.message)
    return table
