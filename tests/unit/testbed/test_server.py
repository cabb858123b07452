"""Servers keep their ports while they are down."""

from __future__ import annotations

from pathlib import Path

import pytest

from pricecast_testbed import cache, server


@pytest.fixture(autouse=True)
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> range:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(server, "_PORTS", few := range(19_500, 19_504))
    return few


def test_a_port_that_nobody_listens_on_yet_is_given_once(ports: range) -> None:
    given = {server.free_port() for _ in ports}
    assert given == set(ports)
    with pytest.raises(server.TestbedError, match="no port of 19500 to 19503 is free"):
        server.free_port()


def test_what_is_kept_is_kept_once() -> None:
    assert cache.kept("thing")
    assert not cache.kept("thing")
