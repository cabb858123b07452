"""`pricecast operator ...`: the Kubernetes operator."""

from __future__ import annotations

import importlib.util

import typer

from pricecast_core.errors import PricecastError

app = typer.Typer(help="The Kubernetes operator.", no_args_is_help=True)


@app.callback()
def operator() -> None:
    """The Kubernetes operator."""


@app.command()
def run() -> None:
    """Runs the operator until SIGTERM, on the cluster of KUBECONFIG or of the pod; settings are environment variables."""
    if importlib.util.find_spec("kopf") is None:
        raise PricecastError("the operator's libraries are not installed: pip install 'pricecast-operator[kubernetes]'")
    from pricecast_operator.main import main

    main()
