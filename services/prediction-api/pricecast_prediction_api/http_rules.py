"""The `google.api.http` annotations of the protos, read at start: which URL calls which method, with which fields.

Path templates follow the grammar of google/api/http.proto: literals, `*`, `**`, `{field}`, `{field=segments}` and a
`:verb` at the end. A variable may be several segments (`{pair=*/*}` takes BTC/USD).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from google.api import annotations_pb2, http_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from pricecast_prediction_api.problems import invalid

_TOKEN = re.compile(r"\{(?P<field>[a-z_][a-z0-9_.]*)(?:=(?P<segments>[^}]+))?\}|(?P<double>\*\*)|(?P<single>\*)")
_BODY_VERBS = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True)
class Rule:
    """One HTTP binding of a method.

    Attributes:
        verb: HTTP verb.
        template: The path template, as annotated.
        pattern: Matches a percent-encoded path; a group for each variable.
        fields: The variables' fields, in the order of the groups.
        body: The field that the request body fills, `*` for the whole request, empty for none.
        response_body: The field of the response that is sent; empty sends all of it.
        method: The method called.
    """

    verb: str
    template: str
    pattern: re.Pattern[str]
    fields: Sequence[str]
    body: str
    response_body: str
    method: MethodDescriptor


def rules_of(service: ServiceDescriptor) -> list[Rule]:
    """Returns the HTTP bindings of a service, in the order of the proto.

    Raises:
        ValueError: If an annotation names no field of the message.
    """
    rules = []
    for method in service.methods:
        annotation = method.GetOptions().Extensions[annotations_pb2.http]
        if annotation.WhichOneof("pattern") is None:
            continue
        rules += [_rule(method, binding) for binding in (annotation, *annotation.additional_bindings)]
    return rules


def compile_template(template: str) -> tuple[re.Pattern[str], list[str]]:
    """Returns the pattern of a path template and the fields of its groups."""
    pattern, fields, end = "", [], 0
    for token in _TOKEN.finditer(template):
        pattern += re.escape(template[end : token.start()])
        end = token.end()
        if token["field"]:
            fields.append(token["field"])
            pattern += f"({_segments(token['segments'] or '*')})"
        else:
            pattern += _segments(token[0])
    return re.compile(pattern + re.escape(template[end:])), fields


def build_request(
    rule: Rule, request: Message, path: Sequence[str], query: Iterable[tuple[str, str]], body: Any
) -> None:
    """Fills an empty request from the parts of an HTTP request.

    Args:
        rule: The binding that matched.
        request: The message to fill.
        path: The path's variables, still percent-encoded.
        query: The query's parameters, decoded.
        body: The decoded JSON body, where the rule takes one.

    Raises:
        ApiError: If a part names no field, or its value doesn't fit.
    """
    descriptor: Descriptor = rule.method.input_type
    values: dict[str, Any] = {}
    if rule.body == "*":
        if not isinstance(body, dict):
            raise invalid("body", "is not a JSON object; send the fields of the request")
        values.update(body)
    elif rule.body:
        values[rule.body] = body
    for field, text in zip(rule.fields, path, strict=True):
        _put(descriptor, values, field, unquote(text))
    if rule.body != "*":
        for field, text in query:
            _put(descriptor, values, field, text)
    try:
        json_format.ParseDict(values, request)
    except json_format.ParseError as error:
        field, reason = _explain(str(error))
        raise invalid(field, reason) from error


def _rule(method: MethodDescriptor, binding: http_pb2.HttpRule) -> Rule:
    kind = binding.WhichOneof("pattern")
    verb, template = (
        (binding.custom.kind, binding.custom.path) if kind == "custom" else (kind.upper(), getattr(binding, kind))
    )
    if binding.body and verb not in _BODY_VERBS:
        raise ValueError(f"{method.full_name}: {verb} takes no body")
    pattern, fields = compile_template(template)
    for field in fields:
        _resolve(method.input_type, field)
    if binding.response_body:
        _resolve(method.output_type, binding.response_body)
    return Rule(verb, template, pattern, fields, binding.body, binding.response_body, method)


def _segments(template: str) -> str:
    parts = re.split(r"(\*\*|\*)", template)
    return "".join({"*": "[^/]+", "**": ".+"}.get(part, re.escape(part)) for part in parts)


def _resolve(message: Descriptor | None, path: str) -> FieldDescriptor:
    """Returns the field at a dotted path, by proto or JSON names."""
    field: FieldDescriptor | None = None
    for name in path.split("."):
        if message is None:
            raise ValueError(f"{path}: has no fields of its own")
        by_json_name: Mapping[str, FieldDescriptor] = {f.json_name: f for f in message.fields}
        field = message.fields_by_name.get(name) or by_json_name.get(name)
        if field is None:
            known = ", ".join(f.name for f in message.fields) or "none"
            raise ValueError(f"{path}: is no field; known are: {known}")
        message = field.message_type
    assert field is not None
    return field


def _put(message: Descriptor, values: dict[str, Any], path: str, text: str) -> None:
    """Sets the field at a dotted path to what the text stands for; a repeated field collects its texts."""
    try:
        field = _resolve(message, path)
    except ValueError as error:
        raise invalid(path[:60], str(error).partition(": ")[2]) from None
    *parents, _ = path.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    value: Any = text
    if field.type == FieldDescriptor.TYPE_BOOL:
        value = {"true": True, "false": False}.get(text.lower(), text)
    if field.is_repeated:
        known = values.setdefault(field.name, [])
        parts = text.split(",") if field.type == FieldDescriptor.TYPE_STRING else [text]
        known.extend(part for part in parts if part) if value is text else known.append(value)
    else:
        values[field.name] = value


def _explain(error: str) -> tuple[str, str]:
    """Returns the field and the reason in a message of `json_format`."""
    match = re.search(r"Failed to parse (\w+) field: (.+?)\.?$", error)
    if match:
        return match[1], re.sub(r"^invalid literal for int\(\) with base 10: (.*)$", r"\1 is no whole number", match[2])
    match = re.search(r'has no field named "([^"]*)"', error)
    return (match[1], "is no field of this request") if match else ("request", error)
