from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.errors import SettingsError
from pricecast_core.news import dataset, titles
from pricecast_core.news.evaluation import score

_signals = st.dictionaries(st.sampled_from(["BTC", "ETH", "SOL"]), st.sampled_from([-1, 0, 1]))


def test_f1_counts_pairs_of_coin_and_signal_over_all_headlines() -> None:
    scores = score(
        [
            ({"BTC": 1, "ETH": -1}, {"BTC": 1, "ETH": 1}),  # one hit, one wrong sign
            ({"BTC": 1}, None),  # no valid answer
            ({}, {}),
            ({}, {"SOL": 1}),  # one too many
        ],
        seconds=2.0,
    )
    assert scores.f1 == pytest.approx(2 * 1 / (3 + 3), abs=1e-4)
    assert scores.precision == pytest.approx(1 / 3, abs=1e-4)
    assert scores.recall == pytest.approx(1 / 3, abs=1e-4)
    assert scores.f1_by_signal == {"-1": 0.0, "0": 1.0, "1": 0.4}
    assert scores.exact_match == 0.25
    assert scores.valid == 0.75
    assert scores.headlines_per_second == 2.0


@given(st.lists(_signals, min_size=1, max_size=20))
def test_a_perfect_reader_scores_one(answers: list[dict[str, int]]) -> None:
    scores = score((answer, answer) for answer in answers)  # type: ignore[misc]
    assert (scores.f1, scores.exact_match, scores.valid) == (1.0, 1.0, 1.0)


@given(st.lists(st.tuples(_signals, st.none() | _signals), max_size=20))
def test_scores_lie_between_nothing_and_all(results: list[tuple[dict[str, int], dict[str, int] | None]]) -> None:
    scores = score(results)  # type: ignore[arg-type]
    for value in (scores.f1, scores.precision, scores.recall, scores.exact_match, scores.valid):
        assert 0 <= value <= 1


def line(headline: str, **signals: int) -> str:
    output = {"news_signals": [{"coin": coin, "signal": signal} for coin, signal in signals.items()]}
    return json.dumps({"instruction": "", "input": headline, "output": json.dumps(output), "teacher_model_name": "t"})


def test_labels_of_other_coins_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(line("A", BTC=1, PEPE=-1) + "\n\n" + line("B") + "\n")
    assert dataset.load(path, ["BTC"]) == [dataset.Example("A", {"BTC": 1}), dataset.Example("B", {})]


@pytest.mark.parametrize("bad", ["not json", '{"input": "A"}', '{"input": "A", "output": "no"}'])
def test_a_bad_line_is_named(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(line("A") + "\n" + bad + "\n")
    with pytest.raises(SettingsError, match=r"d\.jsonl:2"):
        dataset.load(path, ["BTC"])


def test_an_empty_or_absent_file_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text("\n")
    for name in ("d.jsonl", "absent.jsonl"):
        with pytest.raises(SettingsError, match="data"):
            dataset.load(tmp_path / name, ["BTC"])


_headlines = st.lists(
    st.sampled_from(["Bitcoin up {n}%", "  bitcoin UP {n} %!", "Ether down", "🚀", "{n}"]), max_size=8
)


@given(_headlines, st.integers(0, 99), st.floats(0.05, 0.95), st.integers(0, 5))
def test_no_headline_is_on_both_sides_not_even_in_other_numbers(
    patterns: list[str], number: int, held_out: float, seed: int
) -> None:
    examples = [dataset.Example(text.format(n=number + index), {}) for index, text in enumerate(patterns)]
    training, held = dataset.split(examples, held_out, seed)
    assert len(training) + len(held) == len(examples)
    assert not {titles.template(e.headline) for e in training} & {titles.template(e.headline) for e in held}


@given(st.lists(st.text(min_size=1, max_size=20), max_size=20), st.text(min_size=1, max_size=20))
def test_another_example_moves_none_to_the_other_side(headlines: list[str], another: str) -> None:
    examples = [dataset.Example(headline, {}) for headline in headlines]
    _, held = dataset.split(examples, 0.5)
    _, held_with_another = dataset.split([*examples, dataset.Example(another, {})], 0.5)
    assert held_with_another[: len(held)] == held


def test_about_the_share_asked_for_is_held_out() -> None:
    examples = [
        dataset.Example(f"headline {chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}", {})
        for i in range(2_000)
    ]
    _, held = dataset.split(examples, 0.2)
    assert 0.17 < len(held) / len(examples) < 0.23
