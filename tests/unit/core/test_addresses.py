"""Where servers are, and refusals that name the field and repeat no secret."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.addresses import Address, of_brokers, of_url
from pricecast_core.errors import SettingsError
from pricecast_core.stores.sql import parse_url

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://api.kraken.com", Address("api.kraken.com", 443)),
        ("http://es:9200/path", Address("es", 9200)),
        ("http://user:word@es:9200/path", Address("es", 9200)),
        ("http://[::1]:9200", Address("::1", 9200)),
        ("http://[2001:db8::7]/x", Address("2001:db8::7", 80)),
    ],
)
def test_addresses_of_urls(url: str, address: Address) -> None:
    assert of_url(url, "storage.predictions.url") == address


@pytest.mark.parametrize(
    "url",
    ["http://es:abc", "http://u:secret/word@es", "http://[::1", "http://es:0", "http://es:70000", "es:9200", "http://",
     "ftp://es", "http://a b"],
)  # fmt: skip
def test_what_is_no_url_is_refused_by_its_field_without_being_repeated(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^storage\.predictions\.url: ") as refused:
        of_url(url, "storage.predictions.url")
    assert "secret" not in str(refused.value)


def test_addresses_of_brokers_each_once() -> None:
    assert of_brokers("a:1, B:2,[::1]:3,a:1,b:2", "brokers") == (Address("a", 1), Address("b", 2), Address("::1", 3))


@pytest.mark.parametrize("brokers", ["", "a", "a:", ":1", "a:x", "a:1,", "::1:9092", "[a]b:1", "a:0", "a:65536"])
def test_what_is_no_broker_is_refused(brokers: str) -> None:
    with pytest.raises(SettingsError, match=r"^spec\.storage\.kafka\.brokers: "):
        of_brokers(brokers, "spec.storage.kafka.brokers")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@host:abc/db",
        "postgresql://u:hun@ter2@host/db",
        "postgresql://u/hunter2:x@host/db",
        "postgresql://u:hunter2@host:99999/db",
        "mysql://u:hunter2@host/db",
        "host:hunter2",
    ],
)
def test_what_is_no_database_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^store URL: ") as refused:
        parse_url(url)
    for part in ("hunter2", "ter2", "hun@"):
        assert part not in str(refused.value)


def test_a_slash_in_a_password_and_an_ipv6_host_are_read() -> None:
    parsed = parse_url("postgresql://u:p/w@[::1]:6000/db")
    assert (parsed.password, parsed.host, parsed.port) == ("p/w", "::1", 6000)


@given(TEXT)
def test_nothing_but_a_refusal_comes_of_any_text(text: str) -> None:
    for read in (lambda: of_url(f"http://{text}", "f"), lambda: of_brokers(text, "f"), lambda: parse_url(text)):
        with contextlib.suppress(SettingsError):
            read()
