"""`pricecast models`: what is done with trained models by hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from pricecast_core.errors import SettingsError, StoreError

app = typer.Typer(help="Trained models and their registries.", no_args_is_help=True)


@app.callback()
def models() -> None:
    """Trained models and their registries."""


@app.command()
def upload(
    folder: Annotated[Path, typer.Argument(help="Folder of archives: COMET_ARCHIVE_DIR of the training.")] = Path(
        ".pricecast/comet"
    ),
    url: Annotated[str, typer.Option(help="Address of Comet.")] = "https://www.comet.com",
) -> None:
    """Sends the runs that were archived without a key to Comet, with the key in COMET_API_KEY.

    An archive that was sent gets the ending .sent, so that sending again goes on where it stopped.
    """
    from pricecast_core.stores.models_comet_offline import upload as send

    key = os.environ.get("COMET_API_KEY", "")
    if not key:
        raise SettingsError("COMET_API_KEY: is not set; set it to an API key of Comet")
    archives = sorted(folder.glob("*.zip"))
    if not archives:
        raise SettingsError(f"FOLDER: {folder}: has no archives; name COMET_ARCHIVE_DIR of the training")
    for number, archive in enumerate(archives):
        try:
            taken = send(url, key, archive)
        except Exception as error:
            words = " ".join(str(error).split())[:300].replace(key, "***")
            raise StoreError(
                f"{archive}: can't be sent: {words}; check the key and {url}. {number} of {len(archives)} are sent"
            ) from None
        archive.rename(archive.with_suffix(".sent"))
        typer.echo(f"{archive.name}: {'sent' if taken else 'Comet has it already'}")
