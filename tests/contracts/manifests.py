"""Manifests that must be refused, and the field that the refusal must name: by pydantic and by the real API server."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

PIPELINE: dict[str, Any] = {
    "apiVersion": "pricecast.dev/v1alpha1",
    "kind": "PricePipeline",
    "metadata": {"name": "good"},
    "spec": {"pairs": ["BTC/USD"]},
}
FINETUNE: dict[str, Any] = {
    "apiVersion": "pricecast.dev/v1alpha1",
    "kind": "FinetuneJob",
    "metadata": {"name": "good"},
    "spec": {
        "dataset": {"configMap": {"name": "headlines"}},
        "outputs": {"ollama": {"url": "http://ollama:11434", "model": "pricecast-news"}},
    },
}


def replaced(base: dict[str, Any], changes: dict[str, Any], *, gone: Any) -> dict[str, Any]:
    """Returns a manifest with some fields replaced, by path: from the spec, or with a leading `/` from the root.

    Args:
        base: The manifest, left as it is.
        changes: The new values.
        gone: The value that takes a field away.
    """
    manifest = copy.deepcopy(base)
    for path, value in changes.items():
        node = manifest if path.startswith("/") else manifest["spec"]
        *parents, last = path.removeprefix("/").split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        if value is gone:
            del node[last]
        else:
            node[last] = value
    return manifest


class Bad(NamedTuple):
    """One wrong manifest: a good one with some fields of the spec replaced (None removes a field)."""

    base: dict[str, Any]
    changes: dict[str, Any]
    field: str

    @property
    def id(self) -> str:
        return f"{self.field}={next(iter(self.changes.values()))!r:.40}"

    def manifest(self) -> dict[str, Any]:
        return replaced(self.base, self.changes, gone=None)


def _pipeline(field: str, **changes: Any) -> Bad:
    return Bad(PIPELINE, {path.replace("__", "."): value for path, value in changes.items()}, field)


def _finetune(field: str, **changes: Any) -> Bad:
    return Bad(FINETUNE, {path.replace("__", "."): value for path, value in changes.items()}, field)


_KEY = {"name": "secret", "key": "key"}
_HOPSWORKS = {"host": "hopsworks.example", "project": "prices", "apiKeySecretRef": _KEY}

BAD = (
    _pipeline("pairs", pairs=None),
    _pipeline("pairs", pairs=[]),
    _pipeline("pairs", pairs=["btc/usd"]),
    _pipeline("pairs", pairs=["BTCUSD"]),
    _pipeline("pairs", pairs=["BTC/USD", "BTC/USD"]),
    _pipeline("pairs", pairs=[f"C{number}/USD" for number in range(513)]),
    _pipeline("pairs", pairs="BTC/USD"),
    _pipeline("source.kind", source__kind="Binance"),
    _pipeline("source.mode", source__mode="live"),
    _pipeline("source.since", source__since="30 days"),
    _pipeline("source.since", source__since="0d"),
    _pipeline("source.replay", source={"kind": "Replay"}),
    _pipeline("source.replay", source={"kind": "Kraken", "replay": {"files": ["/data/trades.csv"]}}),
    _pipeline("source.replay.files", source={"kind": "Replay", "replay": {"files": []}}),
    _pipeline(
        "source.replay.files", pairs=["BTC/USD", "ETH/USD"], source={"kind": "Replay", "replay": {"files": ["a"]}}
    ),
    _pipeline("source.replay.speed", source={"kind": "Replay", "replay": {"files": ["a"], "speed": -1}}),
    _pipeline("source.replay.format", source={"kind": "Replay", "replay": {"files": ["a"], "format": "parquet"}}),
    _pipeline("source.simulated.startPrice", source={"kind": "Simulated", "simulated": {"startPrice": 0}}),
    _pipeline("source.simulated.tradesPerSecond", source={"kind": "Simulated", "simulated": {"tradesPerSecond": 1e9}}),
    _pipeline("source.simulated.tradesPerSecond", source={"kind": "Simulated", "simulated": {"tradesPerSecond": 1e-7}}),
    _pipeline("source.kraken.restUrl", source__kraken__restUrl="ftp://api.kraken.com"),
    _pipeline("source.kraken.websocket", source__kraken__websocket="v3"),
    _pipeline("candles.seconds", candles__seconds=0),
    _pipeline("candles.seconds", candles__seconds="1m"),
    _pipeline("candles.graceSeconds", candles__graceSeconds=-1),
    _pipeline("prediction.horizonsSeconds", prediction__horizonsSeconds=[]),
    _pipeline("prediction.horizonsSeconds", prediction__horizonsSeconds=[90]),
    _pipeline("prediction.horizonsSeconds", prediction__horizonsSeconds=[30]),
    _pipeline("prediction.horizonsSeconds", prediction__horizonsSeconds=[300, 300]),
    _pipeline("prediction.horizonsSeconds", candles__seconds=7, prediction__horizonsSeconds=[300]),
    _pipeline("features.companionPairs", features__companionPairs=["ETH"]),
    _pipeline("indicators", indicators="rsi(14)"),
    _pipeline("training.schedule", training__schedule="hourly"),
    _pipeline("training.schedule", training__schedule="* * * *"),
    _pipeline("training.schedule", training__schedule="60 * * * *"),
    _pipeline("training.schedule", training__schedule="0 0 L * *"),
    _pipeline("training.lookback", training__lookback="1h"),
    _pipeline("training.lookback", training__lookback="1w"),
    _pipeline("training.minRows", training__minRows=10),
    _pipeline("training.folds", training__folds=1),
    _pipeline("training.trials", training__trials=-1),
    _pipeline("news.gdelt.query", news={"gdelt": {"query": ""}}),
    _pipeline("news.gdelt.url", news={"gdelt": {"url": "api.gdeltproject.org"}}),
    _pipeline("news.rss.urls", news={"rss": {"urls": ["a.example/feed"]}}),
    _pipeline("news.cryptoPanic.apiKeySecretRef", news={"cryptoPanic": {}}),
    _pipeline("news.coins", news={"archive": {"location": "x"}, "coins": ["bitcoin"]}),
    _pipeline("news.signals.provider", news={"archive": {"location": "x"}, "signals": {"provider": "ollama"}}),
    _pipeline("news.signals", news={"archive": {"location": "x"}, "signals": {"provider": "Ollama"}}),
    _pipeline(
        "news.signals", news={"archive": {"location": "x"}, "signals": {"provider": "Anthropic", "model": "a-model"}}
    ),
    _pipeline("news.signals", news={"archive": {"location": "x"}, "signals": {"finetuneJob": "news"}}),
    _pipeline("storage.kafka.brokers", storage__kafka__brokers="redpanda"),
    _pipeline("storage.kafka.protocol", storage__kafka__protocol="TLS"),
    _pipeline(
        "storage.kafka.mechanism", storage__kafka={"protocol": "SASL_SSL", "mechanism": "SCRAM", "secretName": "k"}
    ),
    _pipeline("storage.kafka.secretName", storage__kafka__protocol="SASL_SSL"),
    _pipeline("storage.kafka.secretName", storage__kafka__secretName="kafka"),
    _pipeline(
        "storage.kafka.caSecretRef",
        storage__kafka={"protocol": "SASL_PLAINTEXT", "secretName": "k", "caSecretRef": _KEY},
    ),
    _pipeline("storage.features.kind", storage__features__kind="Feast"),
    _pipeline("storage.features.hopsworks", storage__features__kind="Hopsworks"),
    _pipeline("storage.features.hopsworks", storage__features={"hopsworks": _HOPSWORKS}),
    _pipeline(
        "storage.features.hopsworks.host",
        storage__features={"kind": "Hopsworks", "hopsworks": {**_HOPSWORKS, "host": "https://hopsworks.example"}},
    ),
    _pipeline("storage.models.comet", storage__models__kind="Comet"),
    _pipeline("storage.models.comet", storage__models={"comet": {"apiKeySecretRef": _KEY}}),
    _pipeline("storage.models.comet.apiKeySecretRef", storage__models={"kind": "Comet", "comet": {}}),
    _pipeline("storage.features.urlSecretRef.key", storage__features__urlSecretRef={"name": "storage"}),
    _pipeline("storage.predictions.url", storage__predictions__url="elasticsearch:9200"),
    _pipeline("topics.partitions", topics__partitions=0),
    _pipeline("topics.deletionPolicy", topics__deletionPolicy="Orphan"),
    _pipeline("services", services={"predictor": {"replicas": 2}}),
    _pipeline("services.candles.replicas", services={"candles": {"replicas": -1}}),
    _pipeline("services.candles.resources", services={"candles": {"resources": {"limits": {"memory": "lots"}}}}),
    _pipeline(
        "services.candles.autoscaling.minReplicas",
        services={"candles": {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}},
    ),
    _pipeline("services", services={"trades": {"autoscaling": {"maxReplicas": 2}}}),
    _pipeline("models.pinned", models={"pinned": 0}),
    _pipeline("replicas", replicas=-1),
    _pipeline("suspend", suspend="yes"),
    _finetune("dataset", dataset=None),
    _finetune("dataset", dataset={}),
    _finetune("dataset", dataset={"configMap": {"name": "a"}, "hub": {"name": "b/c"}}),
    _finetune("dataset.s3.uri", dataset={"s3": {"uri": "https://bucket/key"}}),
    _finetune("evaluation.requiredF1", evaluation__requiredF1=1.5),
    _finetune("lora.rank", lora__rank=0),
    _finetune("trainer.learningRate", trainer__learningRate=0),
    _finetune("gpu.count", gpu__count=-1),
    _finetune("gpu.resource", gpu__resource="gpu"),
    _finetune("checkpoints.size", checkpoints__size="10 gigabytes"),
    _finetune("checkpoints", checkpoints={"claimName": "mine", "storageClassName": "fast"}),
    _finetune("outputs.hub.tokenSecretRef", outputs={"hub": {"repository": "me/model"}}),
    _finetune("outputs.ollama.model", outputs={"ollama": {"url": "http://ollama:11434", "model": "Not a name"}}),
    _finetune("deadline", deadline="tomorrow"),
)
