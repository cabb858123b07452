"""What all resource models share: Kubernetes' spelling, strictness, durations, references to Secrets."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP = "pricecast.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

_DURATION = re.compile(r"^(\d+)([smhd])$")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Duration = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}[smhd]$", examples=["30s", "5m", "12h", "7d"])]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length=63)]
PairName = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,10}/[A-Z0-9]{2,10}$", max_length=21, examples=["BTC/USD"])]
CoinName = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,10}$", max_length=10, examples=["BTC"])]


def seconds(duration: str) -> int:
    """Returns the seconds in a duration such as `5m`."""
    match = _DURATION.match(duration)
    if match is None:
        raise ValueError(f"{duration!r} is not a duration; write a number and s, m, h or d, for example 5m")
    return int(match.group(1)) * _UNIT_SECONDS[match.group(2)]


class Model(BaseModel):
    """Base of all parts of a resource: camelCase outside, unknown fields refused, immutable."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class SecretKeyRef(Model):
    """A key of a Secret in the resource's namespace."""

    name: str = Field(min_length=1, max_length=253, description="Name of the Secret.")
    key: str = Field(min_length=1, max_length=253, description="Key within the Secret.")
