"""What a pod says of itself at `/readyz`: what it lacks, and facts."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_SECONDS = 2.0
_LONGEST_PROBLEM = 1_000


@dataclass(frozen=True, slots=True)
class Told:
    """An answer of a pod; an empty one if it gave none.

    Attributes:
        problem: What it lacks, for people.
        info: Facts.
    """

    problem: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)


def told_by(address: str, port: int) -> Told:
    """Returns what the pod at an address says."""
    try:
        with urllib.request.urlopen(f"http://{address}:{port}/readyz", timeout=TIMEOUT_SECONDS) as answer:
            body = json.load(answer)
    except urllib.error.HTTPError as error:  # not ready
        try:
            body = json.load(error)
        except ValueError:
            return Told()
    except (OSError, ValueError):
        return Told()
    if not isinstance(body, dict):
        return Told()
    info, problems = body.get("info"), body.get("problems")
    said = "; ".join(f"{name}: {text}" for name, text in problems.items()) if isinstance(problems, dict) else ""
    return Told(said[:_LONGEST_PROBLEM], info if isinstance(info, dict) else {})
