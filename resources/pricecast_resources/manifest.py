"""Reads a manifest as `kubectl apply -f` would, and says what is wrong with it: where, what, and what to write instead.

The API server checks the same rules on a cluster; on a laptop this is all there is between a typing mistake and a
service that fails to start.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from pricecast_core.errors import SettingsError
from pricecast_core.values import PIPELINE_NAME, PIPELINE_NAME_RULE
from pricecast_resources.base import API_VERSION
from pricecast_resources.pricepipeline import PricePipelineSpec

KIND = "PricePipeline"
_NAME = re.compile(rf"{PIPELINE_NAME}\Z")


class ManifestError(SettingsError):
    """A manifest can't be used. The message has a line for each mistake: file:line, field, value, remedy."""


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
    try:
        nodes = list(yaml.compose_all(path.read_text(), Loader=yaml.SafeLoader))
    except OSError as error:
        raise ManifestError(f"{path}: can't be read: {error.strerror}; name a manifest file") from None
    except UnicodeDecodeError:
        raise ManifestError(f"{path}: is not text; name a YAML file") from None
    except yaml.YAMLError as error:
        raise ManifestError(f"{path}: is not YAML: {error}") from None
    documents = [_Document(path, node) for node in nodes if node is not None]
    pipelines = [document for document in documents if document.data.get("kind") == KIND]
    if len(pipelines) != 1:
        kinds = ", ".join(str(document.data.get("kind", "no kind")) for document in documents) or "nothing"
        raise ManifestError(f"{path}: kind: holds {kinds}; give a file with one resource of kind: {KIND}")
    return pipelines[0].manifest()


class _Document:
    """One YAML document with the lines that its fields are on."""

    def __init__(self, path: Path, node: yaml.Node) -> None:
        self.path = path
        self.node = node
        for line, key in _duplicates(node):
            raise ManifestError(f"{path}:{line}: {key}: is given twice; keep one")
        data = yaml.constructor.SafeConstructor().construct_document(node)
        if not isinstance(data, dict):
            raise ManifestError(f"{path}:{node.start_mark.line + 1}: is not a resource; start with apiVersion and kind")
        self.data: dict[str, Any] = data

    def manifest(self) -> Manifest:
        problems = []
        if self.data.get("apiVersion") != API_VERSION:
            problems.append(
                self._problem(("apiVersion",), f"{self.data.get('apiVersion')!r}: write apiVersion: {API_VERSION}")
            )
        metadata = self.data.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        if not isinstance(name, str) or not _NAME.match(name):
            problems.append(self._problem(("metadata", "name"), f"{name!r}: {PIPELINE_NAME_RULE}"))
        spec = None
        try:
            spec = PricePipelineSpec.model_validate(self.data.get("spec") or {})
        except ValidationError as error:
            problems += [
                self._problem(("spec", *line["loc"]), explain(PricePipelineSpec, line)) for line in error.errors()
            ]
        if problems or spec is None:
            raise ManifestError("\n".join(text for _, text in sorted(problems)))
        return Manifest(self.path, str(name), spec)

    def _problem(self, location: Sequence[str | int], text: str) -> tuple[int, str]:
        line = _line_of(self.node, location)
        return line, f"{self.path}:{line}: {dotted(location)}: {text}"


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


def _line_of(node: yaml.Node, location: Sequence[str | int]) -> int:
    """Returns the line of a field, or of the nearest one above it that is written."""
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
    return line


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
