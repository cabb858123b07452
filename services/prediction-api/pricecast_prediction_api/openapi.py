"""The OpenAPI 3.1 document of the HTTP gateway, made from the protos: their annotations, types and comments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from pricecast_prediction_api.http_rules import Rule

Schema = dict[str, Any]

_JSON = "application/json"
_PROBLEM = "application/problem+json"
_SCALARS: dict[int, Schema] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "format": "int64", "minimum": 0},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptor.TYPE_UINT64: {"type": "string", "format": "uint64"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_PROBLEM_SCHEMA: Schema = {
    "type": "object",
    "description": "What went wrong (RFC 9457), with the code and the details that gRPC gives.",
    "required": ["title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What is wrong and what to do."},
        "code": {"type": "string", "description": "The name of the gRPC status code."},
        "details": {"type": "array", "items": {"type": "object"}, "description": "google.rpc error details."},
    },
}


def comments() -> dict[str, str]:
    """Returns the comment above each element of the protos, by full name."""
    data = resources.files("pricecast_prediction_api.gen").joinpath("descriptors.binpb").read_bytes()
    found: dict[str, str] = {}
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        for location in file.source_code_info.location:
            if location.leading_comments:
                found[_name_at(file, location.path)] = location.leading_comments
    return {name: _paragraphs(text) for name, text in found.items()}


def openapi(rules: Sequence[Rule], version: str) -> dict[str, Any]:
    """Returns the document that describes the bindings."""
    words = comments()
    schemas: dict[str, Schema] = {"Problem": _PROBLEM_SCHEMA}
    paths: dict[str, dict[str, Any]] = {}
    for rule in rules:
        path = re.sub(r"\{([^}=]+)=[^}]+\}", r"{\1}", rule.template)
        # Two bindings of one method that differ only in how many segments a variable takes are one path here.
        paths.setdefault(path, {}).setdefault(rule.verb.lower(), _operation(rule, words, schemas))
    service = rules[0].method.containing_service
    return {
        "openapi": "3.1.0",
        "info": {"title": "pricecast predictions", "version": version, "description": words[service.full_name]},
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def _operation(rule: Rule, words: dict[str, str], schemas: dict[str, Schema]) -> dict[str, Any]:
    method = rule.method
    summary, _, description = words[method.full_name].partition("\n\n")
    operation: dict[str, Any] = {
        "operationId": method.name if rule.verb == "GET" else f"{method.name}{rule.verb.capitalize()}",
        "summary": summary,
        "tags": [method.containing_service.name],
        "parameters": _parameters(rule, words, schemas),
        "responses": {
            "200": {"description": "OK", "content": _content(rule, words, schemas)},
            "default": {
                "description": "An error",
                "content": {_PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        },
    }
    if description:
        operation["description"] = description
    if rule.body:
        fields = method.input_type.fields_by_name
        schema = (
            _reference(method.input_type, words, schemas)
            if rule.body == "*"
            else _field(fields[rule.body], words, schemas)
        )
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": schema}}}
    return operation


def _content(rule: Rule, words: dict[str, str], schemas: dict[str, Schema]) -> dict[str, Any]:
    output = rule.method.output_type
    if rule.response_body:
        schema = _field(output.fields_by_name[rule.response_body], words, schemas)
    else:
        schema = _reference(output, words, schemas)
    if rule.method.server_streaming:
        return {
            "text/event-stream": {
                "schema": {"type": "string", "description": "Events whose data is the message."},
                "x-event-data": schema,
            }
        }
    return {_JSON: {"schema": schema}}


def _parameters(rule: Rule, words: dict[str, str], schemas: dict[str, Schema]) -> list[dict[str, Any]]:
    parameters = []
    for field in rule.method.input_type.fields:
        in_path = field.name in rule.fields
        if not in_path and rule.body in ("*", field.name):
            continue
        schema = _field(field, words, schemas)
        parameter: dict[str, Any] = {
            "name": field.name if in_path else field.json_name,
            "in": "path" if in_path else "query",
            "required": in_path or _is_required(field),
            "description": schema.pop("description", ""),
            "schema": schema,
        }
        if field.is_repeated:
            parameter["style"], parameter["explode"] = "form", True
        parameters.append(parameter)
    return parameters


def _reference(message: Descriptor, words: dict[str, str], schemas: dict[str, Schema]) -> Schema:
    if message.full_name == "google.protobuf.Timestamp":
        return {"type": "string", "format": "date-time"}
    if message.name not in schemas:
        schema = schemas[message.name] = {"type": "object", "description": words.get(message.full_name, "")}
        schema["properties"] = {field.json_name: _field(field, words, schemas) for field in message.fields}
        required = [field.json_name for field in message.fields if _is_required(field)]
        if required:
            schema["required"] = required
    return {"$ref": f"#/components/schemas/{message.name}"}


def _field(field: FieldDescriptor, words: dict[str, str], schemas: dict[str, Schema]) -> Schema:
    if field.message_type is not None:
        schema = _reference(field.message_type, words, schemas)
    else:
        schema = dict(_SCALARS[field.type])
    if field.is_repeated:
        schema = {"type": "array", "items": schema}
    return {**schema, "description": words.get(field.full_name, "")}


def _is_required(field: FieldDescriptor) -> bool:
    options: Any = field.GetOptions()
    return field_behavior_pb2.REQUIRED in options.Extensions[field_behavior_pb2.field_behavior]


def _name_at(file: descriptor_pb2.FileDescriptorProto, path: Sequence[int]) -> str:
    """Returns the full name of the element at a path of field numbers and indexes (see descriptor.proto)."""
    names = [file.package]
    element: Any = file
    for number, index in zip(path[::2], path[1::2], strict=False):
        field = element.DESCRIPTOR.fields_by_number[number]
        element = getattr(element, field.name)[index]
        names.append(element.name)
    return ".".join(names)


def _paragraphs(comment: str) -> str:
    """Joins the lines of each paragraph of a comment."""
    paragraphs = re.split(r"\n\s*\n", comment.strip())
    return "\n\n".join(" ".join(line.strip() for line in paragraph.splitlines()) for paragraph in paragraphs)
