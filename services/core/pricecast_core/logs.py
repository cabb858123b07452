"""Structured logs: one JSON object a line on standard error, or aligned text where a person is looking."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import structlog


def configure(service: str, level: str = "INFO", style: Literal["json", "text"] = "json") -> None:
    """Sends structlog and the standard library's logging through one formatter.

    Args:
        service: Name that every line carries.
        level: Lowest level shown: DEBUG, INFO, WARNING or ERROR.
        style: `json` for machines, `text` for people.
    """

    def name_service(_logger: Any, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        line.setdefault("service", service)  # by the process, not by a context variable: threads begin without those
        return line

    shared: list[Any] = [
        name_service,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        cache_logger_on_first_use=True,
    )
    renderer: Any = structlog.processors.JSONRenderer() if style == "json" else structlog.dev.ConsoleRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("httpx").setLevel("WARNING")  # it logs each request with its whole URL, and keys are in some
    logging.getLogger("elastic_transport").setLevel("ERROR")  # each request, and each failure that is then raised, too


def get(name: str) -> Any:
    """Returns the logger of a module."""
    return structlog.get_logger(name)
