"""`pricecast arena`: every model kind on a person's own bars, under one scorer."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(arena)


def arena(
    bars: Annotated[list[Path], typer.Argument(help="Kraken OHLCVT CSV; several of one candle length are a pool.")],
    horizons: Annotated[
        str,
        typer.Option(help="Horizons in seconds, comma separated; 300,900,3600 where they are multiples of the candle."),
    ] = "",
    kinds: Annotated[
        str, typer.Option(help="Model kinds, comma separated, the first compared with each; by default all.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON for each file and horizon.")] = False,
    out: Annotated[Path | None, typer.Option(help="File for each row's forecasts: .csv or .parquet.")] = None,
) -> None:
    """Trains every model kind on the first 60% of each file and scores all on the same later rows.

    No services run: the features are those of the candles alone. "ahead" and "behind" are said only where the 95%
    interval of the difference, by a bootstrap of whole days, leaves out zero.
    """
    from pricecast_cli.local.programs import script
    from pricecast_core.errors import SettingsError

    parts, names = ([part.strip() for part in each.split(",") if part.strip()] for each in (horizons, kinds))
    if not all(part.isdecimal() and int(part) for part in parts):
        raise SettingsError(f"--horizons: {horizons!r} can't be read; write seconds such as 300,3600")
    command = [script("price-predictor"), "arena", *map(str, bars)]
    command += ["--horizons", *parts] if parts else []
    command += ["--kinds", *names] if names else []
    command += ["--json"] if as_json else []
    command += ["--out", str(out)] if out is not None else []
    raise typer.Exit(subprocess.run(command, check=False).returncode)
