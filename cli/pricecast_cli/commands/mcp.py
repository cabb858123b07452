"""`pricecast mcp`: forecasts for an agent, over standard input and output."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from pricecast_cli.commands.options import TOKEN_VARIABLE, DataDirOption, PipelineOption, api_at, find_folder
from pricecast_core.errors import SettingsError


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(mcp)


def mcp(
    address: Annotated[
        str, typer.Option(help="http://HOST:PORT of a prediction API, in a cluster for instance; else what is up here.")
    ] = "",
    data_dir: DataDirOption = None,
    pipeline: PipelineOption = "",
) -> None:
    """Serves forecasts to an agent by the Model Context Protocol, over standard input and output.

    Where the API asks for a token, PRICECAST_TOKEN holds it.
    """
    try:
        from pricecast_agents.server import over_http, server
    except ModuleNotFoundError as error:
        raise SettingsError(f"mcp: {error.name} is not installed; install pricecast-cli[mcp]") from None
    if not address:
        folder = find_folder(data_dir, pipeline)
        address = folder.read_state().get("addresses", {}).get("http", "")
        if folder.supervisor() is None or not address:
            raise SettingsError(f"--address: {folder.path.name} is not up here; run `pricecast up`, or name an API")
    server(over_http(api_at(address), os.environ.get(TOKEN_VARIABLE, ""))).run("stdio")
