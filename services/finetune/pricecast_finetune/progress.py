"""How far the job is: a file beside the checkpoints, metrics, `/readyz`, and at the end the termination message.

One record says it all; the operator puts it into the FinetuneJob's status. The file is
replaced whole: whoever reads it never sees a half.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Literal

import msgspec

from pricecast_core import metrics
from pricecast_core.news.evaluation import Scores

FILE = "progress.json"
MAX_TERMINATION_BYTES = 4_096
"""What Kubernetes keeps of a termination message."""

Phase = Literal[
    "Loading", "EvaluatingBase", "Training", "Merging", "EvaluatingTuned", "Publishing", "Complete", "Failed"
]


class Brief(msgspec.Struct, frozen=True):
    """Scores as the status shows them."""

    f1: float
    exact_match: float
    valid: float

    @classmethod
    def of(cls, scores: Scores) -> Brief:
        """Returns the brief of scores."""
        return cls(scores.f1, scores.exact_match, scores.valid)


class Record(msgspec.Struct, omit_defaults=True):
    """State of the job."""

    phase: Phase
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    eta_seconds: int | None = None
    tokens_per_second: float | None = None
    before: Brief | None = None
    after: Brief | None = None
    baseline: Brief | None = None
    published_model: str | None = None
    published_repository: str | None = None
    reason: str = ""
    message: str = ""
    error: str = ""


class Progress:
    """Keeps the record and tells it.

    Args:
        job: Name of the job, for metrics.
        folder: Where the file is kept.
        termination_log: Where Kubernetes reads the last word; skipped where it can't be written.
    """

    def __init__(self, job: str, folder: Path, termination_log: Path) -> None:
        self._job = job
        self._path = folder / FILE
        self._termination_log = termination_log
        self._lock = threading.Lock()
        self.record = Record("Loading")

    def update(self, **changes: object) -> None:
        """Changes fields of the record and writes it."""
        with self._lock:
            for name, value in changes.items():
                setattr(self.record, name, value)
            data = msgspec.json.encode(self.record)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._path.with_suffix(".partial")
            partial.write_bytes(data + b"\n")
            os.replace(partial, self._path)
        self._export()

    def as_dict(self) -> object:
        """Returns the record for `/readyz`."""
        with self._lock:
            return msgspec.to_builtins(self.record)

    def finish(self, phase: Literal["Complete", "Failed"], reason: str, message: str) -> None:
        """Writes the result, for people, for the operator and for the job that comes after.

        Args:
            phase: How it ended.
            reason: One word, as conditions have it.
            message: A sentence.
        """
        said = {"message" if phase == "Complete" else "error": message[:2_000]}
        self.update(phase=phase, reason=reason, eta_seconds=None, **said)
        if self._termination_log.exists() and os.access(self._termination_log, os.W_OK):
            self._termination_log.write_bytes(msgspec.json.encode(self.record)[:MAX_TERMINATION_BYTES])

    def _export(self) -> None:
        record = self.record
        for gauge, value in (
            (metrics.FINETUNE_STEP, record.step),
            (metrics.FINETUNE_TOTAL_STEPS, record.total_steps),
            (metrics.FINETUNE_LOSS, record.loss),
            (metrics.FINETUNE_ETA_SECONDS, record.eta_seconds),
            (metrics.FINETUNE_TOKENS_PER_SECOND, record.tokens_per_second),
        ):
            if value is not None:
                gauge.labels(self._job).set(value)
        for reader, scores in (("base", record.before), ("tuned", record.after), ("lexicon", record.baseline)):
            if scores is not None:
                metrics.FINETUNE_F1.labels(self._job, reader).set(scores.f1)


class Clock:
    """Estimates the time left from the steps of this run: those before a resume took another machine's time."""

    def __init__(self, step: int) -> None:
        self._first = step
        self._started = time.monotonic()

    def eta(self, step: int, total: int) -> int | None:
        """Returns the seconds left, or None before the first step."""
        done = step - self._first
        return round((time.monotonic() - self._started) / done * (total - step)) if done > 0 else None

    def per_second(self, amount: float) -> float | None:
        """Returns an amount per second since the start of this run."""
        elapsed = time.monotonic() - self._started
        return round(amount / elapsed, 1) if elapsed > 0 and amount > 0 else None
