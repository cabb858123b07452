"""The prediction store's contract on a real Elasticsearch, and what only Elasticsearch promises."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from elasticsearch import BadRequestError, Elasticsearch

from pricecast_core.errors import SettingsError, StoreError
from pricecast_core.stores import predictions_elasticsearch
from pricecast_core.stores.predictions_elasticsearch import ElasticsearchPredictionStore, mappings
from pricecast_testbed import Elasticsearch as Server
from tests.contracts.predictions import PredictionStoreContract, a_prediction, scored, whole_history


@pytest.fixture
def client(elasticsearch_url: str) -> Iterator[Elasticsearch]:
    with Elasticsearch(elasticsearch_url) as client:
        yield client


@pytest.fixture
def prefix(client: Elasticsearch) -> Iterator[str]:
    prefix = f"test-{uuid.uuid4().hex}"
    yield prefix
    client.indices.delete(index=f"{prefix}-predictions,{prefix}-latest", ignore_unavailable=True)
    client.options(ignore_status=404).indices.delete_index_template(name=f"{prefix}-predictions")


@pytest.fixture
def store(elasticsearch_url: str, prefix: str) -> Iterator[ElasticsearchPredictionStore]:
    """One whose history can be searched as soon as it is written, as the contract's tests do."""
    store = ElasticsearchPredictionStore(elasticsearch_url, prefix=prefix, refresh=True)
    store.ensure()
    yield store
    store.close()


@pytest.fixture
def two(elasticsearch_url: str, prefix: str) -> Iterator[tuple[ElasticsearchPredictionStore, ...]]:
    """A writer and a reader as two processes have them, without refreshes."""
    stores = tuple(ElasticsearchPredictionStore(elasticsearch_url, prefix=prefix) for _ in range(2))
    yield stores
    for store in stores:
        store.close()


class TestElasticsearch(PredictionStoreContract):
    pass


def test_a_new_prediction_is_read_by_others_before_any_refresh(
    two: tuple[ElasticsearchPredictionStore, ...], client: Elasticsearch, prefix: str
) -> None:
    writer, reader = two
    writer.ensure()
    client.indices.put_settings(index=f"{prefix}-*", settings={"refresh_interval": "-1"})
    writer.write([a_prediction(0)])
    assert reader.latest() == [a_prediction(0)]
    for minute in range(1, 20):
        writer.write([a_prediction(minute)])
        assert reader.latest() == [a_prediction(minute)]


@pytest.mark.parametrize(
    ("block", "said"), [("read_only_allow_delete", "disk usage exceeded flood-stage"), ("read_only", "read-only")]
)
def test_the_reason_of_a_refused_write_is_told_with_a_remedy(
    store: ElasticsearchPredictionStore, client: Elasticsearch, prefix: str, block: str, said: str
) -> None:
    client.indices.put_settings(index=f"{prefix}-*", settings={f"index.blocks.{block}": True})
    try:
        with pytest.raises(StoreError, match=said) as raised:
            store.write([a_prediction(0)])
        assert "free space" in str(raised.value)
    finally:
        client.indices.put_settings(index=f"{prefix}-*", settings={f"index.blocks.{block}": None})
    store.write([a_prediction(0)])
    assert store.latest() == [a_prediction(0)]


def test_a_reader_of_a_cluster_without_indices_finds_nothing(two: tuple[ElasticsearchPredictionStore, ...]) -> None:
    _, reader = two
    assert reader.latest() == []
    assert reader.history("BTC/USD").predictions == []
    assert reader.unscored("btc", 2**50) == []


def test_the_mapping_is_strict_and_dates_are_dates(
    store: ElasticsearchPredictionStore, client: Elasticsearch, prefix: str
) -> None:
    index = f"{prefix}-predictions"
    found = client.indices.get_mapping(index=index)[index]["mappings"]
    assert found["dynamic"] == "strict"
    assert found["properties"] == mappings()["properties"]
    assert found["properties"]["target_time_ms"] == {"type": "date", "format": "epoch_millis"}
    assert found["properties"]["predicted_price"] == {"type": "double"}
    assert found["properties"]["pair"] == {"type": "keyword"}
    with pytest.raises(BadRequestError, match="strict_dynamic_mapping"):
        client.index(index=index, document={"colour": "red"})


def test_ensure_adds_the_fields_that_an_older_version_lacked(
    two: tuple[ElasticsearchPredictionStore, ...], client: Elasticsearch, prefix: str
) -> None:
    older = mappings()
    del older["properties"]["simulated"]
    client.indices.create(index=f"{prefix}-predictions", mappings=older)
    writer, reader = two
    writer.ensure()
    writer.write([a_prediction(simulated=True)])
    assert reader.latest() == [a_prediction(simulated=True)]


def test_a_refused_document_is_an_error_that_names_it(
    store: ElasticsearchPredictionStore, client: Elasticsearch, prefix: str
) -> None:
    client.indices.put_settings(index=f"{prefix}-latest", settings={"index.blocks.write": True})
    with pytest.raises(StoreError, match="btc:BTC/USD:300 was refused by index"):
        store.write([a_prediction()])
    client.indices.put_settings(index=f"{prefix}-latest", settings={"index.blocks.write": None})
    store.write([a_prediction()])
    assert store.latest() == [a_prediction()]


@pytest.mark.parametrize("url", ["nonsense", "localhost:9200", "http://localhost"])
def test_an_unusable_url_is_refused_with_what_to_write(url: str) -> None:
    with pytest.raises(SettingsError, match="http"):
        ElasticsearchPredictionStore(url)


def test_a_server_that_is_not_there_is_a_store_error_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions_elasticsearch, "_WRITE_RETRIES", 1)
    store = ElasticsearchPredictionStore("http://127.0.0.1:1")
    for call in (store.ensure, store.latest, lambda: store.write([a_prediction()]), lambda: store.unscored("btc", 0)):
        with pytest.raises(StoreError, match="check that it runs"):
            call()
    store.close()


def test_a_server_that_is_killed_and_comes_back_has_lost_nothing(own_server: Callable[[type[Server]], Server]) -> None:
    server = own_server(Server)
    store = ElasticsearchPredictionStore(server.url, refresh=True)
    store.ensure()
    store.write([a_prediction(0), scored(a_prediction(1))])
    server.kill()
    with pytest.raises(StoreError):
        store.latest()
    server.start()
    store.write([a_prediction(1), a_prediction(2)])
    assert store.latest() == [a_prediction(2)]
    assert whole_history(store) == [a_prediction(2), scored(a_prediction(1)), a_prediction(0)]
    store.close()
