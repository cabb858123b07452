"""What the operator remembers of one PricePipeline between two rounds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pricecast_operator.cluster.objects import Wanted
from pricecast_operator.controllers.resources import Known
from pricecast_operator.observe.kafka import TopicPlan
from pricecast_operator.observe.observed import Observed
from pricecast_operator.status.causes import Cause
from pricecast_resources.plan import Plan
from pricecast_resources.pricepipeline import PricePipelineSpec

KIND = "PricePipeline"


@dataclass(slots=True)
class KnownPipeline(Known):
    """What is remembered of one pipeline.

    Attributes:
        observed: What was seen outside of the API server.
        spec: Its spec as the last round read it.
        plan: Its plan; None before the first round.
        planned_for: What the plan follows from.
        secrets: Names of the Secrets that it uses.
        rendered_for: What `wanted` was rendered for.
        wanted: Its objects as they should be.
        topics_ensured: The topics that were made, if they were.
        topics_made: The task that makes topics, while it does.
        topics_again: When making topics may be tried again.
        silent: Since when Jobs and pods wait without saying for what, by uid.
        warned: What events say of those.
        status_written: When its status was written last.
    """

    observed: Observed = field(default_factory=Observed)
    spec: PricePipelineSpec | None = None
    plan: Plan | None = None
    planned_for: Any = None
    secrets: frozenset[str] = frozenset()
    rendered_for: Any = None
    wanted: Sequence[Wanted] = ()
    topics_ensured: TopicPlan | None = None
    topics_made: asyncio.Task[None] | None = None
    topics_again: float = 0.0
    silent: dict[str, float] = field(default_factory=dict)
    warned: dict[str, Cause] = field(default_factory=dict)
    status_written: float = float("-inf")
