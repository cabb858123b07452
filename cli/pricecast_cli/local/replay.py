"""Files in place of an exchange: what they hold, and the spec that reads them.

`plan` is pure and can't look into files, so the format is settled here: bars are closed candles already, and a
pipeline that replays them has no candles service.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pricecast_cli.local.logs import last_event
from pricecast_core.errors import SettingsError
from pricecast_core.files import FILES_READ, common_kind, survey
from pricecast_resources.pricepipeline import PricePipelineSpec
from pricecast_resources.sources import ReplaySource, Source

_LEFT_OUT = {
    "refused": "lines that are no rows or out of order (dead letters)",
    "known": "rows known from an earlier run",
    "unread": "rows older than what was read before, where they are missing",
    "repeated": "rows that are there twice",
    "differing": "of these with other values, where the newer file's count",
}


def replaying(spec: PricePipelineSpec, files: Sequence[Path], speed: float = 0) -> PricePipelineSpec:
    """Returns the spec with files in place of its source.

    Args:
        spec: The pipeline.
        files: Kraken CSV files: one for each of `spec.all_pairs` in their order (the predicted pairs, then their
            companions), or a multiple of that, each round continuing the one before.
        speed: Times real time; 0 is as fast as it goes.

    Raises:
        SettingsError: If the files can't be read, hold different things, or are not enough.
    """
    if len(files) % len(spec.all_pairs):
        raise SettingsError(
            f"replay: {len(files)} files for {len(spec.all_pairs)} pairs; give one for each, "
            f"in this order: {', '.join(spec.all_pairs)}"
        )
    replay = ReplaySource(
        files=[str(file) for file in files], format=common_kind([survey(file) for file in files]), speed=speed
    )
    return spec.model_copy(update={"source": Source(kind="Replay", replay=replay)})


def settled(spec: PricePipelineSpec) -> PricePipelineSpec:
    """Returns the spec with `source.replay.format: auto` replaced by what the files hold.

    Raises:
        SettingsError: If the files can't be read or hold different things.
    """
    replay = spec.source.replay
    if replay is None or replay.format != "auto":
        return spec
    return replaying(spec, [Path(file) for file in replay.files], replay.speed)


def read_files(log: Path, since: int = 0) -> str | None:
    """Returns, from the trades service's log, what became of the files' lines, in words; None before the end."""
    found = last_event(log, FILES_READ, since)
    if found is None:
        return None
    left_out = [f"{found[name]:,} {text}" for name, text in _LEFT_OUT.items() if found.get(name)]
    text = f"{found['rows']:,} rows read" + (f", left out: {', '.join(left_out)}" if left_out else ", none left out")
    if found.get("continued"):
        text += "; they continue what was replayed before"
    if found.get("untold"):
        text += (
            f", {found['untold']} where neither times in common nor prices tell that the market is the same: name the file "
            "for its pair, such as BTCUSD.csv, to be sure"
        )
    if found.get("misnamed"):
        text += f"; {found['misnamed']} of the files named for another pair than it was read for: is it the right one?"
    if found.get("backwards"):
        text += f"; {found['backwards']} of the files with the newest row first, read from their end"
    return text
