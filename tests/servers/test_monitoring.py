"""Prometheus itself understands every alert, and every query of every dashboard."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from pricecast_testbed import promtool
from pricecast_testbed.shell import run

FILES = Path(__file__).parents[2] / "charts" / "pricecast" / "files"


def test_alerts_are_understood() -> None:
    for path in (FILES / "alerts").glob("*.yaml"):
        assert "SUCCESS" in run([promtool(), "check", "rules", path])


def test_queries_of_dashboards_are_understood(tmp_path: Path) -> None:
    for path in (FILES / "dashboards").glob("*.json"):
        queries = [
            target["expr"].replace("$__rate_interval", "5m")
            for panel in json.loads(path.read_text())["panels"]
            for target in panel.get("targets", [])
        ]
        assert queries
        rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
        file = tmp_path / f"{path.stem}.yaml"
        file.write_text(yaml.safe_dump({"groups": [{"name": path.stem, "rules": rules}]}))
        assert "SUCCESS" in run([promtool(), "check", "rules", file])
