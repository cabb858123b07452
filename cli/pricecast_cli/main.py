"""The `pricecast` command. Each module holds the commands of one concern; what is heavy is imported when it is used."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import NoReturn

import typer
from rich.console import Console

from pricecast_cli.commands import (
    arena,
    backtest,
    doctor,
    features,
    mcp,
    models,
    news,
    predict,
    report,
    run,
    token,
    topics,
)
from pricecast_core.errors import PricecastError, SettingsError
from pricecast_core.service import EX_CONFIG, EX_FAILED


def show_version(wanted: bool) -> None:
    """Prints the version where it is asked for."""
    if wanted:
        typer.echo(metadata.version("pricecast-cli"))
        raise typer.Exit


app = typer.Typer(
    name="pricecast",
    help="Real-time crypto price prediction, declared as one PricePipeline.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", help="Shows the version and ends.", is_eager=True, callback=show_version
    ),
) -> None:
    """Options of the command itself."""


for module in (run, doctor, predict, report, backtest, arena, token, topics, mcp):
    module.register(app)
app.add_typer(features.app, name="features")
app.add_typer(models.app, name="models")
app.add_typer(news.app, name="news")


def main() -> None:
    """Runs the command line; errors that a person can act on are one red message, not a traceback."""
    try:
        app()
    except PricecastError as error:
        _fail(str(error), EX_CONFIG if isinstance(error, SettingsError) else EX_FAILED)
    except OSError as error:  # of a file that a person named: another one's place or right is missing
        if error.filename is None:
            raise
        _fail(f"{error.filename}: {error.strerror}; name another file or folder, or give the right to it", EX_CONFIG)


def _fail(message: str, code: int) -> NoReturn:
    Console(stderr=True).print(message, style="bold red", highlight=False, markup=False, soft_wrap=True)
    sys.exit(code)
