"""Each package that pricecast is asked to build on is imported by a module, and a user's field selects that module."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[3]
CRDS = {
    path.stem: yaml.safe_load(path.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    for path in (ROOT / "charts/pricecast/files/crds").glob("*.yaml")
}


class Use(NamedTuple):
    """Where a package is used.

    Attributes:
        package: Its name in the registry.
        imported: What is imported.
        module: The module that imports it.
        crd: The resource whose field selects it.
        field: The field, and its value where the field chooses among several.
    """

    package: str
    imported: str
    module: str
    crd: str
    field: str

    def __str__(self) -> str:
        return self.package


_CORE, _STORES = "services/core/pricecast_core", "services/core/pricecast_core/stores"
USES = (
    Use("kopf", "kopf", "operator/pricecast_operator/main.py", "pricepipelines", "spec"),
    Use("kubernetes", "kubernetes", "operator/pricecast_operator/cluster/api.py", "pricepipelines", "spec"),
    Use("quixstreams", "quixstreams", f"{_CORE}/streaming/stream.py", "pricepipelines", "spec.storage.kafka.brokers"),
    Use(
        "kraken-wsclient-py",
        "kraken_wsclient_py",
        "services/trades/pricecast_trades/exchanges/kraken/websocket_v1.py",
        "pricepipelines",
        "spec.source.kraken.websocket=v1",
    ),
    Use("numpy", "numpy", "services/trades/pricecast_trades/market.py", "pricepipelines", "spec.source.kind=Simulated"),
    Use(
        "tulipy",
        "tulipy",
        "services/technical-indicators/pricecast_technical_indicators/formulas.py",
        "pricepipelines",
        "spec.indicators",
    ),
    Use("hopsworks", "hopsworks", f"{_STORES}/hopsworks.py", "pricepipelines", "spec.storage.features.kind=Hopsworks"),
    Use(
        "xgboost",
        "xgboost",
        "services/price-predictor/pricecast_price_predictor/models/trees.py",
        "pricepipelines",
        "spec.training.trials",
    ),
    Use("comet-ml", "comet_ml", f"{_STORES}/models_comet.py", "pricepipelines", "spec.storage.models.kind=Comet"),
    Use("unsloth", "unsloth", "services/finetune/pricecast_finetune/models.py", "finetunejobs", "spec.resources"),
    Use(
        "ollama",
        "ollama",
        "services/news-signal/pricecast_news_signal/readers/ollama.py",
        "pricepipelines",
        "spec.news.signals.provider=Ollama",
    ),
    Use(
        "elasticsearch",
        "elasticsearch",
        f"{_STORES}/predictions_elasticsearch.py",
        "pricepipelines",
        "spec.storage.predictions.url",
    ),
    Use(
        "grpcio",
        "grpc",
        "services/prediction-api/pricecast_prediction_api/grpc_server.py",
        "pricepipelines",
        "spec.prediction",
    ),
    Use("grpcio-tools", "grpc_tools", "protos/generate.py", "pricepipelines", "spec.prediction"),
    Use("prometheus-client", "prometheus_client", f"{_CORE}/metrics.py", "pricepipelines", "spec"),
)
"""grpcio-tools writes the API's code when it is built; kopf, kubernetes and prometheus-client serve every pipeline."""


@pytest.mark.parametrize("use", USES, ids=str)
def test_a_package_is_imported_by_the_module_that_uses_it(use: Use) -> None:
    imports = set()
    for node in ast.walk(ast.parse((ROOT / use.module).read_text())):
        if isinstance(node, ast.Import):
            imports |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            imports.add(str(node.args[0].value))  # imported by name, where a machine may lack it
    assert use.imported in imports


@pytest.mark.parametrize("use", USES, ids=str)
def test_a_package_is_among_the_dependencies_of_a_member(use: Use) -> None:
    declared = set()
    for path in ROOT.glob("**/pyproject.toml"):
        if not any(part.startswith(".") for part in path.relative_to(ROOT).parts):
            project = tomllib.loads(path.read_text())
            lists = [
                project["project"].get("dependencies", []),
                *project["project"].get("optional-dependencies", {}).values(),
                *project.get("dependency-groups", {}).values(),
                project.get("build-system", {}).get("requires", []),
            ]
            declared |= {re.split(r"[^A-Za-z0-9._-]", entry)[0].lower() for each in lists for entry in each}
    assert use.package in declared


@pytest.mark.parametrize("use", USES, ids=str)
def test_a_field_of_the_user_selects_it(use: Use) -> None:
    path, _, value = use.field.partition("=")
    node: dict[str, Any] = {"properties": CRDS[use.crd]}
    for name in path.split("."):
        node = node["properties"][name]
    assert not value or value in node["enum"]
