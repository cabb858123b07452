"""The topics of a pipeline as an AsyncAPI document, and each message as a JSON schema, from the messages themselves."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from pricecast_core import messages, services, topics
from pricecast_core.topics import TopicSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REF = "#/components/schemas/{name}"


def schemas() -> dict[str, dict[str, Any]]:
    """Returns the JSON schema of every message, by its name, each whole by itself."""
    return {kind.__name__: _schema(kind) for kind in _messages()}


def document(version: str) -> dict[str, Any]:
    """Returns the AsyncAPI document of a pipeline.

    Args:
        version: The version of pricecast.
    """
    _, components = msgspec.json.schema_components(_messages(), ref_template=_REF)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "pricecast",
            "version": version,
            "description": "The topics of one pipeline. Readers ignore fields that they don't know; times are "
            "milliseconds since the Unix epoch, UTC.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in topics.ALL},
        "operations": dict(_operations()),
        "components": {
            "messages": {kind.__name__: _message(kind) for kind in _messages()},
            "schemas": {name: _plain(components[name]) for name in sorted(components)},
        },
    }


def _messages() -> list[type[messages.Message]]:
    kinds = (kind for topic in topics.ALL for kind in (topic.message, *topic.others))
    return sorted(dict.fromkeys(kinds), key=lambda kind: kind.__name__)


def _schema(kind: type[messages.Message]) -> dict[str, Any]:
    schema = msgspec.json.schema(kind)
    name = str(schema.pop("$ref")).rpartition("/")[2]
    own = schema["$defs"].pop(name)
    whole: dict[str, Any] = _plain(
        {"$schema": DIALECT, **own, **({"$defs": schema["$defs"]} if schema["$defs"] else {})}
    )
    return whole


def _plain(node: Any) -> Any:
    """Returns a schema with its patterns and descriptions as they are written outside of Python."""
    if isinstance(node, list):
        return [_plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    plain = {name: _plain(value) for name, value in node.items()}
    if isinstance(plain.get("pattern"), str):
        plain["pattern"] = plain["pattern"].replace(r"\Z", "$")
    if isinstance(plain.get("description"), str):
        plain["description"] = inspect.cleandoc(plain["description"])
    return plain


def _channel(topic: TopicSpec) -> dict[str, Any]:
    kept = "for ever" if topic.retention_ms < 0 else f"for {topic.retention_ms // topics.DAY_MS} days"
    told = f"Keyed by {topic.key}; kept {kept}" + (f"; {topic.remark}" if topic.remark else "")
    return {
        "address": f"{{pipeline}}.{topic.name}",
        "description": f"{told}.",
        "parameters": {"pipeline": {"description": "The pipeline: in a cluster, behind its namespace and a dot."}},
        "messages": {
            kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"} for kind in (topic.message, *topic.others)
        },
        "bindings": {"kafka": {"topicConfiguration": _configuration(topic)}},
    }


def _configuration(topic: TopicSpec) -> dict[str, Any]:
    return {"cleanup.policy": [topic.config["cleanup.policy"]], "retention.ms": topic.retention_ms}


def _message(kind: type[messages.Message]) -> dict[str, Any]:
    return {
        "name": kind.__name__,
        "summary": inspect.cleandoc(kind.__doc__ or "").partition("\n")[0],
        "contentType": "application/json",
        "payload": {"$ref": _REF.format(name=kind.__name__)},
    }


def _operations() -> Any:
    for service in services.ALL:
        for action, found in (("send", (*service.writes, *_letters(service))), ("receive", service.reads)):
            for topic in found:
                operation: dict[str, Any] = {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{topic.name}"},
                    "summary": f"{service.name} {'writes' if action == 'send' else 'reads'} {topic.name}.",
                }
                if action == "receive" and service.group:
                    group = {"type": "string", "pattern": rf"^.+\.{service.group}$"}
                    operation["bindings"] = {"kafka": {"groupId": group}}
                yield f"{service.name}.{action}.{topic.name}", operation


def _letters(service: services.Service) -> tuple[TopicSpec, ...]:
    return (topics.DEAD_LETTERS,) if service.kind == "stream" and (service.reads or service.writes) else ()
