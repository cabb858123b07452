"""What all resource models share: Kubernetes' spelling, strictness, durations, rules, references to Secrets.

A rule over several fields is written twice, side by side: as a pydantic validator for `pricecast up`, and as a CEL
expression (`rules`) that the API server checks. A test holds both to the same list of bad manifests.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic.alias_generators import to_camel

M = TypeVar("M", bound=BaseModel)

GROUP = "pricecast.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

_DURATION = re.compile(r"^(\d+)([smhd])$")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Duration = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}[smhd]$", examples=["30s", "5m", "12h", "7d"])]
_QUANTITY = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]{1,3})?$"
"""What Kubernetes takes, but for negative ones."""


def _quantity(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    try:
        return check(value)
    except ValidationError:
        told = f"{value!r:.40} is no quantity"
        raise ValueError(f"{told}; write a number, with a unit where one is due: 0.5, 500m, 512Mi") from None


Quantity = Annotated[
    Annotated[int, Field(ge=0)]
    | Annotated[float, Field(ge=0)]
    | Annotated[str, Field(pattern=_QUANTITY, max_length=32)],
    WrapValidator(_quantity),
    # A number or a text, which the API server has no type for: it leaves a field without one as it is.
    Field(
        examples=["500m", "512Mi", 0.5],
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    ),
]
Text = Annotated[str, Field(max_length=253)]
Labels = Annotated[dict[str, Text], Field(max_length=16)]


SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}
"""Marks a list without duplicates; goes with `DISTINCT`."""


def rule(expression: str, message: str, field: str = "", *, telling: str = "") -> dict[str, str]:
    """Returns one CEL rule of a model.

    Args:
        expression: What must hold.
        message: What to say if it doesn't.
        field: The field at fault.
        telling: A CEL expression that says it along with the value at fault; then `message` is what it says in general.
    """
    return {
        "rule": expression,
        "message": message,
        **({"messageExpression": telling} if telling else {}),
        **({"fieldPath": f".{field}"} if field else {}),
    }


def rules(*each: dict[str, str]) -> dict[str, Any]:
    """Returns the `json_schema_extra` that carries a model's CEL rules into the CRD."""
    return {"x-kubernetes-validations": list(each)}


def of_setting(kind: type[BaseModel], name: str, description: str, **more: Any) -> Any:
    """Returns a field of a spec whose default and bounds are those of the setting that it becomes.

    Args:
        kind: The class of the settings.
        name: The setting.
        description: What the spec says of it.
        more: What else is asked of the field.
    """
    setting = kind.model_fields[name]
    bounds = {
        bound: getattr(constraint, bound)
        for constraint in setting.metadata
        for bound in ("ge", "gt", "le", "lt")
        if getattr(constraint, bound, None) is not None
    }
    given: dict[str, Any] = {**bounds, **more, "description": description}
    if setting.default_factory is not None:
        return Field(default_factory=cast("Callable[[], Any]", setting.default_factory), **given)
    return Field(setting.default, **given)


class OneOf:
    """A union: exactly one of some optional fields is given. Its CEL rule, and as a call the same check of a model.

    Args:
        fields: The fields, as they are called in Python.
    """

    def __init__(self, *fields: str) -> None:
        self._fields = fields
        self._message = f"give exactly one of {', '.join(map(to_camel, fields))}"

    @property
    def rule(self) -> dict[str, str]:
        """The rule that the API server checks."""
        given = ", ".join(f"has(self.{to_camel(field)})" for field in self._fields)
        return rule(f"[{given}].exists_one(given, given)", self._message)

    def __call__(self, model: M, part: str) -> M:
        """Returns the model, if it is right; `part` is what messages call it."""
        if sum(getattr(model, field) is not None for field in self._fields) != 1:
            raise ValueError(f"{part}: {self._message}")
        return model


def seconds(duration: str) -> int:
    """Returns the seconds in a duration such as `5m`."""
    match = _DURATION.match(duration)
    if match is None:
        raise ValueError(f"{duration!r} is not a duration; write a number and s, m, h or d, for example 5m")
    return int(match.group(1)) * _UNIT_SECONDS[match.group(2)]


class Model(BaseModel):
    """Base of all parts of a resource: camelCase outside, unknown fields and other types refused, immutable."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True)


class SecretKeyRef(Model):
    """A key of a Secret in the resource's namespace."""

    name: str = Field(min_length=1, max_length=253, description="Name of the Secret.")
    key: str = Field(min_length=1, max_length=253, description="Key within the Secret.")


class OptionalKey(SecretKeyRef):
    """A key that the Secret may lack: the variable that would hold its value isn't set then."""


class Resources(Model):
    """CPU and memory of a container."""

    requests: dict[str, Quantity] = Field(default_factory=dict, max_length=16, description="Guaranteed: cpu, memory.")
    limits: dict[str, Quantity] = Field(default_factory=dict, max_length=16, description="Most: cpu, memory.")


class Toleration(Model):
    """A taint that the pods accept."""

    key: str = Field("", max_length=316, description="Key of the taint; empty tolerates all.")
    operator: Literal["Exists", "Equal"] = Field("Exists", description="How the value is compared.")
    value: str = Field("", max_length=63, description="Value of the taint.")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field("", description="Effect; empty is all.")
