"""Reads a manifest as `kubectl apply -f` would, and says what is wrong with it: where, what, and what to write instead.

The API server checks the same rules on a cluster; on a laptop this is all there is between a typing mistake and a
service that fails to start.
"""

from __future__ import annotations

import difflib
import json
import re
import types
import typing
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Union

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from pricecast_core.errors import SettingsError
from pricecast_resources.base import API_VERSION
from pricecast_resources.kinds import KINDS, Kind
from pricecast_resources.metadata import problems as of_metadata
from pricecast_resources.pricepipeline import PricePipelineSpec

KIND = "PricePipeline"
_BOOLEAN = "tag:yaml.org,2002:bool"
_ROOT_FIELDS = ("apiVersion", "kind", "metadata", "spec", "status")


class ManifestError(SettingsError):
    """A manifest can't be used. The message has a line for each mistake: file:line, field, value, remedy."""


class _Loader(yaml.SafeLoader):
    """Reads scalars as kubectl does: no dates, no numbers of base 60, whole floats as integers, y and n as booleans."""

    bool_values: ClassVar[dict[str, bool]] = {**yaml.SafeLoader.bool_values, "y": True, "n": False}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Returns a mapping, its keys as kubectl turns them to JSON: `y` and `7` are "true" and "7"."""
        found = super().construct_mapping(node, deep=deep)
        return {json.dumps(key) if isinstance(key, bool | int | float) else key: each for key, each in found.items()}


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float | int:
    number = float(loader.construct_scalar(node).replace("_", ""))
    return int(number) if number.is_integer() else number


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("timestamp", "int", "float")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$"),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver(_BOOLEAN, re.compile("^[yYnN]$"), list("yYnN"))
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of ours as a person wrote it.

    Attributes:
        path: The file.
        kind: Its kind.
        name: `metadata.name`.
        spec: Its spec, valid.
    """

    path: Path
    kind: Kind
    name: str
    spec: BaseModel


@dataclass(frozen=True, slots=True)
class Manifest:
    """A PricePipeline as a person wrote it.

    Attributes:
        path: The file.
        name: `metadata.name`.
        spec: Its spec, valid.
    """

    path: Path
    name: str
    spec: PricePipelineSpec


def load_manifest(path: Path) -> Manifest:
    """Returns the one PricePipeline in a YAML file; other resources in it (Secrets, FinetuneJobs) are passed over.

    Raises:
        ManifestError: If there is none, more than one, or anything in it is wrong.
    """
    documents = _documents(path)
    pipelines = [document for document in documents if document.data.get("kind") == KIND]
    if len(pipelines) != 1:
        raise ManifestError(f"{path}: kind: holds {_kinds(documents)}; give a file with one resource of kind: {KIND}")
    resource = pipelines[0].resource(KINDS[KIND])
    assert isinstance(resource.spec, PricePipelineSpec)
    return Manifest(path, resource.name, resource.spec)


def load_resources(path: Path) -> list[Resource]:
    """Returns all resources of ours in a YAML file, as `kubectl apply` would take them; others are passed over.

    Raises:
        ManifestError: If there is none, or anything in one is wrong.
    """
    documents = _documents(path)
    found: list[Resource] = []
    mistakes: list[str] = []
    for document in documents:
        kind = KINDS.get(str(document.data.get("kind")))
        if kind is None:
            continue
        try:
            found.append(document.resource(kind))
        except ManifestError as error:
            mistakes.append(str(error))
    if mistakes:
        raise ManifestError("\n".join(mistakes))
    if not found:
        raise ManifestError(
            f"{path}: kind: holds {_kinds(documents)}; give a file with a resource of kind: {' or '.join(KINDS)}"
        )
    return found


def _kinds(documents: Sequence[_Document]) -> str:
    return ", ".join(str(document.data.get("kind", "no kind")) for document in documents) or "nothing"


def _documents(path: Path) -> list[_Document]:
    try:
        nodes = list(yaml.compose_all(path.read_text(), Loader=_Loader))
    except OSError as error:
        raise ManifestError(f"{path}: can't be read: {error.strerror}; name a manifest file") from None
    except UnicodeDecodeError:
        raise ManifestError(f"{path}: is not text; name a YAML file") from None
    except yaml.YAMLError as error:
        raise ManifestError(f"{path}: is not YAML: {error}") from None
    return [_Document(path, node) for node in nodes if node is not None]


class _Document:
    """One YAML document with the lines that its fields are on."""

    def __init__(self, path: Path, node: yaml.Node) -> None:
        self.path = path
        self.node = node
        for line, key in _duplicates(node):
            raise ManifestError(f"{path}:{line}: {key}: is given twice; keep one")
        try:
            data = _Loader("").construct_document(node)
        except (yaml.YAMLError, ValueError) as error:
            raise ManifestError(f"{path}: is not YAML: {error}") from None
        if not isinstance(data, dict):
            raise ManifestError(f"{path}:{node.start_mark.line + 1}: is not a resource; start with apiVersion and kind")
        self.data: dict[str, Any] = data

    def resource(self, kind: Kind) -> Resource:
        problems = [
            self._problem((field,), f"is not a field; the fields are {', '.join(_ROOT_FIELDS)}")
            for field in self.data
            if field not in _ROOT_FIELDS
        ]
        if self.data.get("apiVersion") != API_VERSION:
            problems.append(
                self._problem(("apiVersion",), f"{self.data.get('apiVersion')!r}: write apiVersion: {API_VERSION}")
            )
        metadata = self.data.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        name = metadata.get("name")
        if not kind.allows(name):
            problems.append(self._problem(("metadata", "name"), f"{name!r}: {kind.name_rule}"))
        problems += [self._problem(("metadata", *where), told) for where, told in of_metadata(metadata)]
        spec = None
        written = self.data.get("spec")
        try:
            spec = kind.spec.model_validate(without_unset({} if written is None else written, kind.spec))
        except ValidationError as error:
            problems += [self._problem(("spec", *line["loc"]), explain(kind.spec, line)) for line in error.errors()]
        if problems or spec is None:
            raise ManifestError("\n".join(text for _, text in sorted(problems)))
        return Resource(self.path, kind, str(name), spec)

    def _problem(self, location: Sequence[str | int], text: str) -> tuple[int, str]:
        line, written = _found_at(self.node, location)
        if isinstance(written, yaml.ScalarNode) and written.tag == _BOOLEAN and text.startswith(("True: ", "False: ")):
            text += f"; YAML reads {written.value} as a boolean: put it in quotes if it is text"
        return line, f"{self.path}:{line}: {dotted(location)}: {text}"


def without_unset(data: Any, annotation: Any) -> Any:
    """Returns the data without fields and entries of maps that have no value: the API server drops them for defaults."""
    model = _required(annotation)
    if isinstance(data, dict) and isinstance(model, type) and issubclass(model, BaseModel):
        fields = _fields(model)
        return {
            name: without_unset(value, fields[name].annotation) if name in fields else value
            for name, value in data.items()
            if value is not None or name not in fields or fields[name].is_required()
        }
    arguments = typing.get_args(model)
    if isinstance(data, list) and arguments:
        return [without_unset(each, arguments[0]) for each in data]
    if isinstance(data, dict) and len(arguments) > 1:
        return {name: without_unset(value, arguments[1]) for name, value in data.items() if value is not None}
    return data


def dotted(location: Sequence[str | int]) -> str:
    """Returns where a field is: `spec.prediction.horizonsSeconds[0]`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def explain_all(model: type[BaseModel], error: ValidationError, *parents: str) -> str:
    """Returns all mistakes in one line of text; `parents` are the fields that the model lies in."""
    return "; ".join(f"{dotted((*parents, *line['loc']))}: {explain(model, line)}" for line in error.errors())


def explain(model: type[BaseModel], line: Any) -> str:
    """Returns a mistake that pydantic found, in words: the value, what is wrong, what to write.

    Args:
        model: The model that was validated.
        line: One of `ValidationError.errors()`.
    """
    location, kind = line["loc"], line["type"]
    if kind == "value_error":  # our own rules name the field, the value and the remedy
        return str(line["msg"]).removeprefix("Value error, ")
    if kind == "extra_forbidden":
        fields = _fields(_model_at(model, location[:-1]))
        close = difflib.get_close_matches(str(location[-1]), fields, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the fields are {', '.join(fields)}"
        return f"is not a field; {hint}"
    owner = _model_at(model, location[:-1]) if location else None
    field = _fields(owner).get(str(location[-1])) if owner is not None else None
    described = f" ({field.description})" if field is not None and field.description else ""
    if kind == "missing":
        return f"is missing; give it a value{described}"
    text = line["msg"].replace("Input should", "should").replace("String should", "should")
    examples = field.examples if field is not None and field.examples else None
    if kind == "string_pattern_mismatch" and examples:
        text = f"should look like {' or '.join(map(str, examples))}"
    value = line["input"]
    shown = (
        repr(value) if not isinstance(value, dict | list) else f"a {'mapping' if isinstance(value, dict) else 'list'}"
    )
    return f"{shown}: {text}{described}"


def _fields(model: type[BaseModel] | None) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()} if model is not None else {}


def _model_at(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel] | None:
    """Returns the model that a location lies in, through lists, mappings and optional fields."""
    current: Any = model
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = _fields(current).get(str(part))
            current = field.annotation if field is not None else None
        else:
            arguments = typing.get_args(current)
            current = arguments[-1] if arguments else None
        current = _required(current)
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _required(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return next((part for part in typing.get_args(annotation) if part is not type(None)), None)
    return annotation


def _found_at(node: yaml.Node, location: Sequence[str | int]) -> tuple[int, yaml.Node]:
    """Returns the line and the value of a field, or of the nearest one above it that is written."""
    line = node.start_mark.line + 1
    current = node
    for part in location:
        if isinstance(current, yaml.MappingNode):
            found = next(((key, value) for key, value in current.value if key.value == part), None)
            if found is None:
                break
            line, current = found[0].start_mark.line + 1, found[1]
        elif isinstance(current, yaml.SequenceNode) and isinstance(part, int) and part < len(current.value):
            current = current.value[part]
            line = current.start_mark.line + 1
        else:
            break
    return line, current


def _duplicates(node: yaml.Node) -> Iterator[tuple[int, str]]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.start_mark.line + 1, str(key.value)
            seen.add(key.value if isinstance(key.value, str) else id(key))
            yield from _duplicates(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _duplicates(value)
