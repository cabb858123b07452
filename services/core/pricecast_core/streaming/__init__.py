"""Kafka, for every service: the one place that builds clients, and the rules that make a stream safe.

- `Stream` runs a `StreamTask` over one topic with quixstreams: state, output and offsets move together.
- `Publisher` writes to topics from a source outside of Kafka: nothing is lost while the broker is away.
- `TransactionalPublisher` does so exactly once: what it wrote, found by `last_values` of `positions`, says where to resume.
- `Follower` reads a topic in batches, for those who keep their own state.
- `positions` says what was last written to a topic and what a group has yet to read of it, whoever asks.
- `Watch` notices a consumer that stalls, measures its lag and tells whether the broker answers.

Only `stream` imports quixstreams. Of what it doesn't publish it relies on `Application._processing_context` (checkpoint,
state and producer in use), `_state_manager.recovery_required`, `_setup_signal_handlers` and the rebalance callbacks
`_on_assign`, `_on_revoke`, `_on_lost`; `noise` on the names of its loggers. So its minor version is pinned.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pricecast_core.streaming.admin import StreamError, ensure_topics
from pricecast_core.streaming.follower import Follower
from pricecast_core.streaming.positions import all_values, last_values, tail
from pricecast_core.streaming.publisher import Publisher
from pricecast_core.streaming.transactional import FencedError, Record, TransactionalPublisher
from pricecast_core.streaming.watch import Watch

if TYPE_CHECKING:
    from pricecast_core.streaming.stream import Stream, StreamTask

__all__ = [
    "FencedError",
    "Follower",
    "Publisher",
    "Record",
    "Stream",
    "StreamError",
    "StreamTask",
    "TransactionalPublisher",
    "Watch",
    "all_values",
    "ensure_topics",
    "last_values",
    "tail",
]


def __getattr__(name: str) -> Any:
    """Imports quixstreams, a second and 40 MB, only for those services that run a `Stream`."""
    if name in ("Stream", "StreamTask"):
        return getattr(importlib.import_module("pricecast_core.streaming.stream"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
