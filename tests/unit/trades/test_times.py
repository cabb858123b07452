"""Points in time as people write them."""

from __future__ import annotations

import pytest

from pricecast_core.errors import SettingsError
from pricecast_trades import times

NOW_MS = 1_750_000_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", NOW_MS),
        ("90s", NOW_MS - 90_000),
        ("30m", NOW_MS - 1_800_000),
        ("12h", NOW_MS - 43_200_000),
        ("7d", NOW_MS - 604_800_000),
        ("1.5d", NOW_MS - 129_600_000),
        ("2w", NOW_MS - 1_209_600_000),
        ("2025-01-01T00:00:00Z", 1_735_689_600_000),
        ("2025-01-01T01:00:00+01:00", 1_735_689_600_000),
        ("2025-01-01", 1_735_689_600_000),
    ],
)
def test_a_time_is_an_age_or_iso(text: str, expected: int) -> None:
    assert times.parse("since", text, NOW_MS) == expected


@pytest.mark.parametrize("text", ["yesterday", "7", "d", "-3d", "2025-13-01", "2099-01-01T00:00:00Z"])
def test_anything_else_is_a_mistake(text: str) -> None:
    with pytest.raises(SettingsError, match="since: "):
        times.parse("since", text, NOW_MS)
