"""`pricecast operator ...`: the Kubernetes operator."""

from __future__ import annotations

import typer

app = typer.Typer(help="The Kubernetes operator.", no_args_is_help=True)


@app.callback()
def operator() -> None:
    """The Kubernetes operator."""
