from __future__ import annotations

import pytest

from pricecast_core.errors import SourceError
from pricecast_news.cryptopanic import CryptoPanic
from pricecast_news.intake import backoff
from pricecast_news.seen import Seen
from tests.doubles.cryptopanic import CryptoPanicDouble


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [
        ("0", 1, 1.1),
        ("1800", 1800, 1980),
        ("400000000", 3600, 3960),
        ("99999999999", 3600, 3960),
        ("9" * 400, 3600, 3960),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600, 3960),
    ],
)
def test_a_source_is_left_alone_as_long_as_it_asks_for_but_not_for_ever(
    retry_after: str, least: float, most: float
) -> None:
    with CryptoPanicDouble() as api:
        api.failures = [(429, {"Retry-After": retry_after})]
        with pytest.raises(SourceError) as caught:
            list(CryptoPanic(api.url, api.key, [], Seen().is_new).read())
    assert least <= backoff(caught.value, 1, 10.0) <= most
