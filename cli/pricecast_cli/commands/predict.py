"""`pricecast predict PAIR`: the latest forecast, from the pipeline's own store or from a prediction API."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Annotated, Any

import typer

from pricecast_cli.commands.options import TOKEN_VARIABLE, DataDirOption, PipelineOption, api_at, find_folder
from pricecast_core.errors import StoreError
from pricecast_core.values import read_pair

_TIMEOUT_SECONDS = 10.0


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(predict)


def predict(
    pair: Annotated[str, typer.Argument(help="Trading pair: BTC/USD.")],
    address: Annotated[
        str, typer.Option(help="http://HOST:PORT of a prediction API, in a cluster for instance; else the local store.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON for each horizon.")] = False,
    data_dir: DataDirOption = None,
    pipeline: PipelineOption = "",
) -> None:
    """Shows the latest prediction of a pair, for each horizon.

    Where the API at --address asks for a token, PRICECAST_TOKEN holds it.
    """
    name = read_pair(pair)
    if address:
        typer.echo(json.dumps(_ask(address, name, pipeline), indent=None if as_json else 2))
        return

    from pricecast_cli.local.scores import Scores
    from pricecast_cli.local.words import describe
    from pricecast_core.messages import encode
    from pricecast_core.stores.predictions_sql import SqlPredictionStore

    folder = find_folder(data_dir, pipeline)
    store = SqlPredictionStore(folder.database("predictions"))
    store.ensure()
    scores = Scores(store, folder.read_state().get("pipeline", folder.path.name))
    scores.refresh()
    store.close()
    found = [prediction for prediction in scores.latest if prediction.pair == name]
    if not found:
        known = ", ".join(sorted({prediction.pair for prediction in scores.latest})) or "none yet"
        raise StoreError(f"pair: {name} has no prediction; there are predictions of: {known}")
    for prediction in found:
        text = encode(prediction).decode() if as_json else describe(prediction, scores.score(prediction), time.time())
        typer.echo(text)


def _ask(address: str, pair: str, pipeline: str) -> Any:
    url = f"{api_at(address)}/v1/pairs/{urllib.parse.quote(pair)}/prediction"
    if pipeline:
        url += f"?pipeline={urllib.parse.quote(pipeline)}"
    token = os.environ.get(TOKEN_VARIABLE, "")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        # The request reads the address, so a malformed one fails here, too.
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s) alone
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise StoreError(f"{url}: {error.code}: {error.read().decode(errors='replace')}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise StoreError(f"address: {address} can't be reached: {error}") from None
