"""Comet: parameters, losses and scores of a run; without a key an offline archive that can be uploaded later."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pricecast_core.news.evaluation import Scores
from pricecast_core.settings import FinetuneSettings
from pricecast_finetune.source import require


class Tracking:
    """A run in Comet, or nothing at all where it isn't asked for.

    Args:
        settings: Project, key, and where an offline archive goes. Must be made before torch is imported.
    """

    def __init__(self, settings: FinetuneSettings) -> None:
        self._experiment: Any = None
        if not settings.comet:
            return
        key = settings.comet_api_key.get_secret_value() if settings.comet_api_key else None
        folder = settings.output_dir / "comet"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["COMET_OFFLINE_DIRECTORY"] = str(folder)
        os.environ["COMET_START_ONLINE"] = "1" if key else "0"
        os.environ.setdefault("COMET_INTERNAL_SENTRY_DSN", "")  # its own error reports go to a third party
        os.environ.setdefault("COMET_DISPLAY_SUMMARY_LEVEL", "0")  # our logs are JSON
        os.environ["COMET_PROJECT_NAME"] = settings.comet_project
        if settings.comet_workspace:
            os.environ["COMET_WORKSPACE"] = settings.comet_workspace
        comet = require("comet_ml", "comet")
        self._experiment = comet.start(
            api_key=key,
            project_name=settings.comet_project,
            workspace=settings.comet_workspace or None,
            online=key is not None,
            experiment_config=comet.ExperimentConfig(name=settings.pipeline, log_code=False, log_git_metadata=False),
        )
        self._experiment.log_parameters(settings.model_dump(mode="json", exclude={"comet_api_key", "hub_token"}))

    def scores(self, scores: Mapping[str, Scores]) -> None:
        """Logs what each reader reached."""
        if self._experiment is not None:
            for reader, score in scores.items():
                self._experiment.log_metrics(
                    {"f1": score.f1, "exact_match": score.exact_match, "valid": score.valid}, prefix=reader
                )

    def published(self, name: str) -> None:
        """Logs the published model's name."""
        if self._experiment is not None:
            self._experiment.log_other("published_model", name)

    def end(self) -> None:
        """Sends or archives what was logged."""
        if self._experiment is not None:
            self._experiment.end()
