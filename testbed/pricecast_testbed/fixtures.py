"""Pytest's fixtures of real servers: a test's `conftest.py` names this module in `pytest_plugins`.

The session fixtures give the URL of a server that may have been there before (the variables `*_TEST`), so tests use
names of their own in it. A test that takes a server away and brings it back asks for one of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from pricecast_testbed import Elasticsearch, Kafka, Ollama, Postgres, Server
from pricecast_testbed.kubernetes import Cluster

S = TypeVar("S", bound=Server)


def _url(kind: type[Server], factory: pytest.TempPathFactory) -> Iterator[str]:
    if given := os.environ.get(kind.url_variable):
        yield given
        return
    server = kind(factory.mktemp(kind.name))
    server.start()
    try:
        yield server.url
    finally:
        server.wipe()


@pytest.fixture(scope="session")
def kafka_brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a real Kafka: KAFKA_BROKERS_TEST, else one for the session."""
    yield from _url(Kafka, tmp_path_factory)


@pytest.fixture(scope="session")
def elasticsearch_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of a real Elasticsearch: ELASTICSEARCH_URL_TEST, else one for the session."""
    yield from _url(Elasticsearch, tmp_path_factory)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a database of a real PostgreSQL: POSTGRES_URL_TEST, else one for the session."""
    yield from _url(Postgres, tmp_path_factory)


@pytest.fixture(scope="session")
def ollama_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of a real Ollama: OLLAMA_HOST_TEST, else one for the session, without models."""
    yield from _url(Ollama, tmp_path_factory)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Callable[[type[S]], S]]:
    """Starts a server of the test's own, which it may stop, kill and start again: `own_server(Kafka)`."""
    servers: list[Server] = []

    def start(kind: type[S]) -> S:
        server = kind(tmp_path / f"{kind.name}-{len(servers)}")
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.wipe()


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path]:
    """Kubeconfig of a real cluster: KUBECONFIG, else the testbed's, which stays up if it was up."""
    if given := os.environ.get("KUBECONFIG"):
        yield Path(given)
        return
    cluster = Cluster()
    was_up = cluster.running
    cluster.up()
    try:
        yield cluster.layout.admin
    finally:
        if not was_up:
            cluster.wipe()
