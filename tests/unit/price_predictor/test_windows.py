from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_price_predictor.windows import Windows, decayed_means, lag, whole_sum

FLOATS = st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=120)


@given(FLOATS, st.integers(1, 60))
def test_a_window_has_the_sum_of_its_rows(values: list[float], rows: int) -> None:
    series = np.array(values)
    sums = Windows(series).sum(rows)
    for end in range(len(series)):
        if end + 1 < rows:
            assert np.isnan(sums[end])
        else:
            part = series[end + 1 - rows : end + 1]
            assert sums[end] == pytest.approx(part.sum(), rel=1e-9, abs=1e-6)


@given(FLOATS, st.integers(1, 60), st.data())
def test_the_bits_do_not_depend_on_where_the_data_begins(values: list[float], rows: int, data: st.DataObject) -> None:
    series = np.array(values)
    start = data.draw(st.integers(0, max(0, len(series) - rows)))
    whole, part = Windows(series).sum(rows), Windows(series[start:]).sum(rows)
    np.testing.assert_array_equal(whole[start + rows - 1 :], part[rows - 1 :])


@given(FLOATS, st.integers(1, 60), st.integers(0, 130), st.data())
def test_the_last_rows_alone_have_the_bits_of_all(
    values: list[float], rows: int, ago: int, data: st.DataObject
) -> None:
    series = np.array(values)
    last = data.draw(st.integers(1, len(series)))
    several = np.stack([series, -series])
    np.testing.assert_array_equal(Windows(several, last).sum(rows)[1], -Windows(series).sum(rows)[-last:])
    np.testing.assert_array_equal(lag(several, ago, last)[0], lag(series, ago)[-last:])
    assert np.array_equal(whole_sum(several)[0], Windows(series).sum(len(series))[-1])
    for one, alone in zip(decayed_means(series, (1, 3), last), (1, 3), strict=True):
        np.testing.assert_array_equal(one, decayed_means(series, (alone,))[0][-last:])


def test_a_nan_spoils_only_the_windows_that_hold_it() -> None:
    series = np.arange(10.0)
    series[4] = np.nan
    assert np.flatnonzero(np.isnan(Windows(series).sum(3))).tolist() == [0, 1, 4, 5, 6]


def test_a_lag_looks_back() -> None:
    assert lag(np.arange(3.0), 1)[1:].tolist() == [0.0, 1.0]
    assert np.isnan(lag(np.arange(3.0), 5)).all()


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(ValueError, match="rows: 0"):
        Windows(np.arange(3.0)).sum(0)
