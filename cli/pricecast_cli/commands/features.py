"""`pricecast features`: what is done with feature stores by hand."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

app = typer.Typer(help="Feature stores.", no_args_is_help=True)
FromOption = Annotated[
    str,
    typer.Option(
        "--from",
        help="Store copied from: sqlite:///FILE, postgresql://..., hopsworks://HOST[:PORT]/PROJECT.",
        show_default=False,
    ),
]
ToOption = Annotated[str, typer.Option("--to", help="Store copied to, likewise.", show_default=False)]


@app.callback()
def features() -> None:
    """Feature stores."""


@app.command()
def copy(
    pipeline: Annotated[str, typer.Argument(help="Name of the pipeline, in a cluster NAMESPACE.NAME.")],
    source: FromOption,
    target: ToOption,
) -> None:
    """Copies a pipeline's features to another store, and compares them there.

    Begun again, it goes on where it stopped. Hopsworks' key is in HOPSWORKS_API_KEY, its authority's PEM in HOPSWORKS_CA.
    """
    from pricecast_cli.commands.places import feature_store
    from pricecast_core.errors import SettingsError
    from pricecast_core.stores.copying import copy_group, groups_of

    with contextlib.closing(feature_store(source)) as origin, contextlib.closing(feature_store(target)) as destination:
        groups = groups_of(origin, pipeline)
        if not groups:
            raise SettingsError(f"PIPELINE: {pipeline}: has no features in the store copied from; check the name")
        for group in groups:
            for entity, rows in copy_group(group, origin, destination):
                typer.echo(f"{group.name}: {entity}: {rows:,} rows, the same in both")
