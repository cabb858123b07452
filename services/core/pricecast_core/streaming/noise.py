"""Keeps the logs readable while a broker is away: the Kafka clients then repeat themselves many times a second."""

from __future__ import annotations

import logging
import re
import time

_SECONDS = 30.0
_LOGGERS = ("quixstreams.kafka.consumer", "quixstreams.kafka.producer", "quixstreams.internal_producer")
_VARYING = re.compile(r"\(after .*\)$|\(.*?\)|\d+")


class Throttle(logging.Filter):
    """Lets a line pass once in a while, however often it comes; numbers and brackets don't make it another line."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        super().__init__()
        self._seconds = seconds
        self._passed: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Says whether the line may pass."""
        line = _VARYING.sub("", record.getMessage())
        now = time.monotonic()
        if now - self._passed.get(line, -self._seconds) < self._seconds:
            return False
        self._passed[line] = now
        return True


client_log = logging.getLogger("pricecast_core.streaming.client")
"""Where the Kafka clients say what librdkafka says, which without a logger writes to standard error by itself."""
client_log.addFilter(Throttle())


def quieten() -> None:
    """Throttles the loggers of quixstreams' Kafka clients."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(one, Throttle) for one in logger.filters):
            logger.addFilter(Throttle())
