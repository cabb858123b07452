"""`pricecast models`: what is done with trained models by hand."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from pricecast_cli.commands.options import ManifestArgument
from pricecast_core.errors import SettingsError, StoreError

app = typer.Typer(help="Trained models and their registries.", no_args_is_help=True)


@app.callback()
def models() -> None:
    """Trained models and their registries."""


@app.command()
def copy(
    manifest: ManifestArgument,
    source: Annotated[
        str,
        typer.Option(
            "--from", help="Registry copied from: sqlite:///FILE, postgresql://..., comet://WORKSPACE/PROJECT."
        ),
    ],
    target: Annotated[str, typer.Option("--to", help="Registry copied to, likewise.")],
    pipeline: Annotated[str, typer.Option(help="In a cluster NAMESPACE.NAME; by default the manifest's name.")] = "",
) -> None:
    """Copies a pipeline's models, their reports and which serve to another registry, and compares them there.

    Begun again, it goes on where it stopped. Comet's key is in COMET_API_KEY, its address in COMET_URL.
    """
    from pricecast_cli.commands.places import model_registry
    from pricecast_core.stores.copying import copy_model
    from pricecast_core.stores.models import model_name
    from pricecast_core.values import slug
    from pricecast_resources.manifest import load_manifest

    found = load_manifest(manifest)
    names = [
        model_name(pipeline or found.name, slug(pair), horizon)
        for pair in found.spec.pairs
        for horizon in found.spec.prediction.horizons_seconds
    ]
    with (
        contextlib.closing(model_registry(source)) as origin,
        contextlib.closing(model_registry(target)) as destination,
    ):
        for name in names:
            typer.echo(f"{name}: {copy_model(name, origin, destination)} versions, the same in both")


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
    from pricecast_cli.commands.places import api_key
    from pricecast_core.stores.client_errors import without
    from pricecast_core.stores.models_comet_offline import upload as send

    key = api_key("COMET_API_KEY")
    archives = sorted(folder.glob("*.zip"))
    if not archives:
        raise SettingsError(f"FOLDER: {folder}: has no archives; name COMET_ARCHIVE_DIR of the training")
    for number, archive in enumerate(archives):
        try:
            taken = send(url, key, archive)
        except Exception as error:
            raise StoreError(
                f"{archive}: can't be sent: {without(key, error)}; check the key and {url}. {number} of {len(archives)} are sent"
            ) from None
        archive.rename(archive.with_suffix(".sent"))
        typer.echo(f"{archive.name}: {'sent' if taken else 'Comet has it already'}")
