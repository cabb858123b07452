"""Secrets are read one by one; what could not be read is as it was."""

from __future__ import annotations

from typing import cast

import pytest

from pricecast_operator.cluster.api import Cluster
from pricecast_operator.cluster.errors import ClusterError
from pricecast_operator.controllers.secrets import Secret, Secrets
from pricecast_resources.base import SecretKeyRef

STORAGE = ("prices", "pricecast-storage")
URL = SecretKeyRef(name="pricecast-storage", key="sql-url")


class Server:
    """Answers as the API server does."""

    def __init__(self) -> None:
        self.version = 1
        self.fails = 0

    async def secret(self, namespace: str, name: str) -> tuple[str, dict[str, str]]:
        if self.fails:
            raise ClusterError("read", self.fails, "", "")
        return (
            (f"uid.{self.version}", {"sql-url": f"sqlite:///{self.version}"})
            if (namespace, name) == STORAGE
            else ("", {})
        )


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def secrets(server: Server) -> Secrets:
    return Secrets(cast("Cluster", server))


async def test_a_new_version_is_a_change_and_the_same_is_none(secrets: Secrets, server: Server) -> None:
    assert (await secrets.get(*STORAGE)).version == "uid.1"
    assert await secrets.changed([STORAGE]) == set()
    server.version = 2
    assert await secrets.changed([STORAGE]) == {STORAGE}
    assert (await secrets.get(*STORAGE)).version == "uid.2"
    assert secrets.known("prices", URL) == "sqlite:///2"


async def test_one_that_does_not_exist_yet_is_known_once_it_does(secrets: Secrets) -> None:
    assert await secrets.get("prices", "other") == Secret()
    assert secrets.known("prices", SecretKeyRef(name="other", key="key")) is None


async def test_a_failed_read_is_no_change(secrets: Secrets, server: Server) -> None:
    await secrets.get(*STORAGE)
    server.fails = 500
    assert await secrets.changed([STORAGE]) == set()
    assert (await secrets.get(*STORAGE)).version == "uid.1"


async def test_a_first_read_that_fails_is_tried_again_but_not_one_that_is_forbidden(
    secrets: Secrets, server: Server
) -> None:
    server.fails = 500
    with pytest.raises(ClusterError):
        await secrets.get(*STORAGE)
    server.fails = 403
    assert await secrets.get(*STORAGE) == Secret()


async def test_what_nobody_uses_is_forgotten(secrets: Secrets) -> None:
    await secrets.get(*STORAGE)
    assert await secrets.changed([]) == set()
    assert secrets.known("prices", URL) is None
