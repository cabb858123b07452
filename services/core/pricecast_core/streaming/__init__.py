"""Kafka, for every service: the one place that builds clients, and the rules that make a stream safe.

- `Stream` runs a `StreamTask` over one topic with quixstreams: state, output and offsets move together.
- `Publisher` writes to topics from a source outside of Kafka: nothing is lost while the broker is away.
- `Follower` reads a topic in batches, for those who keep their own state.
- `Watch` notices a consumer that stalls, measures its lag and tells whether the broker answers.
"""

from pricecast_core.streaming.follower import Follower
from pricecast_core.streaming.publisher import Publisher
from pricecast_core.streaming.stream import Stream, StreamTask
from pricecast_core.streaming.topics import StreamError, ensure_topics, tail
from pricecast_core.streaming.watch import Watch

__all__ = ["Follower", "Publisher", "Stream", "StreamError", "StreamTask", "Watch", "ensure_topics", "tail"]
