"""The feature store's contract on Hopsworks: the real client against a stand-in for its servers, on a real broker."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from pricecast_core.errors import SettingsError, StoreError
from pricecast_core.settings.to_feature_store import FeatureStoreSettings
from pricecast_core.stores.features import FeatureGroup, FeatureStore
from pricecast_core.stores.features_hopsworks import HopsworksFeatureStore, stored_name
from pricecast_core.stores.hopsworks import HopsworksAccess
from pricecast_core.stores.open import open_feature_store
from tests.contracts.features import GROUP, FeatureStoreContract, OpenStore, a_row
from tests.doubles.hopsworks import HopsworksDouble

CANARY = "canary.Zm9yIHRoZSBrZXk"
pytestmark = pytest.mark.xdist_group("hopsworks")


@pytest.fixture
def hopsworks(brokers: str) -> Iterator[HopsworksDouble]:
    with HopsworksDouble(brokers, api_key=CANARY) as double:
        yield double
    assert double.unknown == []


@pytest.fixture
def access(hopsworks: HopsworksDouble) -> HopsworksAccess:
    return HopsworksAccess(hopsworks.host, hopsworks.port, "pricecast", CANARY, hopsworks.authority.pem)


@pytest.fixture
def open_store(access: HopsworksAccess) -> Iterator[OpenStore]:
    stores: list[FeatureStore] = []

    def open_one() -> FeatureStore:
        stores.append(HopsworksFeatureStore(access))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


class TestHopsworksOnline(FeatureStoreContract):
    """Rows are read before the materialization job has run."""


class TestHopsworksOffline(FeatureStoreContract):
    """Rows are read after it."""

    @pytest.fixture(autouse=True)
    def materialised(self, hopsworks: HopsworksDouble) -> None:
        hopsworks.storage.materialise_at_once = True


def test_rows_offline_and_not_yet_offline_are_read_as_one(open_store: OpenStore, hopsworks: HopsworksDouble) -> None:
    store = open_store()
    store.ensure(GROUP)
    store.write(GROUP, [a_row(minute) for minute in range(4)])
    hopsworks.materialise()
    store.write(GROUP, [a_row(3, rsi_14=70.0), a_row(4)])
    frame = store.read(GROUP.name, entities=["BTC/USD"])
    assert frame["trade_count"].to_list() == [0, 1, 2, 3, 4]
    assert frame["rsi_14"].to_list()[3] == 70.0
    assert [schedule["cronExpression"].split()[2:] for schedule in hopsworks.schedules.values()] == [
        ["0/1", "?", "*", "*", "*"]
    ]


def test_another_type_or_key_is_refused_by_name(open_store: OpenStore) -> None:
    store = open_store()
    store.ensure(GROUP)
    other = FeatureGroup(GROUP.name, GROUP.primary_key, "pair", "window_end_ms", {**GROUP.columns, "obv": int})
    with pytest.raises(StoreError, match=r"column 'obv' is double in Hopsworks, not bigint.*another name"):
        store.ensure(other)
    without = FeatureGroup(GROUP.name, ("pair", "window_end_ms"), "pair", "window_end_ms", GROUP.columns)
    with pytest.raises(StoreError, match=r"has the key .*candle_seconds.* in Hopsworks"):
        store.ensure(without)


def test_rows_that_the_online_store_refuses_are_an_error(open_store: OpenStore, hopsworks: HopsworksDouble) -> None:
    store = open_store()
    store.ensure(GROUP)
    hopsworks.storage.refuse_rows = True
    with pytest.raises(StoreError, match="the online store refused 2 rows"):
        store.write(GROUP, [a_row(1), a_row(2)])


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "HOPSWORKS_API_KEY"), (403, "scopes"), (429, "quota"), (503, "can be reached")]
)
def test_a_refusal_says_what_to_do(open_store: OpenStore, hopsworks: HopsworksDouble, status: int, remedy: str) -> None:
    store = open_store()
    hopsworks.refusals = [(status, {"errorCode": 1, "errorMsg": f"no, {CANARY}", "usrMsg": "no"})] * 3
    with pytest.raises(StoreError, match=remedy) as caught:
        store.ensure(GROUP)
    assert CANARY not in str(caught.value)
    hopsworks.refusals = []
    store.ensure(GROUP)  # and goes on as soon as it is mended


def test_a_server_that_another_authority_vouches_for_is_not_talked_to(access: HopsworksAccess) -> None:
    store = HopsworksFeatureStore(HopsworksAccess(access.host, access.port, access.project, CANARY))
    with pytest.raises(StoreError, match="set HOPSWORKS_CA"):
        store.ensure(GROUP)


def test_nothing_is_asked_printed_or_left_behind(
    access: HopsworksAccess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for variable in ("HOME", "TMPDIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
        (tmp_path / variable).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "TMPDIR"))
    monkeypatch.chdir(tmp_path / "HOME")
    monkeypatch.setenv("HOPSWORKS_HOSTNAME_VERIFICATION", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = HopsworksFeatureStore(access)
        store.ensure(GROUP)
        store.write(GROUP, [a_row(1)])
        assert store.read(GROUP.name).height == 1
        assert [path.name for path in (tmp_path / "TMPDIR").rglob("client_key.pem")] == ["client_key.pem"]
        store.close()
    assert list(tmp_path.rglob("*")) == [tmp_path / "HOME", tmp_path / "TMPDIR"]
    printed = capfd.readouterr()
    assert CANARY not in printed.out + printed.err
    assert "Uploading" not in printed.err


def test_a_long_name_is_shortened_and_stays_its_own() -> None:
    names = [f"{'n' * 40}_{'p' * 40}_{group}" for group in ("technical_indicators", "news_signals")]
    stored = [stored_name(name) for name in names]
    assert all(len(name) == 63 for name in stored)
    assert len(set(stored)) == 2
    assert stored_name("btc_news_signals") == "btc_news_signals"


def test_the_settings_choose_hopsworks_and_name_what_is_missing(hopsworks: HopsworksDouble) -> None:
    given = {"hopsworks_host": hopsworks.host, "hopsworks_port": hopsworks.port, "hopsworks_project": "pricecast"}
    with pytest.raises(SettingsError, match="HOPSWORKS_API_KEY"):
        open_feature_store(FeatureStoreSettings(pipeline="btc", feature_store="hopsworks", **given))
    settings = FeatureStoreSettings(
        pipeline="btc",
        feature_store="hopsworks",
        hopsworks_api_key=CANARY,
        hopsworks_ca=hopsworks.authority.pem,
        **given,
    )
    assert CANARY not in repr(settings) + json.dumps(settings.document())
    store = open_feature_store(settings)
    store.ensure(GROUP)
    store.close()
