"""`pricecast backtest`: how well would the pipeline have done?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pricecast_cli.commands.options import ManifestArgument
from pricecast_cli.local.folder import ROOT
from pricecast_core.errors import SettingsError


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(backtest)


def backtest(
    manifest: ManifestArgument,
    evaluate: Annotated[
        list[Path],
        typer.Option(help="Later file to measure on, of the same kind; one for each pair.", show_default=False),
    ],
    bars: Annotated[
        list[Path] | None,
        typer.Option(
            help="Kraken OHLCVT CSV to train on; repeat it: one for each pair in their order, companions last."
        ),
    ] = None,
    trades: Annotated[list[Path] | None, typer.Option(help="The same, of Kraken's trades CSV.")] = None,
    news: Annotated[
        Path | None,
        typer.Option(
            help="Archive of headlines with their times (.csv, .jsonl, .zip, .rar): is skill better with them?"
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Exactly one line of JSON on standard output; all else on standard error.")
    ] = False,
    plots: Annotated[
        Path | None, typer.Option(help="Folder for pages with plots; .pricecast/backtests/NAME unless --json is given.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File for each row's forecasts: .csv or .parquet.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="New folder for stores and logs; a temporary one by default.")
    ] = None,
) -> None:
    """Trains on one file and measures on a later one, against the naive forecasts.

    The files go through the pipeline's own services, so the features are those that a live pipeline would have had.
    With --news a second model is trained without them and judged on the same rows; the 95% interval of the difference
    comes from a bootstrap of whole days. Without --news there are no news at all.
    """
    from pricecast_cli.local.backtest import Output
    from pricecast_cli.local.backtest import backtest as run
    from pricecast_core.files import common_kind, survey
    from pricecast_resources.manifest import load_manifest

    if bool(bars) == bool(trades):
        raise SettingsError("--bars, --trades: give one of them, the file to train on")
    train = bars or trades or []
    found = common_kind([survey(file) for file in (*train, *evaluate)])
    if found != ("bars" if bars else "trades"):
        raise SettingsError(f"--{'bars' if bars else 'trades'}: the files hold {found}; give them with --{found}")
    loaded = load_manifest(manifest)
    if plots is None and not as_json:
        plots = ROOT / "backtests" / loaded.name
    output = Output(as_json, plots, out)
    code = run(loaded, train, evaluate, news=news, data_dir=data_dir, output=output, console=Console(stderr=True))
    raise typer.Exit(code)
