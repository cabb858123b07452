"""The kinds of resources: for each the model of its spec, and what it may be called."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import BaseModel

from pricecast_core.values import JOB_NAME, JOB_NAME_RULE, PIPELINE_NAME, PIPELINE_NAME_RULE
from pricecast_resources.finetunejob import FinetuneJobSpec
from pricecast_resources.pricepipeline import PricePipelineSpec


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of resource.

    Attributes:
        name: What it is called.
        spec: Model of its spec.
        name_pattern: What the names of its resources look like.
        name_rule: The same in words: what to write.
    """

    name: str
    spec: type[BaseModel]
    name_pattern: str
    name_rule: str

    def allows(self, name: object) -> bool:
        """Returns whether a resource can be called so."""
        return isinstance(name, str) and re.fullmatch(self.name_pattern, name) is not None


KINDS = {
    kind.name: kind
    for kind in (
        Kind("PricePipeline", PricePipelineSpec, PIPELINE_NAME, PIPELINE_NAME_RULE),
        Kind("FinetuneJob", FinetuneJobSpec, JOB_NAME, JOB_NAME_RULE),
    )
}
