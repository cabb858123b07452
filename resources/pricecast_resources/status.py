"""What the operator reports in `status`: conditions in Kubernetes' conventions, and what people look for first."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from pricecast_core.values import PAIR_LENGTH
from pricecast_resources.base import Model

Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
MAP_BY_TYPE: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
MAP_BY_NAME: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class Condition(Model):
    """One aspect of the state."""

    type: str = Field(max_length=316, description="The aspect.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    observed_generation: int = Field(0, ge=0, description="Generation of the spec that this is about.")
    last_transition_time: Timestamp = Field(description="When status changed last.")
    reason: str = Field(max_length=1_024, description="Why, as one word for programs.")
    message: str = Field(max_length=32_768, description="Why, for people.")


class ServiceStatus(Model):
    """One process of the pipeline."""

    name: str = Field(max_length=63, description="Name of the process.")
    ready: str = Field(max_length=32, description="Pods ready and wanted, such as 1/1; a job's state.")
    lag: int | None = Field(None, description="Messages that it has yet to read.")


class ModelStatus(Model):
    """The model in production for one pair and horizon."""

    name: str = Field(max_length=253, description="Name in the registry.")
    pair: str = Field(max_length=PAIR_LENGTH, description="Pair.")
    horizon_seconds: int = Field(description="Horizon.")
    version: int = Field(description="Version in the registry; 0 is the naive forecast.")
    distribution_skill: float | None = Field(None, description="1 - pinball loss / naive pinball loss, out of sample.")
    point_skill: float | None = Field(None, description="1 - MAE / MAE of the last price, out of sample.")
    trained_through: Timestamp | None = Field(None, description="Event time of the newest row learned from.")


class ModelChange(Model):
    """One change of the version in production, of one pair and horizon."""

    pair: str = Field(max_length=PAIR_LENGTH, description="Pair.")
    horizon_seconds: int = Field(description="Horizon.")
    version: int = Field(description="The version that has been in production since.")
    former_version: int = Field(description="The version before it; 0 if there was none.")
    change: Literal["Promoted", "RolledBack"] = Field(description="Whether it is newer than the one before, or older.")
    time: Timestamp = Field(description="When.")
    reason: str = Field(max_length=200, description="Why, in short.")


class LastPrediction(Model):
    """The newest prediction in the store."""

    pair: str = Field(max_length=PAIR_LENGTH, description="Pair.")
    horizon_seconds: int = Field(description="Horizon.")
    issued_at: Timestamp = Field(description="When it was made, in the market's time.")
    target_time: Timestamp = Field(description="The time whose price is predicted.")
    predicted_price: float = Field(description="Point forecast.")
    lower: float = Field(description="10% quantile.")
    upper: float = Field(description="90% quantile.")
    model: str = Field(max_length=253, description="Who made it: a registered model, or naive.")


class PricePipelineStatus(Model):
    """State of a pipeline as the operator saw it last."""

    observed_generation: int | None = Field(None, description="Generation of the spec that was acted on.")
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=64,
        description="Ready, Progressing, Degraded, TopicsReady, ModelReady, Predicting, one for each service, and what forecasts say of themselves.",
        json_schema_extra=MAP_BY_TYPE,
    )
    message: str | None = Field(None, max_length=128, description="What is wrong, in short; none if nothing is.")
    services: list[ServiceStatus] = Field(
        default_factory=list, max_length=64, description="Each process.", json_schema_extra=MAP_BY_NAME
    )
    models: list[ModelStatus] = Field(
        default_factory=list,
        max_length=512,
        description="Models in production, by pair and horizon; the first 512.",
        json_schema_extra=MAP_BY_NAME,
    )
    model_history: list[ModelChange] = Field(
        default_factory=list,
        max_length=20,
        description="Which versions have followed each other in production, the newest change first; the last 20, of "
        "each model the last 5.",
    )
    model: str | None = Field(None, max_length=253, description="Models in short: v3, 2 of 4, or naive.")
    skill: str | None = Field(None, max_length=32, description="Smallest distribution skill among them, in percent.")
    lag: int | None = Field(None, description="Messages not yet read, over all services.")
    last_prediction: LastPrediction | None = Field(None, description="The newest prediction in the store.")
    news_model: str | None = Field(None, max_length=253, description="The model that reads the news.")
    images: str | None = Field(
        None, max_length=8_192, description="Where its images come from: repository, tag, digests."
    )
    partitions: int | None = Field(None, description="Partitions of the topics: the most replicas that share work.")
    replicas: int | None = Field(None, description="Replicas of the services that share work, for kubectl scale.")
    selector: str | None = Field(None, max_length=2_048, description="Pods of those services, for autoscalers.")


class Scores(Model):
    """How well headlines are read, on the held-out part."""

    f1: float = Field(description="Micro F1 over coin and signal.")
    exact_match: float | None = Field(None, description="Share of headlines whose whole answer is right.")
    valid: float | None = Field(None, description="Share of answers inside the schema.")


class FinetuneJobStatus(Model):
    """State of a fine-tuning as the operator saw it last."""

    observed_generation: int | None = Field(None, description="Generation of the spec that was acted on.")
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        description="Suspended, Running, Complete, Failed.",
        json_schema_extra=MAP_BY_TYPE,
    )
    state: str | None = Field(None, max_length=63, description="In one word: the condition that holds.")
    message: str | None = Field(None, max_length=128, description="How it stands, in short.")
    job_name: str | None = Field(None, max_length=63, description="The Kubernetes Job.")
    start_time: Timestamp | None = Field(None, description="When it first started; the spec is immutable since.")
    completion_time: Timestamp | None = Field(None, description="When it ended.")
    step: int | None = Field(None, description="Step reached.")
    total_steps: int | None = Field(None, description="Steps in all.")
    loss: float | None = Field(None, description="Training loss of the newest step.")
    eta_seconds: int | None = Field(None, description="Time left, estimated.")
    before: Scores | None = Field(None, description="The base model's scores.")
    after: Scores | None = Field(None, description="The fine-tuned model's scores.")
    published_model: str | None = Field(None, max_length=253, description="The model's name in Ollama, with its tag.")
    published_repository: str | None = Field(None, max_length=253, description="The repository on the hub.")
