"""The web page in the package is the one that its sources make. Node isn't needed to tell: the bundle names what it was made from."""

from __future__ import annotations

import hashlib
from pathlib import Path

API = Path(__file__).parents[3] / "services" / "prediction-api"


def test_the_bundle_was_made_from_the_sources_that_are_here() -> None:
    sources = API / "page"
    digest = hashlib.sha256()
    for path in [sources / "build.mjs", sources / "package-lock.json", *sorted((sources / "src").iterdir())]:
        digest.update(str(path.relative_to(sources)).encode() + b"\0" + path.read_bytes())
    told = (API / "pricecast_prediction_api" / "page" / "sources.sha256").read_text().strip()
    assert told == digest.hexdigest(), "the page's sources have changed: run `make page`"
