"""What was seen outside of the API server: in Kafka, the model registry and the prediction store. Plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pricecast_core.messages import Prediction
from pricecast_core.stores.models import ModelVersion


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
class Observed:
    """What was seen of one pipeline; None where nobody has looked yet.

    Attributes:
        topics: None once the topics are as planned, or what is wrong with them.
        topics_seen: Whether anyone has looked at the topics.
        lag: Messages not yet read, by consumer group without the pipeline's name.
        models: Versions in production, by model name.
        predictions: The newest prediction of each pair and horizon.
    """

    topics: Problem | None = None
    topics_seen: bool = False
    lag: Mapping[str, int] | Problem | None = None
    models: Mapping[str, ModelVersion] | Problem | None = None
    predictions: Sequence[Prediction] | Problem | None = field(default=None)
