from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.errors import BadMessageError
from pricecast_news import times

NOW = datetime(2024, 6, 4, 18, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2024-06-04T10:00:00Z", "10:00"),
        ("2024-06-04T10:00:00+02:00", "08:00"),
        ("2024-06-04 10:00:00", "10:00"),
        ("20240604T101500Z", "10:15"),
        ("Tue, 04 Jun 2024 12:00:00 GMT", "12:00"),
        ("Tue, 4 Jun 24 12:00 +0530", "06:30"),
        ("Tue, 04 Jun 2024 12:00:00 +0200 (CEST)", "10:00"),
        ("Tue, 04 Jun 2024 12:00:00 GMT+02:00", "10:00"),
        ("Tue, 04 Jun 2024 12:00:00 UTC-3", "15:00"),
        ("June 4, 2024 01:15 PM EDT", "17:15"),
        ("Tue Jun  4 12:00:00 2024", "12:00"),
        ("Tue Jun  4 12:00:00 CEST 2024", "10:00"),
        ("Tue, 04 Jun 2024 12:00:00 CEST", "10:00"),
        ("Tue, 04 Jun 2024 12:00:00 JST", "03:00"),
        ("Tue, 04 Jun 2024 12:00:00 BRT", "15:00"),
        ("Tue, 04 Jun 2024 12:00:00 hst", "22:00"),
        ("Tue, 04 Jun 2024 12:00:00 Etc/UTC", "12:00"),
        ("Tue, 04 Jun 2024 12:00:00", "12:00"),
        ("Tue, 04 Jun 2024 12:00:00 Europe/Berlin", "10:00"),
        ("Tue, 04 Jun 2024 12:00:00 America/New_York", "16:00"),
        ("Tue, 04 Jun 2024 01:00:00 PM america/new york", "17:00"),
        ("June 4, 2024, 12:00 Asia/Kolkata", "06:30"),
        ("2024-06-04 12:00:00 Europe/Berlin", "10:00"),
        ("2024-06-04T12:00:00[Asia/Tokyo]", "03:00"),
        ("2024-06-04T12:00:00+02:00[Europe/Berlin]", "10:00"),
        ("2024-06-04 12:00:00 CEST", "10:00"),
        ("2024-06-04 12:00:00 +0200", "10:00"),
        ("Tue, 04 Jun 2024 12:00:00 Etc/GMT+5", "17:00"),  # POSIX' sign: west of UTC
        ("Tue, 04 Jun 2024 12:00:00 Japan", "03:00"),
        ("Tue, 04 Jun 2024 12:00:00 (HST)", "22:00"),
        ("Tue, 04 Jun 2024 12:00:00 (Europe/Berlin)", "10:00"),
    ],
)
def test_times_are_read_in_utc(text: str, hour: str) -> None:
    assert f"{times.parse(text, NOW):%Y-%m-%d %H:%M}" == f"2024-06-04 {hour}"


@pytest.mark.parametrize(
    "zone", ["AMT", "ECT", "WST", "A", "M", "Mars", "GMT CEST", "+02:00x", "Europe/Mars", "Berlin", "(MARS)"]
)
def test_a_zone_that_is_not_known_is_refused_and_not_taken_for_utc(zone: str) -> None:
    with pytest.raises(BadMessageError):
        times.parse(f"Tue, 04 Jun 2024 12:00:00 {zone}", NOW)


def test_of_a_zone_name_with_several_readings_the_one_that_is_never_too_early_counts() -> None:
    table = tomllib.loads(resources.files("pricecast_news").joinpath("zones.toml").read_text("utf-8"))
    too_early = {
        name
        for name, others in table["other_readings"].items()
        for other in others
        if times.parse(f"Tue, 04 Jun 2024 12:00:00 {name}", NOW) < datetime.fromisoformat(f"2024-06-04T12:00:00{other}")
    }
    assert too_early == {"IST"}  # the exception that the table names


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("Sun, 27 Oct 2024 02:30:00 Europe/Berlin", "2024-10-27 01:30"),  # there twice
        ("Sun, 31 Mar 2024 02:30:00 Europe/Berlin", "2024-03-31 01:30"),  # left out
        ("Mon, 15 Jan 2024 12:00:00 America/New_York", "2024-01-15 17:00"),
    ],
)
def test_of_an_hour_that_a_change_of_the_clocks_touches_the_later_reading_counts(text: str, utc: str) -> None:
    assert f"{times.parse(text, NOW):%Y-%m-%d %H:%M}" == utc


def test_a_day_of_a_zone_counts_from_its_end_there() -> None:
    assert times.parse("Sun, 02 Jun 2024 Pacific/Honolulu", NOW) == datetime(2024, 6, 3, 9, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2024-06-03", "Mon, 03 Jun 2024", "20240603"])
def test_a_day_without_a_time_counts_from_its_end(text: str) -> None:
    assert times.parse(text, NOW) == datetime(2024, 6, 3, 23, 59, 59, tzinfo=UTC)


def test_today_without_a_time_counts_from_now() -> None:
    assert times.parse("2024-06-04", NOW) == NOW


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "31 Feb 2024 10:00 GMT",
        "2024-13-01",
        "04 Jun 2024 25:00 GMT",
        "١٢",
        "2024-06-04 12:00:00 +2400",
        "Tue, 04 Jun 2024 12:00:00 +9999",
        "Tue, 04 Jun 2024 12:00:00 GMT-99:00",
        "Tue, 04 Jun 2024 12:00:00 (UTC+24)",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadMessageError):
        times.parse(text, NOW)


@given(
    st.one_of(
        st.text(max_size=60),
        st.from_regex(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{2,5} \d{1,3}:\d{2}:\d{2} ?[-+A-Za-z0-9: ]{0,8}"),
        st.builds(
            "{:%a, %d %b %Y %H:%M:%S} {}".format,
            st.datetimes(),
            st.sampled_from(
                ["Europe/Berlin", "America/New_York", "Pacific/Apia", "Etc/GMT+12", "(CEST)", "[Asia/Tokyo]"]
            ),
        ),
        st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?[-+Z]?\d{0,2}:?\d{0,2}"),
    )
)
def test_whatever_a_publisher_writes_is_a_time_in_utc_or_refused(text: str) -> None:
    try:
        parsed = times.parse(text, NOW)
    except BadMessageError:
        return
    assert parsed.tzinfo is UTC
