"""How a pipeline fares, in words: from its latest predictions and, on a laptop, from what the supervisor tells."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pricecast_core.messages import Prediction
from pricecast_prediction_api.convert import timestamp
from pricecast_prediction_api.gen.pricecast.v1 import history_pb2 as pb

_BROKEN = ("refused", "failed", "restarting")
_COMING = ("waiting", "starting")


def read_processes(file: Path) -> list[pb.ProcessState]:
    """Returns the processes in the supervisor's state file; none while there is none."""
    try:
        programs = json.loads(file.read_bytes())["programs"]
        return [_process(name, program) for name, program in programs.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return []


def pipeline_state(
    pipeline: str, latest: Sequence[Prediction], processes: Sequence[pb.ProcessState], now_ms: int
) -> pb.PipelineState:
    """Returns the state of a pipeline.

    Args:
        pipeline: Its id.
        latest: Its latest prediction of each pair and horizon.
        processes: Its processes, where they can be seen.
        now_ms: The moment.
    """
    problem = _problem(latest, processes, now_ms)
    state = pb.PipelineState(
        pipeline_id=pipeline,
        ready=not problem,
        message=problem,
        pair_count=len({prediction.pair for prediction in latest}),
        simulated=any(prediction.simulated for prediction in latest),
        processes=processes,
    )
    if latest:
        state.feature_time.CopyFrom(timestamp(max(prediction.feature_time_ms for prediction in latest)))
    return state


def _problem(latest: Sequence[Prediction], processes: Sequence[pb.ProcessState], now_ms: int) -> str:
    for states in (_BROKEN, _COMING):
        for process in processes:
            if process.state in states:
                why = f": {process.message}" if process.message else ""
                return f"{process.name} is {process.state}{why}"
    waiting = next((f"{process.name}: {process.message}" for process in processes if _waits(process)), "")
    if not latest:
        return f"no forecast has been made yet{f' ({waiting})' if waiting else ''}"
    current = {prediction.pair for prediction in latest if prediction.target_time_ms > now_ms}
    over = sorted({prediction.pair for prediction in latest} - current)
    if not over:
        return ""
    newest = max(prediction.target_time_ms for prediction in latest if prediction.pair in over)
    since = datetime.fromtimestamp(newest / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    which = "every pair" if not current else f"{len(over)} of {len(over) + len(current)} pairs ({over[0]} first)"
    return f"the time of the last forecast of {which} is over since {since}{f' ({waiting})' if waiting else ''}"


def _waits(process: pb.ProcessState) -> bool:
    return process.state == "running" and bool(process.message)


def _process(name: str, program: Mapping[str, Any]) -> pb.ProcessState:
    return pb.ProcessState(
        name=name,
        state=str(program.get("state", "")),
        message=str(program.get("message", "")),
        restarts=int(program.get("restarts", 0)),
        since=timestamp(int(float(program.get("since", 0)) * 1000)),
    )
