"""`pricecast token NAME`: access to a prediction API."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from pricecast_core.access_tokens import TokenFile, create, encode, read
from pricecast_core.errors import SettingsError


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(token)


def token(
    name: Annotated[str, typer.Argument(help="Who will hold it; shown in logs.")],
    file: Annotated[
        Path, typer.Option(help="File of tokens that it is added to: the prediction API's API_TOKENS_FILE.")
    ] = Path("tokens.json"),
    pipelines: Annotated[
        list[str] | None,
        typer.Option(
            "--pipeline", help="Pattern of pipelines that it may see: btc, team-a.*; repeat it. Default: all."
        ),
    ] = None,
    requests_per_second: Annotated[float, typer.Option(min=0, help="Rate limit; 0 sets none.")] = 0,
    days: Annotated[int, typer.Option(min=0, max=3650, help="Days until it expires; 0: never.")] = 0,
) -> None:
    """Makes a bearer token, prints it once, and adds its hash to a file.

    An entry of the same name is replaced: its old token is refused from then on.
    """
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days) if days else None
    secret, entry = create(name, pipelines or ["*"], requests_per_second, expires)
    others = [known for known in read(file) if known.name != name] if file.exists() else []
    temporary = file.with_name(file.name + ".new")
    try:
        temporary.write_bytes(encode(TokenFile([*others, entry])))
        temporary.chmod(0o600)
        os.replace(temporary, file)
    except OSError as error:
        raise SettingsError(f"--file: {file}: can't be written: {error.strerror}") from None
    typer.echo(secret)
    typer.echo(f"{name} is in {file}, by its hash; this token is shown only now", err=True)
