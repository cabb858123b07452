"""What a pipeline's pods are told of the stores that its spec names, and whom they may reach."""

from __future__ import annotations

from pricecast_operator.render.backends import ClusterBackends
from pricecast_resources.plan import plan
from pricecast_resources.pricepipeline import PricePipelineSpec


def test_hopsworks_needs_only_its_own_secret_and_may_be_reached() -> None:
    project = {"host": "hopsworks.example", "project": "prices", "apiKeySecretRef": {"name": "hopsworks", "key": "key"}}
    spec = {"pairs": ["BTC/USD"], "storage": {"features": {"kind": "Hopsworks", "hopsworks": project}}}
    parsed = PricePipelineSpec.model_validate(spec)
    planned = plan("btc", parsed, ClusterBackends(parsed.storage))
    writer = next(process for process in planned.processes if process.name == "to-feature-store")
    assert {name: ref.name for name, ref in writer.secrets.items()} == {"HOPSWORKS_API_KEY": "hopsworks"}
    assert writer.settings.document()["hopsworks_host"] == "hopsworks.example"
    assert writer.settings.addresses == [f"https://hopsworks.example:{port}" for port in (443, 3306, 5005, 9092)]


def test_comet_needs_only_its_own_secret_and_may_be_reached() -> None:
    spec = {
        "pairs": ["BTC/USD"],
        "storage": {"models": {"kind": "Comet", "comet": {"apiKeySecretRef": {"name": "comet", "key": "key"}}}},
    }
    parsed = PricePipelineSpec.model_validate(spec)
    planned = plan("btc", parsed, ClusterBackends(parsed.storage))
    trainer = next(process for process in planned.processes if process.name == "train")
    assert trainer.secrets["COMET_API_KEY"].name == "comet"
    assert "MODEL_REGISTRY_URL" not in trainer.access
    assert trainer.settings.addresses == ["https://www.comet.com"]
