"""Odd manifests and their verdicts: what `pricecast validate` says of them is what the API server says.

Each is the good manifest of its kind with some fields replaced: `""` in a path begins at the root of the resource.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.contracts.manifests import BAD, FINETUNE, PIPELINE, replaced


class _Absent:
    """Stands for a field that is left out; named alike in every process, as the names of parametrised tests must be."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()
"""A field that is taken away; None is a field that is there without a value."""
GOOD = ""
ARCHIVE = {"archive": {"location": "/data/news.csv"}}


class Odd(NamedTuple):
    """One odd manifest.

    Attributes:
        base: The good manifest that it is made from.
        changes: What is replaced, by path; from the spec, or with a leading `/` from the root.
        field: What a refusal must name; empty where the manifest is good.
    """

    base: dict[str, Any]
    changes: dict[str, Any]
    field: str = ""

    @property
    def id(self) -> str:
        changes = ",".join(f"{path}={value!r:.50}" for path, value in self.changes.items())
        return f"{self.base['kind']}:{changes if self.changes else 'as it is'}"[:110]

    def manifest(self) -> dict[str, Any]:
        return replaced(self.base, self.changes, gone=ABSENT)


def pipeline(field: str, path: str, *values: Any, **others: Any) -> Iterator[Odd]:
    more = {name.replace("__", "."): value for name, value in others.items()}
    yield from (Odd(PIPELINE, {**more, path: value}, field) for value in values)


def finetune(field: str, path: str, *values: Any) -> Iterator[Odd]:
    yield from (Odd(FINETUNE, {path: value}, field) for value in values)


def _names() -> Iterator[Odd]:
    yield from pipeline(GOOD, "/metadata.name", "a", "a" * 40, "a-1", "b2b", "a--b")
    yield from pipeline("metadata.name", "/metadata.name", "a" * 41, "1inch-usd", "btc.usd", "-a", "a-", "A", "a_b")
    yield from pipeline("metadata.name", "/metadata.name", "", 7, ABSENT)
    yield from finetune(GOOD, "/metadata.name", "1st", "a" * 52, "n")
    yield from finetune("metadata.name", "/metadata.name", "news.v2", "a" * 53, "News", "-a", "a-")
    yield from pipeline(GOOD, "/metadata.labels", {"team": "a"}, {}, None)
    yield from pipeline(
        "metadata.labels", "/metadata.labels", {"team": "a b"}, {"": "a"}, {"a/b/c": "x"}, {"a": "x" * 64}
    )
    yield from pipeline("labels", "/metadata.labels", {"team": 7}, ["a"])
    yield from pipeline(GOOD, "/metadata.annotations", {"a.example/b": "anything at all\n", "c": ""})
    yield from pipeline("metadata.annotations", "/metadata.annotations", {"a b": "x"})
    yield from pipeline("metadata", "/metadata.nam", "typo")


def _whole() -> Iterator[Odd]:
    yield from pipeline("speck", "/speck", {})
    yield from pipeline("spec", "/spec", ABSENT, None, [], "BTC/USD")
    yield from pipeline("pairs", "/spec", {})


def _pairs_and_coins() -> Iterator[Odd]:
    for path in ("pairs", "features.companionPairs"):
        yield from pipeline(GOOD, path, ["T/USD"], ["W/EUR", "S/USD"], ["AAPLx/USD"], ["AAPLX/USD", "AAPLx/USD"])
        yield from pipeline(GOOD, path, ["A" * 16 + "x/USD"], ["1INCH/USD"], ["XBTx/USD"])
        yield from pipeline(path, path, ["XBT/USD"], ["ETH/XBT"], ["XDG/XBT"], ["ETH/USD", "XBT/USD"], ["btc/usd"])
        yield from pipeline(path, path, ["BTC-USD"], ["BTC"], [""], ["A" * 17 + "/USD"], ["BTC/USD/EUR"], ["BTC/USD\n"])
        yield from pipeline(path, path, ["aaplx/USD"], ["ETH/USD", "ETH/USD"], [" BTC/USD"], [7], [None], "BTC/USD")
    yield from pipeline("pairs", "pairs", None, [], {})
    yield from pipeline(GOOD, "features.companionPairs", [], None, ["BTC/USD"])
    yield from pipeline(GOOD, "news", {**ARCHIVE, "coins": ["T", "AAPLx"]}, {**ARCHIVE, "coins": []}, None)
    yield from pipeline("coins", "news", {**ARCHIVE, "coins": ["XBT"]}, {**ARCHIVE, "coins": ["btc"]})
    yield from finetune("coins", "coins", ["XDG"], ["BTC", "BTC"], ["BTC/USD"])
    yield from finetune(GOOD, "coins", ["T", "AAPLx"])


def _forecasts() -> Iterator[Odd]:
    yield from pipeline(
        GOOD, "prediction.levels", [0.1, 0.5, 0.9], [0.9, 0.5, 0.1], [0.01, 0.1, 0.3333, 0.5, 0.9, 0.99]
    )
    yield from pipeline("levels", "prediction.levels", [0.1, 0.9], [0.1, 0.5, 0.95], [], [0.1, 0.5, 0.9, 0.9], 0.5)
    yield from pipeline("levels", "prediction.levels", [0.001, 0.1, 0.5, 0.9], [0.1, 0.5, 0.9, 1], ["0.1", 0.5, 0.9])
    yield from pipeline(GOOD, "models.kinds", ["Trees"], ["HarSeasonal", "Naive"])
    yield from pipeline("kinds", "models.kinds", [], ["trees"], ["Ewma", "Ewma"], [""], ["Oracle"], [7], "Ewma")
    yield from pipeline(GOOD, "models.rollback", {}, {"minScored": 10, "margin": 0})
    yield from pipeline("minScored", "models.rollback", {"minScored": 9}, {"minScored": 1_001}, {"minScored": "10"})
    yield from pipeline("margin", "models.rollback", {"margin": -0.1}, {"margin": 1.1})
    yield from pipeline(GOOD, "models.promotion", {}, {"minScored": 1_000, "margin": 1, "maximumAge": "14d"})
    yield from pipeline("minScored", "models.promotion", {"minScored": 9}, {"minScored": 1_001})
    yield from pipeline(
        "maximumAge", "models.promotion", {"maximumAge": "0d"}, {"maximumAge": "soon"}, {"maximumAge": 3}
    )
    yield from pipeline(GOOD, "models.abstainDistance", 1, 2.5, 1_000)
    yield from pipeline("abstainDistance", "models.abstainDistance", 0.9, 1_001, "far")


def _lengths_of_time() -> Iterator[Odd]:
    long = {"source__since": "60d", "training__lookback": "60d"}
    yield from pipeline(GOOD, "prediction.horizonsSeconds", [60], [172_800], [604_800], [60, 120, 604_800], **long)
    yield from pipeline(
        "horizonsSeconds", "prediction.horizonsSeconds", [604_860], [0], [-60], [61], [30], [True], [60.5]
    )
    yield from pipeline("horizonsSeconds", "prediction.horizonsSeconds", ["60"], [60, 60], list(range(60, 600, 60)))
    yield from pipeline(GOOD, "candles.seconds", 1, 300, None)
    yield from pipeline("candles.seconds", "candles.seconds", 0, 86_401, -60, "60", 60.5, True, [60])
    yield from pipeline(
        GOOD, "candles.seconds", 86_400, prediction__horizonsSeconds=[86_400], training__lookback="3000d"
    )
    yield from pipeline(GOOD, "candles.graceSeconds", 0, 0.5, 3600)
    yield from pipeline("graceSeconds", "candles.graceSeconds", 3600.5, -0.1, "1")
    for path in ("source.since", "training.lookback"):
        yield from pipeline(GOOD, path, "60d", "999999d", "3000h")
        yield from pipeline(
            path.split(".")[1], path, "0d", "1w", "30", "30 d", "-1d", "1.5d", "1000000d", "", 30, "30d\n"
        )
    yield from pipeline("lookback", "training.lookback", "1d")
    yield from pipeline("lookback", "training.lookback", "17d", "25549m", prediction__horizonsSeconds=[60, 604_800])
    days = {"candles__seconds": 86_400, "prediction__horizonsSeconds": [86_400], "training__minRows": 200}
    yield from pipeline("lookback", "training.lookback", "352d", "200d", **days)


def _indicators() -> Iterator[Odd]:
    yield from pipeline(GOOD, "indicators", ["rsi(14)"], ["rsi"], ["sma(400)"], ["sma(1500)"], ["macd(10, 24, 9)"], [])
    yield from pipeline(
        GOOD, "indicators", ["obv"], ["rsi( 14 )", "rsi(15)"], ["stochrsi(1500,1500,1500)"], ["ema", "sma"]
    )
    yield from pipeline("indicators", "indicators", ["rsii(14)"], ["rsi(-5)"], ["rsi(0)"], ["rsi(1501)"], ["rsi(14.5)"])
    yield from pipeline("indicators", "indicators", ["rsi()"], ["rsi(14,3)"], ["macd(10,24)"], ["obv(3)"], ["RSI(14)"])
    yield from pipeline(
        "indicators", "indicators", ["rsi(14)", "rsi(14)"], ["rsi", "rsi(9)"], ["macd(10,24,9)", "macd"]
    )
    yield from pipeline(
        "indicators", "indicators", ["macd(24,10,9)"], ["macd(9, 9, 9)"], ["rsi(14"], ["rsi(14),obv"], [""]
    )
    yield from pipeline(
        "indicators", "indicators", ["rsi(14)", "rsi( 14)"], ["rsi(014)"], [14], "rsi(14)", ["rsi(14)\n"]
    )


def _fields() -> Iterator[Odd]:
    for path in ("source", "candles", "training", "prediction", "storage", "topics", "services", "features", "suspend"):
        yield from pipeline(GOOD, path, None)
    yield from pipeline(GOOD, "services", {"candles": None}, {"candles": {"resources": {"limits": {"memory": None}}}})
    yield from pipeline(GOOD, "pods", {"labels": {"team": None}}, {"nodeSelector": {"disk": None}})
    yield from pipeline("candles.second", "candles", {"second": 60})
    yield from pipeline("spec", "candle", {"seconds": 60})
    yield from pipeline("candles", "candles", [], "60s", 60)


def _schedules() -> Iterator[Odd]:
    yield from pipeline(GOOD, "training.schedule", "0 */6 * * *", "*/5 1-3 1,15 JAN-MAR MON", "59 23 31 12 6")
    yield from pipeline(
        "schedule", "training.schedule", "@daily", "* * * * * *", "61 * * * *", "0 24 * * *", "0 0 0 * *"
    )
    yield from pipeline("schedule", "training.schedule", "0 0 31 2 *", "0 0 * * 7", "5-1 * * * *", "*/0 * * * *", "")


def _quantities() -> Iterator[Odd]:
    for quantity in (
        "500m",
        1,
        "1",
        "0.5",
        "1.5Gi",
        "100Ki",
        "1e3",
        "2E",
        "1Ei",
        "5u",
        "+1",
        ".5",
        "1.",
        "12n",
        0,
        1.5,
    ):
        yield from pipeline(GOOD, "services", {"candles": {"resources": {"limits": {"memory": quantity}}}})
    for quantity in (
        "lots",
        "1 Gi",
        "1GB",
        "",
        "-1",
        -1,
        "1gi",
        "Gi",
        "1e",
        True,
        "1Gi\n",
        [],
        ["1Gi"],
        {},
        {"a": "1Gi"},
    ):
        yield from pipeline("limits", "services", {"candles": {"resources": {"limits": {"memory": quantity}}}})


def _services_and_addresses() -> Iterator[Odd]:
    yield from pipeline(GOOD, "services", {"candles": {"replicas": 0}}, {"train": {"image": "a:b"}}, {"trades": {}})
    yield from pipeline(
        "services", "services", {"candle": {}}, {"candles": {"replica": 2}}, {"candles": {"replicas": "2"}}
    )
    yield from pipeline(GOOD, "storage.kafka.brokers", "a:9092", "a:9092,b.c.svc:9093", "10.0.0.1:1", "a:65535")
    yield from pipeline(
        "brokers", "storage.kafka.brokers", "a", "a:", ":9092", "a:0", "a:65536", "a:9092, b:9092", "a:9092,"
    )
    key = {"name": "ca", "key": "ca.crt"}
    secured: tuple[dict[str, Any], ...] = (
        {"protocol": "SSL"},
        {"protocol": "SSL", "caSecretRef": key},
        {"protocol": "SASL_SSL", "secretName": "kafka", "caSecretRef": key},
        {"protocol": "SASL_PLAINTEXT", "secretName": "kafka", "mechanism": "PLAIN"},
    )
    yield from pipeline(GOOD, "storage.kafka", *secured)
    yield from pipeline("secretName", "storage.kafka", {"protocol": "SASL_SSL"}, {"secretName": "kafka"})
    yield from pipeline("caSecretRef", "storage.kafka", {"caSecretRef": key})
    yield from pipeline(GOOD, "storage.predictions.url", "http://a:9200", "https://a.b.svc", "https://a/b?c=d")
    for url in (
        "a:9200",
        "ftp://a",
        "http://",
        "http:///x",
        "http://a b",
        "HTTP://a",
        "http://a:99999",
        "http://a\n",
        "",
    ):
        yield from pipeline("predictions.url", "storage.predictions.url", url)
    yield from pipeline(GOOD, "source.kraken.websocketUrl", "", "wss://a.b/c", "ws://127.0.0.1:7")
    yield from pipeline("websocketUrl", "source.kraken.websocketUrl", "https://a", "wss://", "wss:// a", "wss://a:x")
    yield from pipeline("restUrl", "source.kraken.restUrl", "http://", "https:// x", "api.kraken.com")
    for url in ("http://", "https:// x", "api.exchange.coinbase.com"):
        yield from pipeline("restUrl", "source", {"kind": "Coinbase", "coinbase": {"restUrl": url}})
    yield from finetune(GOOD, "dataset", {"s3": {"uri": "s3://a/b.jsonl", "endpoint": "http://minio:9000"}})
    yield from finetune("endpoint", "dataset", {"s3": {"uri": "s3://a/b.jsonl", "endpoint": "minio:9000"}})
    yield from finetune("ollama", "outputs", {"ollama": {"url": "http://", "model": "a"}}, {"ollama": {"model": "a"}})
    yield from finetune(GOOD, "outputs", {}, None, {"hub": None})
    yield from finetune(GOOD, "checkpoints.size", "10Gi", "1Ti")
    yield from finetune("size", "checkpoints.size", "0Gi", "10", "10Gi\n", 10)
    yield from finetune(GOOD, "backoffLimit", 0, 100)
    yield from finetune("backoffLimit", "backoffLimit", -1, 101, "3")
    yield from finetune("fraction", "evaluation.fraction", 0, 1, "0.1", 1.5)
    yield from finetune(GOOD, "evaluation.fraction", 0.5, 0.0001)


def _sources() -> Iterator[Odd]:
    replay = {"kind": "Replay", "replay": {"files": ["/data/a.csv"]}}
    yield from pipeline(GOOD, "source", replay, {"kind": "Simulated"}, {"kind": "Kraken", "mode": "Historical"})
    yield from pipeline("source", "source", {"kind": "Replay"}, {**replay, "kind": "Kraken"}, {"kind": "kraken"})
    yield from pipeline("replay.files", "source", {"kind": "Replay", "replay": {"files": [""]}})
    yield from pipeline("files", "source", replay, features__companionPairs=["ETH/USD"])
    yield from pipeline(GOOD, "source.simulated", {"seed": 0}, {"seed": 2**31}, {"tradesPerSecond": 0.001})
    yield from pipeline("seed", "source.simulated", {"seed": -1}, {"seed": 1.5}, {"seed": 2**63})


def _bad() -> Iterator[Odd]:
    for bad in BAD:
        changes = {path: ABSENT if value is None else value for path, value in bad.changes.items()}
        yield Odd(bad.base, changes, bad.field)


ODD = (
    Odd(PIPELINE, {}),
    Odd(FINETUNE, {}),
    *_names(),
    *_whole(),
    *_pairs_and_coins(),
    *_forecasts(),
    *_lengths_of_time(),
    *_indicators(),
    *_fields(),
    *_schedules(),
    *_quantities(),
    *_services_and_addresses(),
    *_sources(),
    *_bad(),
)
