"""`pricecast news ...`: judges and labels by the news-signal service's own commands."""

from __future__ import annotations

import os
import sys

import typer

from pricecast_core.errors import SettingsError

app = typer.Typer(help="Measure news readers and label headlines.", no_args_is_help=True)
_PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


@app.command(context_settings=_PASSED_ON)
def evaluate(context: typer.Context) -> None:
    """Measures a news reader on labelled headlines."""
    _become("evaluate", context.args)


@app.command(context_settings=_PASSED_ON)
def label(context: typer.Context) -> None:
    """Labels headlines with a teacher model."""
    _become("label", context.args)


@app.command(context_settings=_PASSED_ON)
def agree(context: typer.Context) -> None:
    """Measures how far two teachers agree on headlines."""
    _become("agree", context.args)


@app.command(context_settings=_PASSED_ON)
def train(context: typer.Context) -> None:
    """Trains the encoder's head on labelled headlines."""
    _become("train", context.args)


def _become(command: str, args: list[str]) -> None:
    from pricecast_cli.local.programs import script

    path = script("news-signal")
    sys.stdout.flush()
    try:
        os.execv(path, [path, command, *args])  # noqa: S606 - no shell is wanted
    except OSError:
        raise SettingsError(f"{path}: is not installed; run uv sync --all-packages") from None
