"""Kraken's own client is an extra: without it everything else works, and v1 says what to install."""

from __future__ import annotations

import sys

import pytest

from pricecast_core.errors import SettingsError
from pricecast_core.service import Stop
from pricecast_core.settings import TradesSettings
from pricecast_trades.exchanges import connect, kraken

V1 = "pricecast_trades.exchanges.kraken.websocket_v1"


def test_without_the_extra_only_v1_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kraken_wsclient_py.kraken_wsclient_py", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, V1, raising=False)
    monkeypatch.delattr(kraken, "websocket_v1", raising=False)
    connect(TradesSettings(pipeline="t", pairs=["BTC/USD"]), Stop()).feed()
    with pytest.raises(SettingsError, match=r"pricecast-trades\[kraken-v1\]"):
        connect(TradesSettings(pipeline="t", pairs=["BTC/USD"], kraken_websocket="v1"), Stop()).feed()
