"""The topics of a pipeline: their names, their messages, how long they are kept.

The one table from which services name topics, the operator and the local runtime create them, and the documentation
lists them.
"""

from __future__ import annotations

from dataclasses import dataclass

from pricecast_core import messages

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic of every pipeline.

    Attributes:
        name: Name within the pipeline.
        message: Class of its messages.
        key: What its messages are keyed by; a key's messages keep their order.
        retention_ms: How long a message is kept; -1 for ever.
        remark: What else is to be known of it.
        others: Further classes of messages that may be among them.
        compacted: Whether only the newest message of each key is kept.
    """

    name: str
    message: type[messages.Message]
    key: str
    retention_ms: int
    remark: str = ""
    compacted: bool = False
    others: tuple[type[messages.Message], ...] = ()

    @property
    def config(self) -> dict[str, str]:
        """Configuration of the topic on the broker."""
        return {
            "retention.ms": str(self.retention_ms),
            "cleanup.policy": "compact" if self.compacted else "delete",
        }


TRADES = TopicSpec("trades", messages.Trade, "pair", 7 * DAY_MS, others=(messages.Clock,))
CANDLES = TopicSpec("candles", messages.Candle, "pair", 30 * DAY_MS)
TECHNICAL_INDICATORS = TopicSpec("technical-indicators", messages.IndicatorRow, "pair", 30 * DAY_MS)
NEWS = TopicSpec("news", messages.News, "id", -1, "kept, so that a new model can read it again", compacted=True)
NEWS_SIGNALS = TopicSpec("news-signals", messages.NewsSignal, "coin", -1)
FEATURES = TopicSpec("features", messages.FeatureRowStored, "pair or coin", 7 * DAY_MS)
PREDICTIONS = TopicSpec("predictions", messages.Prediction, "pair", 30 * DAY_MS)
DEAD_LETTERS = TopicSpec(
    "dead-letters", messages.DeadLetter, "service", -1, "what could not be used, for a person to look at"
)

ALL = (TRADES, CANDLES, TECHNICAL_INDICATORS, NEWS, NEWS_SIGNALS, FEATURES, PREDICTIONS, DEAD_LETTERS)


def topic_name(pipeline: str, topic: TopicSpec) -> str:
    """Returns the topic's full name: `<pipeline>.<name>`, of a pipeline's id."""
    return f"{pipeline}.{topic.name}"
