"""From the pydantic models to the CustomResourceDefinitions: one description for programs, people and the API server.

Kubernetes wants a structural schema: no references, no `anyOf` with null, every node with its type. Optional fields
are simply not required (the API server prunes nulls). Defaults are written into the schema, so that
`kubectl get -o yaml` shows what is in force. Rules over several fields come along as CEL (`base.rules`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from pricecast_core.values import whole
from pricecast_resources.base import API_VERSION, GROUP, VERSION, rule
from pricecast_resources.finetunejob import MUTABLE, FinetuneJobSpec
from pricecast_resources.kinds import KINDS
from pricecast_resources.pricepipeline import PricePipelineSpec
from pricecast_resources.status import FinetuneJobStatus, PricePipelineStatus

Schema = dict[str, Any]

_KEPT = (
    "type",
    "description",
    "enum",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
)
_UNSAID: tuple[Any, ...] = (None, "", [], {})
"""Defaults that a schema leaves out, as is the convention."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of resource.

    Attributes:
        kind: Its kind.
        plural: Its name in URLs.
        short: Its short name for kubectl.
        description: What it is.
        spec: Model of the spec.
        status: Model of the status.
        columns: What `kubectl get` prints: name, type, JSON path, priority (1 only with `-o wide`).
        scale: Paths of the scale subresource, if it has one.
        rules: CEL rules over the whole resource.
    """

    kind: str
    plural: str
    short: str
    description: str
    spec: type[BaseModel]
    status: type[BaseModel]
    columns: tuple[tuple[str, str, str, int], ...]
    scale: dict[str, str] | None = None
    rules: tuple[dict[str, str], ...] = ()

    @property
    def singular(self) -> str:
        """The kind in lower case."""
        return self.kind.lower()


def _condition(kind: str, field: str = "status") -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


def _named(kind: str) -> dict[str, str]:
    """Returns the rule of a kind's names."""
    of = KINDS[kind]
    return rule(f"self.metadata.name.matches('{whole(of.name_pattern)}')", f"metadata.name: {of.name_rule}")


def _frozen_once_started(spec: type[BaseModel]) -> tuple[dict[str, str], ...]:
    """Returns a rule for each field of a job's spec that can't change once it has started."""
    names = [field.alias or name for name, field in spec.model_fields.items()]
    return tuple(
        rule(
            f"!has(oldSelf.status) || !has(oldSelf.status.startTime) || has(self.spec.{name}) == has(oldSelf.spec.{name})"
            f" && (!has(self.spec.{name}) || self.spec.{name} == oldSelf.spec.{name})",
            "is immutable once the job has started; make another FinetuneJob",
            f"spec.{name}",
        )
        for name in names
        if name not in MUTABLE
    )


PRICE_PIPELINE = Resource(
    kind="PricePipeline",
    plural="pricepipelines",
    short="pp",
    description="A price prediction, from trades to a scored forecast.",
    spec=PricePipelineSpec,
    status=PricePipelineStatus,
    columns=(
        ("Pairs", "string", ".spec.pairs", 0),
        ("Ready", "string", _condition("Ready"), 0),
        ("Model", "string", ".status.model", 0),
        ("Skill", "string", ".status.skill", 0),
        ("Lag", "integer", ".status.lag", 0),
        ("Message", "string", ".status.message", 0),
        ("Reason", "string", _condition("Ready", "reason"), 1),
        ("Predicting", "string", _condition("Predicting", "reason"), 1),
        ("Last prediction", "number", ".status.lastPrediction.predictedPrice", 1),
        ("Market time", "string", ".status.lastPrediction.issuedAt", 1),
        ("Source", "string", ".spec.source.kind", 1),
        ("Age", "date", ".metadata.creationTimestamp", 0),
    ),
    scale={
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    },
    rules=(_named("PricePipeline"),),
)
FINETUNE_JOB = Resource(
    kind="FinetuneJob",
    plural="finetunejobs",
    short="ftj",
    description="A fine-tuning of the model that reads the news.",
    spec=FinetuneJobSpec,
    status=FinetuneJobStatus,
    columns=(
        ("State", "string", ".status.state", 0),
        ("Step", "integer", ".status.step", 0),
        ("Of", "integer", ".status.totalSteps", 0),
        ("Loss", "number", ".status.loss", 0),
        ("F1", "number", ".status.after.f1", 0),
        ("Model", "string", ".status.publishedModel", 0),
        ("Message", "string", ".status.message", 0),
        ("F1 before", "number", ".status.before.f1", 1),
        ("Base", "string", ".spec.baseModel.name", 1),
        ("Age", "date", ".metadata.creationTimestamp", 0),
    ),
    rules=(
        _named("FinetuneJob"),
        *_frozen_once_started(FinetuneJobSpec),
    ),
)
RESOURCES = (PRICE_PIPELINE, FINETUNE_JOB)


def custom_resource_definition(
    resource: Resource, *, group: str = GROUP, versions: Sequence[str] = (VERSION,), stored: str = VERSION
) -> dict[str, Any]:
    """Returns the CustomResourceDefinition of a kind.

    Args:
        resource: The kind.
        group: Its group.
        versions: The versions served. They have one schema: what a field means never changes within them, so that no
            webhook need convert one into another (docs/decisions/0010-resource-versions.md).
        stored: The version that objects are stored as.
    """
    subresources: dict[str, Any] = {"status": {}}
    if resource.scale:
        subresources["scale"] = resource.scale
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        # With the definitions go all resources: uninstalling the chart is not to take them along.
        "metadata": {
            "name": f"{resource.plural}.{group}",
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.singular,
                "shortNames": [resource.short],
                "categories": ["pricecast"],
            },
            "versions": [
                {
                    "name": version,
                    "served": version in versions,
                    "storage": version == stored,
                    "subresources": subresources,
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path, **({"priority": priority} if priority else {})}
                        for name, kind, path, priority in resource.columns
                    ],
                    "schema": {"openAPIV3Schema": _resource_schema(resource)},
                }
                for version in dict.fromkeys((*versions, stored))
            ],
        },
    }


def _resource_schema(resource: Resource) -> Schema:
    return {
        "type": "object",
        "description": resource.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP} and the version, such as {API_VERSION}."},
            "kind": {"type": "string", "description": f"Always {resource.kind}."},
            "metadata": {"type": "object"},
            "spec": structural_schema(resource.spec),
            "status": structural_schema(resource.status),
        },
        **({"x-kubernetes-validations": list(resource.rules)} if resource.rules else {}),
    }


def structural_schema(model: type[BaseModel]) -> Schema:
    """Returns the model's schema as Kubernetes wants it: inlined, typed, with defaults."""
    generated = model.model_json_schema(by_alias=True)
    schema = _inline(generated, generated.get("$defs", {}))
    _add_defaults(schema, model)
    return schema


def _inline(node: Schema, definitions: dict[str, Schema]) -> Schema:
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        return _inline({**target, **{key: value for key, value in node.items() if key != "$ref"}}, definitions)
    options = [option for option in node.get("anyOf", []) if option.get("type") != "null"]
    if any(option.get("type") == "number" for option in options) and len(options) > 1:
        return _number_or_string(node, options)
    if options:
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        return _inline({**options[0], **rest}, definitions)
    result = {key: node[key] for key in _KEPT if key in node}
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if exclusive in node:
            result[bound], result[exclusive] = node[exclusive], True
    if result.get("type") == "integer":
        result["format"] = "int64"
    if "properties" in node:
        result["properties"] = {name: _inline(child, definitions) for name, child in node["properties"].items()}
        if node.get("required"):
            result["required"] = node["required"]
    if isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = _inline(node["additionalProperties"], definitions)
    if "items" in node:
        result["items"] = _inline(node["items"], definitions)
    return result


def _number_or_string(node: Schema, options: list[Schema]) -> Schema:
    """Returns the schema of a quantity: without a type, for there is none that takes 0.5 and 500m alike."""
    string = next(option for option in options if option["type"] == "string")
    return {
        **{key: node[key] for key in ("description", "x-kubernetes-preserve-unknown-fields") if key in node},
        **{key: string[key] for key in ("pattern", "maxLength") if key in string},
        "minimum": 0,
        "maxItems": 0,
        "maxProperties": 0,
        "not": {"enum": [True, False, [], {}]},
    }


def _add_defaults(schema: Schema, model: type[BaseModel]) -> None:
    """Writes the defaults of the models' fields; empty texts, lists and maps stay unsaid, as is the convention."""
    for name, field in model.model_fields.items():
        child = schema["properties"][field.alias or name]
        for nested in _models_in(field.annotation):
            inner = child
            while "properties" not in inner:
                inner = inner.get("items") or inner["additionalProperties"]
            _add_defaults(inner, nested)
        if field.is_required():
            continue
        value = field.get_default(call_default_factory=True, validated_data={})
        if isinstance(value, BaseModel):
            child["default"] = _default_of(value)
        elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
            child["default"] = [_default_of(each) for each in value]
        elif value not in _UNSAID:
            child["default"] = value


def _default_of(value: BaseModel) -> dict[str, Any]:
    """Returns an object's default: `{}` with the defaults inside, or whole where rules look at it before those."""
    extra = type(value).model_config.get("json_schema_extra")
    ruled = isinstance(extra, dict) and "x-kubernetes-validations" in extra
    dumped = value.model_dump(mode="json", by_alias=True, exclude_defaults=not ruled)
    return {name: each for name, each in dumped.items() if each not in _UNSAID}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]
