"""What a model registry promises: runs are logged, versions registered, one version of a model is in production."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a model was made of, and by what; `trained_through_ms` of the run is where its data end.

    Attributes:
        trained_from_ms: Event time of the oldest row used; 0 where nobody told.
        feature_set: Name of the set of features: another set has another name.
        code_version: Version of the program that trained it.
        parent: The version in production when it was trained; 0 if none was.
    """

    trained_from_ms: int = 0
    feature_set: str = ""
    code_version: str = ""
    parent: int = 0


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One training, whatever became of it.

    Attributes:
        model_name: `<pipeline>-<pair slug>-<horizon>s`.
        parameters: What it was trained with.
        metrics: What was measured out of sample.
        trained_through_ms: Event time of the newest row used.
        artifact: The model, serialised by the predictor.
        report_html: The report for people.
        lineage: What it was made of.
    """

    model_name: str
    parameters: Mapping[str, str | int | float | bool]
    metrics: Mapping[str, float]
    trained_through_ms: int
    artifact: bytes
    report_html: str = ""
    lineage: Lineage = Lineage()


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registered version.

    Attributes:
        model_name: Name of the model.
        version: 1, 2, 3 ...
        stage: `production` for the one that serves, else `registered` or `archived`.
        reason: Why it was promoted or not.
    """

    model_name: str
    version: int
    stage: str
    reason: str
    created_at_ms: int
    trained_through_ms: int
    parameters: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    lineage: Lineage = Lineage()


@dataclass(frozen=True, slots=True)
class Promotion:
    """One change of the version in production.

    Attributes:
        model_name: Name of the model.
        version: The version that has served since.
        former: The version that served before; 0 if none did.
        at_ms: When.
        reason: Why.
    """

    model_name: str
    version: int
    former: int
    at_ms: int
    reason: str


class ModelRegistry(Protocol):
    """Keeps trained models."""

    def register(self, run: TrainingRun) -> ModelVersion:
        """Stores the run and its model as the next version, in stage `registered`."""

    def promote(self, model_name: str, version: int, reason: str) -> ModelVersion:
        """Puts the version into production and archives the one before, in one step."""

    def reject(self, model_name: str, version: int, reason: str) -> ModelVersion:
        """Records why a version was not promoted."""

    def production(self, model_names: list[str]) -> dict[str, ModelVersion]:
        """Returns the version in production of each of the models that has one, in one call, without artifacts."""

    def newest(self, model_names: list[str]) -> dict[str, int]:
        """Returns the newest version of each of the models that has one, in one call: those before it are there, too."""

    def promotions(self, model_names: list[str], most: int) -> list[Promotion]:
        """Returns the last changes of the version in production, newest first, at most so many of each model, in one call."""

    def artifact(self, model_name: str, version: int) -> bytes:
        """Returns the serialised model."""

    def report(self, model_name: str, version: int) -> str:
        """Returns the training report, HTML."""

    def versions(self, model_name: str) -> list[ModelVersion]:
        """Returns all versions, newest first."""

    def request_training(self, model_name: str, reason: str) -> None:
        """Asks for an early training; a second request before it is met changes nothing."""

    def training_requests(self, model_names: list[str]) -> dict[str, str]:
        """Returns the open requests and their reasons. Registering a version meets the model's request."""

    def close(self) -> None:
        """Gives back connections."""


def model_name(pipeline: str, pair_slug: str, horizon_seconds: int) -> str:
    """Returns the name of the model of a pair and a horizon: `prices.btc-btc-usd-300s`, on a laptop `btc-btc-usd-300s`."""
    return f"{pipeline}-{pair_slug}-{horizon_seconds}s"
