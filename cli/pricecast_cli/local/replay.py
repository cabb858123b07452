"""Files in place of an exchange: what they hold, and the spec that reads them.

`plan` is pure and can't look into files, so the format is settled here: bars are closed candles already, and a
pipeline that replays them has no candles service.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pricecast_core.errors import SettingsError
from pricecast_resources.pricepipeline import PricePipelineSpec, ReplaySource, Source

Format = Literal["trades", "bars"]
_COLUMNS: dict[int, Format] = {3: "trades", 7: "bars"}
_EXPECTED = (
    "Kraken's trades (timestamp,price,volume) have 3 columns, its OHLCVT bars "
    "(timestamp,open,high,low,close,volume,trades) have 7"
)


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
    replay = ReplaySource(files=[str(file) for file in files], format=common_format(files), speed=speed)
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


def common_format(files: Sequence[Path]) -> Format:
    """Returns what all the files hold.

    Raises:
        SettingsError: If they can't be read or hold different things.
    """
    formats = {file: format_of(file) for file in files}
    if len(set(formats.values())) > 1:
        listed = ", ".join(f"{file}: {kind}" for file, kind in formats.items())
        raise SettingsError(f"replay: the files hold different things ({listed}); give trades alone or bars alone")
    return next(iter(formats.values()))


def format_of(file: Path) -> Format:
    """Returns what a file holds, by its number of columns.

    Raises:
        SettingsError: If it can't be read or is neither.
    """
    try:
        with file.open(newline="") as lines:
            row = next((row for row in csv.reader(lines) if row), None)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise SettingsError(f"replay: {file}: can't be read: {reason}; name a Kraken CSV file") from None
    kind = _COLUMNS.get(len(row)) if row is not None else None
    if kind is None:
        found = f"its first row has {len(row)} columns" if row is not None else "it is empty"
        raise SettingsError(f"replay: {file}: {found}; {_EXPECTED}")
    return kind
