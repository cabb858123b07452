"""Comet without a key: each run is an archive that `pricecast models upload` sends later; models are kept in SQL."""

from __future__ import annotations

from pathlib import Path

from pricecast_core.stores.models import ModelVersion, TrainingRun
from pricecast_core.stores.models_comet import client, log_run
from pricecast_core.stores.models_sql import SqlModelRegistry


class ArchivingModelRegistry(SqlModelRegistry):
    """A `ModelRegistry` in SQL that keeps an archive of each run for Comet.

    Args:
        url: SQLAlchemy URL of the database.
        comet_url: Address of Comet.
        project: Project that the experiments will be in.
        folder: Where archives are kept.
    """

    def __init__(self, url: str, comet_url: str, project: str, folder: Path) -> None:
        super().__init__(url)
        self._comet = client(comet_url)
        self._project = project
        self._folder = folder

    def register(self, run: TrainingRun) -> ModelVersion:
        """Stores the run and its model as the next version, and archives it."""
        version = super().register(run)
        self._folder.mkdir(parents=True, exist_ok=True)
        place = {"project": self._project, "folder": str(self._folder), "version": f"{version.version}.0.0"}
        log_run(self._comet, run, version.created_at_ms, api_key=None, **place)
        return version


def upload(comet_url: str, api_key: str, archive: Path) -> bool:
    """Sends an archive to Comet; returns whether it took it: one that it has already is not taken twice."""
    offline = client(comet_url).offline
    return bool(offline.upload_single_offline_experiment(str(archive), api_key, force_upload=False))
