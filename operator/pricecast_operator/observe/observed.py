"""What was seen outside of the API server: in Kafka, the model registry and the prediction store. Plain data."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pricecast_core.errors import PricecastError
from pricecast_core.messages import Prediction
from pricecast_core.stores.models import ModelVersion, Promotion


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something could not be seen.

    Attributes:
        reason: One word, such as KafkaUnreachable.
        message: For people.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Registered:
    """What a model registry has for one pipeline.

    Attributes:
        newest: The newest version of each model.
        promotions: The last changes of the versions in production, newest first.
        earlier: Models that an earlier version trained for it, under its name alone.
    """

    newest: Mapping[str, int] = field(default_factory=dict)
    promotions: Sequence[Promotion] = ()
    earlier: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen of one pipeline; None where nobody has looked yet.

    Attributes:
        kafka: Why Kafka could not be reached at the last look; None if it could, or nobody has looked yet.
        topics: None once the topics are as planned, or what is wrong with them.
        topics_seen: Whether anyone has looked at the topics.
        partitions: How many partitions the topics have; None before they were looked at.
        earlier: Topics that an earlier version made for it, under its name alone.
        lag: Messages not yet read, by consumer group without the pipeline's name.
        models: Versions that serve, by model name: those in production, or as predictions name them.
        registered: What else the model registry has, where it is in SQL.
        predictions: The newest prediction of each pair and horizon.
        earlier_predictions: Whether the store has predictions of an earlier version, under its name alone.
        lacking: What the processes that run and aren't ready say that they lack, by process.
        waits_for: What the training says that it waits for; empty if nothing.
    """

    kafka: Problem | None = None
    topics: Problem | None = None
    topics_seen: bool = False
    partitions: int | None = None
    earlier: tuple[str, ...] = ()
    lag: Mapping[str, int] | Problem | None = None
    models: Mapping[str, ModelVersion] | Problem | None = None
    registered: Registered | Problem | None = None
    predictions: Sequence[Prediction] | Problem | None = None
    earlier_predictions: bool = False
    lacking: Mapping[str, str] = field(default_factory=dict)
    waits_for: str = ""


def describe(error: BaseException) -> str:
    """Returns an error for people: our own in its words, a library's by kind and place, for it may quote a secret."""
    if isinstance(error, PricecastError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return " < ".join(
        [type(error).__name__, *(f"{Path(each.filename).name}:{each.lineno}" for each in reversed(frames))]
    )
