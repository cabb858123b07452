"""What `pricecast validate` accepts runs: every odd manifest whose plan differs, merged into a few that go all the way.

The plans of all of them are made; many are the same, such as those of sixteen ways to write an amount of memory, which
no process on a laptop hears of. Of the rest as many as go together are put into one manifest, lists joined.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pricecast_cli.local.folder import DataFolder
from pricecast_cli.local.programs import LocalBackends
from pricecast_core.indicators import candles_needed, choose
from pricecast_core.stores.predictions_sql import SqlPredictionStore
from pricecast_resources.manifest import ManifestError, load_resources
from pricecast_resources.plan import plan
from pricecast_resources.pricepipeline import PricePipelineSpec
from pricecast_resources.sources import Source
from pricecast_resources.storage import KafkaStorage
from tests.contracts.manifests import PIPELINE
from tests.contracts.odd_manifests import ODD, Odd
from tests.integration.test_up import START_S, feature_rows, pricecast

MOST_WORK = 6_000
"""Pairs times candles until the first row: what takes many of both is run by itself."""
NEWS = "title,newsDatetime\nBitcoin soars to a record,2022-01-01 00:00:00\n"


def leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}")
    else:
        yield path, value


@dataclass
class Merged:
    """Several odd manifests in one."""

    changes: dict[str, Any] = field(default_factory=dict)

    def manifest(self) -> dict[str, Any]:
        return Odd(PIPELINE, self.changes).manifest()

    def takes(self, odd: Odd, folder: Path) -> bool:
        """Adds what an odd manifest changes, if it goes together with what is there."""
        joined = dict(self.changes)
        for path, changed in odd.changes.items():
            for leaf, value in leaves(changed, path):
                if isinstance(value, list) and isinstance(joined.get(leaf), list):
                    joined[leaf] = list(dict.fromkeys([*joined[leaf], *value]))
                elif joined.setdefault(leaf, value) != value:
                    return False
        try:
            _, spec = spec_of(Odd(PIPELINE, joined).manifest(), folder)
        except ManifestError:
            return False
        if len(spec.all_pairs) * candles_needed(choose(spec.indicators)) > MOST_WORK:
            return False
        self.changes = joined
        return True


def spec_of(manifest: dict[str, Any], folder: Path) -> tuple[str, PricePipelineSpec]:
    file = folder / "manifest.yaml"
    file.write_text(json.dumps(manifest))
    [resource] = load_resources(file)
    assert isinstance(resource.spec, PricePipelineSpec)
    return resource.name, resource.spec


def planned(odd: Odd, folder: Path) -> str:
    """Returns what runs where files take the place of the market."""
    name, spec = spec_of(odd.manifest(), folder)
    spec = spec.model_copy(update={"source": Source()})
    processes = plan(name, spec, LocalBackends(DataFolder(folder), KafkaStorage(brokers="127.0.0.1:9092"))).processes
    return json.dumps([name, [(one.name, one.settings.document()) for one in processes]], default=str)


def merged(folder: Path) -> list[Merged]:
    found: list[Merged] = []
    seen = set[str]()
    for odd in ODD:
        if odd.field or odd.base is not PIPELINE or (what := planned(odd, folder)) in seen:
            continue
        seen.add(what)
        if not any(one.takes(odd, folder) for one in found):
            found.append(Merged())
            assert found[-1].takes(odd, folder)
    return found


def trades(path: Path, step: int, count: int) -> Path:
    """Writes a trade for each candle."""
    random.seed(path.name)
    price, lines = 100.0, []
    for number in range(count):
        price = round(price * (1 + random.gauss(0, 0.001)), 4)
        lines.append(f"{START_S // step * step + step * number + step // 2},{price},{random.uniform(0.1, 2):.4f}")
    path.write_text("\n".join(lines) + "\n")
    return path


with tempfile.TemporaryDirectory() as temporary:
    MERGED = [one.manifest() for one in merged(Path(temporary))]


def test_they_are_few() -> None:
    assert len(MERGED) <= 6


@pytest.mark.parametrize("manifest", MERGED, ids=lambda manifest: manifest["metadata"]["name"])
def test_whatever_is_accepted_runs(tmp_path: Path, manifest: dict[str, Any]) -> None:
    """Replays a trade for each candle through the pipeline, until all of it is through."""
    if news := manifest["spec"].get("news"):
        archive = tmp_path / "news.csv"
        archive.write_text(NEWS)
        news["archive"]["location"] = str(archive)
    name, spec = spec_of(manifest, tmp_path)
    count = 800 + candles_needed(choose(spec.indicators))
    files = [trades(tmp_path / f"{number}.csv", spec.candles.seconds, count) for number in range(len(spec.all_pairs))]
    replay = [argument for file in files for argument in ("--replay", file)]
    done = pricecast(
        "up", "manifest.yaml", "--exit-when-drained", "--data-dir", "data", *replay, cwd=tmp_path, timeout=280
    )
    assert done.returncode == 0, f"{manifest}: {done.stdout}{done.stderr}"
    assert {
        row_pair for row in feature_rows(tmp_path / "data") for row_pair in row if row_pair in spec.all_pairs
    } == set(spec.all_pairs)
    store = SqlPredictionStore(DataFolder(tmp_path / "data").database("predictions"))
    latest = {(prediction.pipeline, prediction.pair, prediction.horizon_seconds) for prediction in store.latest()}
    store.close()
    within = [seconds for seconds in spec.prediction.horizons_seconds if seconds < count * spec.candles.seconds / 2]
    assert within
    assert latest == {
        (name, pair, seconds) for pair in spec.pairs for seconds in within
    }  # beyond, nothing is known yet
