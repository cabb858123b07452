from __future__ import annotations

from pathlib import Path

import yaml

from pricecast_resources.finetunejob import FinetuneJobSpec

MANIFEST = Path(__file__).parents[3] / "manifests" / "finetune-news.yaml"


def test_the_projects_own_job_is_valid() -> None:
    manifest = yaml.safe_load(MANIFEST.read_text())
    spec = FinetuneJobSpec.model_validate(manifest["spec"])
    assert (spec.lora.rank, spec.lora.alpha, spec.trainer.learning_rate, spec.trainer.load_in_4bit) == (
        16,
        16,
        2e-4,
        True,
    )
    assert spec.gpu.count == 1
