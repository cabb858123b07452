"""Conditions in Kubernetes' conventions: an aspect, whether it holds, since when, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Truth = Literal["True", "False", "Unknown"]
INVALID_SPEC = "InvalidSpec"
"""Reason of a resource that can't be acted on; the API server's own checks let few of them through."""
FAULT = "ReconcileFailed"
"""Reason of a resource whose round failed in a way that nobody foresaw."""
_BAD_WHEN_TRUE = ("Degraded", "Failed", "FeaturesDrifting", "ModelRolledBack")
_CAUSED = ("Ready", "Degraded", "ModelPinned", "BeatsNaive", "InDistribution")
_ORDINARY = ("ServicesNotReady", "Suspended", "WaitsForDeletion", "OtherVersionServes")
"""Reasons that are nobody's fault: of a start, or as asked for."""
NOT_SEEN_YET = "NotSeenYet"
"""Reason where nobody has looked since the operator's start."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one aspect.

    Attributes:
        type: The aspect, such as Ready.
        status: Whether it holds.
        reason: Why, as one word.
        message: Why, for people.
    """

    type: str
    status: Truth
    reason: str
    message: str

    @property
    def holds(self) -> bool:
        """Whether the aspect is true."""
        return self.status == "True"


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a reconcile, as the status that it writes needs to know it.

    Attributes:
        generation: Generation of the spec that is acted on.
        previous: The status so far.
        now: The time, RFC 3339.
    """

    generation: int
    previous: Mapping[str, Any]
    now: str

    def conditions(self, findings: Iterable[Finding]) -> list[dict[str, Any]]:
        """Returns the conditions for the status."""
        return merge(self.previous.get("conditions", []), findings, self.generation, self.now)

    def remembered(self, finding: Finding) -> Finding:
        """Returns a finding, or where nobody has looked yet what was told before: our restart turns no condition."""
        return (self.told(finding.type) or finding) if finding.reason == NOT_SEEN_YET else finding

    def told(self, kind: str) -> Finding | None:
        """Returns what was told of an aspect before."""
        told = next((each for each in self.previous.get("conditions", []) if each["type"] == kind), None)
        return None if told is None else Finding(kind, told["status"], told["reason"], told["message"])


def merge(
    previous: Iterable[Mapping[str, Any]], findings: Iterable[Finding], generation: int, now: str
) -> list[dict[str, Any]]:
    """Returns the conditions for a status: the time of transition changes only with the truth of the aspect."""
    known = {condition["type"]: condition for condition in previous}
    return [
        {
            "type": finding.type,
            "status": finding.status,
            "observedGeneration": generation,
            "lastTransitionTime": known[finding.type]["lastTransitionTime"]
            if finding.type in known and known[finding.type]["status"] == finding.status
            else now,
            "reason": finding.reason,
            "message": finding.message,
        }
        for finding in findings
    ]


def transitions(previous: Sequence[Mapping[str, Any]], current: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns the conditions that turned, for events: another truth, or another cause of what is not as it should be.

    The first sight of one that is merely false yet is no turn, nor is what nobody knows.
    """
    known = {condition["type"]: condition for condition in previous}
    return [
        condition
        for condition in current
        if condition["status"] != "Unknown" and _turned(known.get(condition["type"]), condition)
    ]


def _turned(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> bool:
    # Some are false for several reasons, one after the other, or true for several: each cause is told.
    caused = now["type"] in _CAUSED and is_bad(now) and now["reason"] not in _ORDINARY
    if before is None:
        return bool(now["status"] == "True" or caused)
    return bool(now["status"] != before["status"] or (caused and now["reason"] != before["reason"]))


def is_bad(condition: Mapping[str, Any]) -> bool:
    """Returns whether a condition tells of trouble: most are good when true."""
    return bool((condition["status"] == "True") == (condition["type"] in _BAD_WHEN_TRUE))


def truth(value: bool) -> Truth:
    """Returns a boolean as conditions spell it."""
    return "True" if value else "False"
