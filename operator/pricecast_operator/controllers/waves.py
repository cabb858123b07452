"""How a new version of the images reaches the pipelines: some at a time, and no further once one of them fails.

Which images a pipeline runs is kept in its status, so that an operator that restarts goes on where the last one was.
Those that wait keep the images that they have.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pricecast_operator.status.conditions import Finding

Name = tuple[str, str]
UPGRADED = "Upgraded"
_FAILED, _RUNS, _WAITS = "UpgradeFailed", "Upgrading", "UpgradeWaits"


class Waves:
    """Pipelines that are being moved to the operator's images.

    Args:
        at_once: How many at a time.
        seconds: How long one may take to become Ready.
        patience: How long a cause that time alone doesn't mend must last: a pod that merely starts may fail once.
    """

    def __init__(self, at_once: int, seconds: float = 600.0, patience: float = 60.0) -> None:
        self._at_once = at_once
        self._seconds = seconds
        self._patience = patience
        self._ailing: dict[Name, float] = {}
        self._running: dict[Name, float] = {}
        self._failed: dict[Name, str] = {}
        self._waiting: set[Name] = set()

    def images(self, name: Name, status: Mapping[str, Any], target: str) -> str:
        """Returns the images that a pipeline is to run now: the operator's, or those it has while it waits.

        Args:
            name: The pipeline.
            status: Its status so far.
            target: The operator's images.
        """
        held = str(status.get("images") or target)
        told = _condition(status, UPGRADED)
        if held == target:
            if name not in self._running and name not in self._failed and told.get("status") == "False":
                self._restore(name, told)  # of before our own restart
            self._waiting.discard(name)
            return target
        if _condition(status, "Ready").get("status") != "True":
            self._waiting.discard(name)
            return target  # it has nothing to lose, and says nothing about the images
        if self._failed or self._ailing or len(self._running) >= self._at_once:
            self._waiting.add(name)
            return held
        self._waiting.discard(name)
        self._running[name] = time.monotonic() + self._seconds
        return target

    def finding(self, name: Name, status: Mapping[str, Any]) -> Finding | None:
        """Takes note of how an upgrade goes on; returns what to tell of it, None where there is nothing."""
        if name in self._waiting:
            failed = next(iter(self._failed), None)
            why = f"{failed[0]}/{failed[1]} has failed on the new images" if failed else "others are upgraded first"
            return Finding(UPGRADED, "False", _WAITS, f"keeps its images: {why}")
        if name not in self._running and name not in self._failed:
            return None
        ready, settled = _condition(status, "Ready"), _condition(status, "Progressing").get("status") == "False"
        degraded = _condition(status, "Degraded")
        if ready.get("status") == "True" and settled and degraded.get("status") != "True":
            self.forget(name)
            return Finding(UPGRADED, "True", "UpToDate", "runs the operator's images")
        late = time.monotonic() > self._running.get(name, 0.0)
        if name in self._failed or late or self._ails(name, degraded):
            self._running.pop(name, None)
            why = str((degraded if degraded.get("status") == "True" else ready).get("message") or "")
            self._failed[name] = why
            return Finding(UPGRADED, "False", _FAILED, f"is not Ready on the new images, others wait: {why}"[:1_000])
        return Finding(UPGRADED, "False", _RUNS, "is being moved to the operator's images")

    def _ails(self, name: Name, degraded: Mapping[str, Any]) -> bool:
        """Returns whether a pipeline has had for a while what time alone doesn't mend."""
        if degraded.get("status") != "True" or degraded.get("reason") not in _FATAL:
            self._ailing.pop(name, None)
            return False
        now = time.monotonic()
        return degraded["reason"] == _STUCK or now - self._ailing.setdefault(name, now) >= self._patience

    def waits(self, name: Name) -> bool:
        """Returns whether a pipeline keeps what it has until its turn comes."""
        return name in self._waiting

    def waiting(self) -> list[Name]:
        """Returns those whose turn has not come."""
        return sorted(self._waiting)

    def next(self) -> list[Name]:
        """Returns those that wait and may go on now: none while one ails, for it may be about to fail."""
        if self._failed or self._ailing:
            return []
        return sorted(self._waiting)[: max(0, self._at_once - len(self._running))]

    def forget(self, name: Name) -> None:
        """Takes note that a pipeline is through with it, or gone."""
        self._running.pop(name, None)
        self._failed.pop(name, None)
        self._ailing.pop(name, None)
        self._waiting.discard(name)

    def _restore(self, name: Name, told: Mapping[str, Any]) -> None:
        if told.get("reason") == _FAILED:
            self._failed[name] = str(told.get("message"))
        elif told.get("reason") == _RUNS:
            self._running[name] = time.monotonic() + self._seconds


_STUCK = "RolloutStuck"
"""Kubernetes itself has waited ten minutes for the rollout to go on."""
_FATAL = ("ImagePullFailed", "InvalidImageName", "Misconfigured", "CrashLoop", "OutOfMemory", _STUCK)
"""Causes that time alone doesn't mend, and that new images may bring."""


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((each for each in status.get("conditions", ()) if each["type"] == kind), {})
