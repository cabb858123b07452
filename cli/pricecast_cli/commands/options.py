"""Arguments that several commands share, and how a running pipeline is found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pricecast_cli.local.folder import ROOT, DataFolder, known_folders
from pricecast_core.errors import SettingsError

ManifestArgument = Annotated[Path, typer.Argument(help="File with a PricePipeline.", show_default=False)]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Folder of the pipeline's data; .pricecast/NAME by default, .pricecast/NAME-replay for a replay.",
    ),
]
PipelineOption = Annotated[
    str,
    typer.Option(
        "--pipeline", "-p", help="Name of the pipeline, in a cluster NAMESPACE.NAME; needed where several are up."
    ),
]


TOKEN_VARIABLE = "PRICECAST_TOKEN"  # noqa: S105 (a name)
"""The variable that holds the token of a prediction API that asks for one."""


def api_at(address: str) -> str:
    """Returns the base URL of a prediction API; HOST:PORT alone is plain HTTP."""
    return (address if address.startswith(("http://", "https://")) else f"http://{address}").rstrip("/")


def folder_of(name: str, data_dir: Path | None) -> DataFolder:
    """Returns the data folder of a pipeline."""
    return DataFolder(data_dir or ROOT / name)


def find_folder(data_dir: Path | None, pipeline: str) -> DataFolder:
    """Returns the folder that is meant: the one named, else the one pipeline that is up, else the only one there is.

    Raises:
        SettingsError: If there is none, or more than one.
    """
    if data_dir is not None or pipeline:
        folder = folder_of(pipeline, data_dir)
        if not folder.state_file.exists():
            raise SettingsError(f"data folder: no pipeline was started from {folder.path}; see `pricecast up --help`")
        return folder
    known = known_folders()
    running = [folder for folder in known if folder.supervisor() is not None]
    candidates = running or known
    if not candidates:
        raise SettingsError(f"no pipeline was started from {ROOT.absolute()}; start one with `pricecast up MANIFEST`")
    if len(candidates) > 1:
        names = ", ".join(folder.path.name for folder in candidates)
        raise SettingsError(f"pipeline: there are several ({names}); name one with --pipeline")
    return candidates[0]
