"""A caller that has shown who it is, and what it may see."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

EVERY_PIPELINE = ("*",)


@dataclass(frozen=True, slots=True)
class Caller:
    """Someone who calls the API.

    Attributes:
        name: Name in logs; it also shares one rate limit.
        pipelines: Patterns of the pipelines whose predictions it may see: `btc`, `team-a.*`, `*`.
        requests_per_second: Rate limit; 0 sets none.
    """

    name: str
    pipelines: tuple[str, ...] = EVERY_PIPELINE
    requests_per_second: float = 0

    @property
    def sees_all(self) -> bool:
        """Whether no pipeline is hidden from it."""
        return "*" in self.pipelines

    def may_see(self, pipeline: str) -> bool:
        """Returns whether it may see a pipeline's predictions."""
        return any(fnmatchcase(pipeline, pattern) for pattern in self.pipelines)


ANYONE = Caller("anonymous")
"""Every caller of an API that asks for no token."""
