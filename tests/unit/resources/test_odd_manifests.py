"""Odd manifests: the verdict of `pricecast validate`, held to the API server's in tests/e2e; what is good can be run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pricecast_resources.manifest import ManifestError, load_resources
from tests.contracts.odd_manifests import ODD, Odd

GOOD = [odd for odd in ODD if not odd.field]


def written(folder: Path, odd: Odd) -> Path:
    file = folder / "odd.yaml"
    file.write_text(json.dumps(odd.manifest()))
    return file


def test_they_are_many() -> None:
    assert len(ODD) - len(GOOD) >= 200
    assert len(GOOD) >= 100


@pytest.mark.parametrize("odd", [odd for odd in ODD if odd.field], ids=lambda odd: odd.id)
def test_what_is_wrong_is_refused_naming_the_field(tmp_path: Path, odd: Odd) -> None:
    with pytest.raises(ManifestError) as refused:
        load_resources(written(tmp_path, odd))
    assert odd.field.rpartition(".")[2] in str(refused.value)
