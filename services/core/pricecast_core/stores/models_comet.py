"""The model registry in Comet: a training is an experiment, its model a version of a registered model.

What the protocol needs and Comet doesn't know lies where a person would look for it: the run, with the types of its
values, is a file beside the model; why a version was promoted or not is the version's comment; stages are its tags.
Comet changes one tag at a time, so a promotion says when it was made, and of two versions in production, as there
are between two requests, the one promoted last is the one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pricecast_core.errors import SettingsError, StoreError
from pricecast_core.stores.client_errors import told
from pricecast_core.stores.models import Lineage, ModelVersion, Promotion, TrainingRun

EXTRA = "pricecast-core[comet]"
_PRODUCTION, _ARCHIVED, _REGISTERED = "production", "archived", "registered"
_REQUESTS = "training-requests"
_MET = "met"
_PROMOTED = re.compile(r"^(.*?)(?: \[promoted at (\d+)\])?$", re.DOTALL)
_ATTEMPTS = 20
_MODEL, _RUN, _REPORT = "model.bin", "run.json", "report.html"
_REMEDIES: Mapping[int | str, str] = {
    401: "check COMET_API_KEY: it is unknown, expired or revoked",
    403: "give the API key's user a role in the workspace",
    429: "the rate limit or quota is used up: wait, or raise it",
}
_experiment_lock = threading.Lock()  # its client keeps one running experiment for a process


@dataclass(frozen=True, slots=True)
class CometAccess:
    """What it takes to use a project of Comet.

    Attributes:
        url: Address of Comet.
        workspace: Workspace; empty for the account's default.
        project: Project that experiments are in.
        api_key: An API key.
    """

    url: str
    workspace: str
    project: str
    api_key: str = field(repr=False)


class CometModelRegistry:
    """A `ModelRegistry` in Comet. It connects with the first call.

    Args:
        access: Address, project and key.
    """

    def __init__(self, access: CometAccess) -> None:
        self._access = access
        self._comet = client(access.url)
        self._api: Any = None
        self._workspace = access.workspace
        self._runs: dict[tuple[str, int], dict[str, Any]] = {}
        self._requests: Any = None

    def register(self, run: TrainingRun) -> ModelVersion:
        """Logs the run as an experiment and registers its model as the next version, in stage `registered`."""
        created_at_ms = time.time_ns() // 1_000_000
        name = registered_name(run.model_name)
        with self._errors("register"):
            self._connected()
            settings = {"api_key": self._access.api_key, "workspace": self._workspace, "project": self._access.project}
            key = log_run(self._comet, run, created_at_ms, **settings)
            logged = self._connected().get_experiment_by_key(key)
            number = self._add_version(logged, name)
            if self._open_requests([run.model_name]):
                self._requests.log_other(run.model_name, _MET)
        return ModelVersion(
            model_name=run.model_name,
            version=number,
            stage=_REGISTERED,
            reason="",
            created_at_ms=created_at_ms,
            trained_through_ms=run.trained_through_ms,
            parameters=dict(run.parameters),
            metrics=dict(run.metrics),
            lineage=run.lineage,
        )

    def promote(self, model_name: str, version: int, reason: str) -> ModelVersion:
        """Puts the version into production and archives the one before.

        Raises:
            StoreError: If there is no such version.
        """
        with self._errors("promote"):
            found = self._details(model_name)
            self._chosen(found, model_name, version)
            name, api = registered_name(model_name), self._connected()
            model = api.get_model(self._workspace, name)
            at = max([time.time_ns() // 1_000, *(_promoted_at(one) + 1 for one in found)])
            _comment(api, self._workspace, name, version, f"{reason} [promoted at {at}]")
            model.add_tag(_semantic(version), _PRODUCTION)
            if _ARCHIVED in _tags(self._chosen(found, model_name, version)):
                model.delete_tag(_semantic(version), _ARCHIVED)
            found = self._details(model_name)
            serving = _serving(found)
            for other in found:
                if other is not serving and _PRODUCTION in _tags(other):
                    model.add_tag(other["version"], _ARCHIVED)
                    model.delete_tag(other["version"], _PRODUCTION)
            promoted = self._version(model_name, self._chosen(found, model_name, version), serving)
            return replace(promoted, stage=_PRODUCTION)

    def reject(self, model_name: str, version: int, reason: str) -> ModelVersion:
        """Records why a version was not promoted.

        Raises:
            StoreError: If there is no such version.
        """
        with self._errors("reject"):
            self._chosen(self._details(model_name), model_name, version)
            _comment(self._connected(), self._workspace, registered_name(model_name), version, reason)
            found = self._details(model_name)
            return self._version(model_name, self._chosen(found, model_name, version), _serving(found))

    def production(self, model_names: list[str]) -> dict[str, ModelVersion]:
        """Returns the version in production of each of the models that has one, without artifacts."""
        with self._errors("production"):
            there = set(self._connected().get_registry_model_names(self._workspace)) if model_names else set()
            serving = {}
            for name in model_names:
                if registered_name(name) in there and (found := _serving(self._details(name))) is not None:
                    serving[name] = self._version(name, found, found)
            return serving

    def newest(self, model_names: list[str]) -> dict[str, int]:
        """Returns the newest version of each of the models that has one: those before it are there, too."""
        with self._errors("newest"):
            found = {name: [_number(one) for one in self._details(name)] for name in model_names}
            return {name: max(numbers) for name, numbers in found.items() if numbers}

    def promotions(self, model_names: list[str], most: int) -> list[Promotion]:
        """Returns the last changes of the version in production, newest first, at most so many of each model.

        Comet keeps the last one of each version.
        """
        with self._errors("promotions"):
            found = [each for name in model_names for each in _promotions(name, self._details(name))[-most:]]
            return sorted(found, key=lambda each: each.at_ms, reverse=True)

    def artifact(self, model_name: str, version: int) -> bytes:
        """Returns the serialised model.

        Raises:
            StoreError: If there is no such version.
        """
        with self._errors("artifact"):
            return self._file(self._chosen(self._details(model_name), model_name, version), _MODEL)

    def report(self, model_name: str, version: int) -> str:
        """Returns the training report, HTML.

        Raises:
            StoreError: If there is no such version.
        """
        with self._errors("report"):
            return self._file(self._chosen(self._details(model_name), model_name, version), _REPORT).decode()

    def versions(self, model_name: str) -> list[ModelVersion]:
        """Returns all versions, newest first."""
        with self._errors("versions"):
            found = self._details(model_name)
            serving = _serving(found)
            return [self._version(model_name, one, serving) for one in sorted(found, key=_number, reverse=True)]

    def request_training(self, model_name: str, reason: str) -> None:
        """Asks for an early training; a second request before it is met changes nothing."""
        with self._errors("request training"):
            if not self._open_requests([model_name]):
                self._requests.log_other(model_name, reason)

    def training_requests(self, model_names: list[str]) -> dict[str, str]:
        """Returns the open requests and their reasons. Registering a version meets the model's request."""
        with self._errors("training requests"):
            return self._open_requests(model_names)

    def close(self) -> None:
        """Gives back connections."""
        self._api = None

    def _errors(self, operation: str) -> AbstractContextManager[None]:
        return told(operation, self._access.url, self._access.api_key, _REMEDIES)

    def _connected(self) -> Any:
        if self._api is None:
            self._api = self._comet.API(api_key=self._access.api_key, cache=False)
            self._workspace = self._workspace or self._api.get_default_workspace()
        return self._api

    def _add_version(self, logged: Any, name: str) -> int:
        for attempt in range(_ATTEMPTS):
            numbers = [_number(one) for one in self._versions_of(name)]
            number = max(numbers, default=0) + 1
            try:
                logged.register_model(name, version=_semantic(number), registry_name=name, comment="")
            except Exception:
                if attempt == _ATTEMPTS - 1 or number not in [_number(one) for one in self._versions_of(name)]:
                    raise
                continue  # another training was faster
            return number
        raise AssertionError

    def _versions_of(self, name: str) -> list[dict[str, Any]]:
        api = self._connected()
        if name not in api.get_registry_model_names(self._workspace):
            return []
        details: dict[str, Any] = api.get_registry_model_details(self._workspace, name)
        return list(details["versions"])

    def _details(self, model_name: str) -> list[dict[str, Any]]:
        return self._versions_of(registered_name(model_name))

    def _chosen(self, found: Sequence[dict[str, Any]], model_name: str, version: int) -> dict[str, Any]:
        for one in found:
            if _number(one) == version:
                return one
        raise StoreError(f"version: {version} of model {model_name!r} is not registered; list its versions")

    def _version(self, model_name: str, one: dict[str, Any], serving: dict[str, Any] | None) -> ModelVersion:
        number = _number(one)
        if (model_name, number) not in self._runs:
            kept = json.loads(self._file(one, _RUN))
            self._runs[model_name, number] = {**kept, "lineage": Lineage(**kept.get("lineage", {}))}
        stage = _ARCHIVED if {_ARCHIVED, _PRODUCTION} & _tags(one) else _REGISTERED
        return ModelVersion(
            model_name=model_name,
            version=number,
            stage=_PRODUCTION if serving is one else stage,
            reason=_reason(one),
            **self._runs[model_name, number],
        )

    def _file(self, one: dict[str, Any], name: str) -> bytes:
        experiment = self._connected().get_experiment_by_key(one["experimentModel"]["experimentKey"])
        asset = next((asset for asset in one["assets"] if asset["fileName"] == name), None)
        if asset is None:
            raise StoreError(f"version {one['version']}: has no file {name}; train again")
        return bytes(experiment.get_asset(asset["assetId"], return_type="binary"))

    def _open_requests(self, model_names: list[str]) -> dict[str, str]:
        if self._requests is None:
            api = self._connected()
            given = (self._workspace, self._access.project)
            there = api.get_experiments(*given, pattern=f"^{_REQUESTS}$")
            self._requests = there[0] if there else self._created(*given)
        others = {other["name"]: str(other["valueCurrent"]) for other in self._requests.get_others_summary()}
        return {name: others[name] for name in model_names if others.get(name, _MET) != _MET}

    def _created(self, workspace: str, project: str) -> Any:
        return self._comet.APIExperiment(
            api=self._connected(), workspace=workspace, project_name=project, experiment_name=_REQUESTS
        )


def client(url: str) -> Any:
    """Returns the client library, told to be quiet, to report to nobody and where Comet is."""
    os.environ["COMET_URL_OVERRIDE"] = f"{url.rstrip('/')}/clientlib/"
    os.environ.setdefault("COMET_INTERNAL_SENTRY_DSN", "")  # its own error reports go to a third party
    os.environ.setdefault("COMET_DISPLAY_SUMMARY_LEVEL", "0")
    os.environ.setdefault("COMET_LOGGING_CONSOLE", "critical")
    try:
        import comet_ml  # noqa: PLC0415 - only those who use it load it
    except ImportError:
        raise SettingsError(f"MODEL_REGISTRY: comet needs its client library; install {EXTRA}") from None
    logging.getLogger("comet_ml").setLevel(logging.CRITICAL)
    return comet_ml


def log_run(comet: Any, run: TrainingRun, created_at_ms: int, *, api_key: str | None, **place: str) -> str:
    """Logs a run as an experiment, its model and report among its files; returns the experiment's key.

    Args:
        comet: The client library.
        run: The run.
        created_at_ms: When it was made.
        api_key: An API key; None writes an archive to be uploaded later.
        place: Workspace and project; or project, folder of archives and the version that the model is to be.
    """
    quiet = {
        "auto_output_logging": False,
        "auto_param_logging": False,
        "auto_metric_logging": False,
        "auto_histogram_weight_logging": False,
        "log_code": False,
        "log_git_metadata": False,
        "log_env_details": False,
        "parse_args": False,
        "display_summary_level": 0,
    }
    name = registered_name(run.model_name)
    with _experiment_lock, tempfile.TemporaryDirectory(prefix="pricecast-comet-") as folder:
        if api_key is None:
            experiment = comet.OfflineExperiment(
                project_name=place["project"], offline_directory=place["folder"], **quiet
            )
        else:
            experiment = comet.Experiment(
                api_key=api_key, workspace=place["workspace"], project_name=place["project"], **quiet
            )
        experiment.set_name(run.model_name)
        made = {f"lineage.{name}": value for name, value in asdict(run.lineage).items()}
        experiment.log_parameters({**run.parameters, **made})
        experiment.log_metrics(dict(run.metrics))
        experiment.log_html(run.report_html)
        described = {
            "created_at_ms": created_at_ms,
            "trained_through_ms": run.trained_through_ms,
            "parameters": dict(run.parameters),
            "metrics": dict(run.metrics),
            "lineage": asdict(run.lineage),
        }
        files = {_MODEL: run.artifact, _RUN: json.dumps(described).encode(), _REPORT: run.report_html.encode()}
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content or b"\n")
            experiment.log_model(name, str(Path(folder) / file), file_name=file)
        if api_key is None:  # recorded, and done when the archive is uploaded
            experiment.register_model(name, version=place["version"])
        experiment.end()
        return str(experiment.get_key())


def registered_name(name: str) -> str:
    """Returns what a model is called in Comet, which knows lower case, digits and single dashes only."""
    proper = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return proper if proper == name else f"{proper}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _comment(api: Any, workspace: str, name: str, version: int, text: str) -> None:
    api.update_registry_model_version(workspace, name, _semantic(version), comment=text)


def _semantic(version: int) -> str:
    return f"{version}.0.0"


def _number(one: dict[str, Any]) -> int:
    return int(str(one["version"]).partition(".")[0])


def _tags(one: dict[str, Any]) -> set[str]:
    return {*(one.get("tags") or ()), *(one.get("stages") or ())}


def _promoted_at(one: dict[str, Any]) -> int:
    match = _PROMOTED.match(one.get("comment") or "")
    return int(match[2]) if match and match[2] else 0


def _promotions(model_name: str, found: Sequence[dict[str, Any]]) -> list[Promotion]:
    """Returns the last promotion of each version that was promoted, oldest first."""
    promoted = sorted((one for one in found if _promoted_at(one)), key=_promoted_at)
    former = [0, *map(_number, promoted)]
    return [
        Promotion(model_name, _number(one), before, _promoted_at(one) // 1_000, _reason(one))
        for before, one in zip(former, promoted, strict=False)
    ]


def _reason(one: dict[str, Any]) -> str:
    match = _PROMOTED.match(one.get("comment") or "")
    return match[1] if match else ""


def _serving(found: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    in_production = [one for one in found if _PRODUCTION in _tags(one)]
    return max(in_production, key=lambda one: (_promoted_at(one), _number(one)), default=None)
