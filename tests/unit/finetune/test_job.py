from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.errors import SettingsError
from pricecast_core.news import dataset, prompt, titles
from pricecast_core.news.evaluation import Scores
from pricecast_core.settings import FinetuneSettings
from pricecast_core.settings.finetune import SEVEN_PROJECTIONS
from pricecast_core.settings.news_signal import DEFAULT_COINS
from pricecast_finetune import answers, card, models, progress, source, training


def scores(f1: float) -> Scores:
    return Scores(f1, f1, f1, {"-1": f1, "0": f1, "1": f1}, f1, 1.0, 10)


def test_the_package_is_imported_without_torch() -> None:
    code = (
        "import sys; import pricecast_finetune.main; "
        "heavy = {'torch', 'transformers', 'trl', 'peft', 'datasets', 'unsloth', 'comet_ml'}; "
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_dataset_of_the_package_has_all_kinds_of_headlines_and_none_twice(tmp_path: Path) -> None:
    examples = source.load(FinetuneSettings(), tmp_path)
    assert len({titles.template(example.headline) for example in examples}) == len(examples) > 800
    found = [signal for example in examples for signal in example.signals.values()]
    assert all(found.count(signal) > 300 for signal in (-1, 1))
    assert 0 in found
    assert sum(not example.signals for example in examples) > 80
    assert {coin for example in examples for coin in example.signals} == set(DEFAULT_COINS)


def test_every_answer_of_the_package_is_inside_the_schema_and_names_its_teacher() -> None:
    text = resources.files("pricecast_finetune").joinpath("data", source.OWN).read_bytes()
    for line in (msgspec.json.decode(line, type=dataset.Line) for line in text.splitlines()):
        signals = prompt.parse(line.output, DEFAULT_COINS).news_signals
        assert line.output == prompt.render({item.coin: item.signal for item in signals})
        assert line.teacher_model_name == "claude"


def test_a_dataset_is_read_from_where_the_settings_say(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps({"input": "Bitcoin", "output": '{"news_signals":[{"coin":"BTC","signal":1}]}'}))
    assert source.load(FinetuneSettings(dataset=str(path)), tmp_path) == [dataset.Example("Bitcoin", {"BTC": 1})]
    with pytest.raises(SettingsError, match="absent"):
        source.load(FinetuneSettings(dataset=str(tmp_path / "absent.jsonl")), tmp_path)


def test_a_row_asks_as_serving_asks_and_answers_as_serving_accepts() -> None:
    coins = ["BTC", "ETH"]
    (row,) = training.rows([dataset.Example("Ether falls", {"ETH": -1, "BTC": 1})], coins, 0, 7)
    assert row["prompt"] == prompt.messages("Ether falls", coins)
    (answer,) = row["completion"]
    assert [(item.coin, item.signal) for item in prompt.parse(answer["content"], coins).news_signals] == [
        ("BTC", 1),
        ("ETH", -1),
    ]


def test_a_share_of_the_headlines_comes_once_more_without_the_guess_and_always_the_same_ones() -> None:
    coins = ["BTC", "ETH"]
    examples = [dataset.Example(f"Ether falls {number}%", {"ETH": -1}) for number in range(400)]
    rows = training.rows(examples, coins, 0.25, 7)
    assert [row["prompt"] for row in rows[:400]] == [prompt.messages(each.headline, coins) for each in examples]
    assert 60 < len(rows[400:]) < 140
    bare = [prompt.messages(each.headline, coins, guess=False) for each in examples]
    assert all(row["prompt"] in bare for row in rows[400:])
    assert bare[0][1]["content"] == examples[0].headline
    assert rows == training.rows(examples, coins, 0.25, 7)
    assert len(training.rows(examples, coins, 1, 7)) == 800


def test_unsloth_trains_with_the_same_arguments_but_for_its_optimizer_and_its_loss() -> None:
    settings = FinetuneSettings(max_steps=7, batch_size=3, learning_rate=3e-4, seed=11, lora_rank=8, lora_alpha=32)
    ours = training.arguments(settings, cuda=True, unsloth=False, bf16=True)
    theirs = training.arguments(settings, cuda=True, unsloth=True, bf16=True)
    assert {name for name in ours if ours[name] != theirs[name]} == {"optim", "loss_type"}
    assert ours.keys() == theirs.keys()
    assert (ours["max_steps"], ours["per_device_train_batch_size"], ours["seed"]) == (7, 3, 11)
    assert ours["completion_only_loss"]
    assert models.adapters(settings)["r"] == 8
    assert tuple(models.adapters(settings)["target_modules"]) == SEVEN_PROJECTIONS


@pytest.mark.parametrize(("cuda", "bf16"), [(False, False), (False, True), (True, False), (True, True)])
def test_the_number_format_fits_the_device(cuda: bool, bf16: bool) -> None:
    found = training.arguments(FinetuneSettings(), cuda=cuda, unsloth=False, bf16=bf16)
    assert (found["bf16"], found["fp16"], found["use_cpu"]) == (cuda and bf16, cuda and not bf16, not cuda)


def test_the_newest_whole_checkpoint_is_taken_and_torn_ones_are_deleted(tmp_path: Path) -> None:
    assert training.newest_checkpoint(tmp_path) is None
    for step, state in ((5, '{"global_step": 5}'), (10, '{"global_step": 10}'), (15, '{"glob'), (20, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / training.STATE).write_text(state)
    assert training.newest_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-5"]


def test_a_job_started_again_after_its_training_still_tells_how_far_that_came(tmp_path: Path) -> None:
    assert training.reached(tmp_path) == {}
    folder = tmp_path / "checkpoint-30"
    folder.mkdir()
    state = {"global_step": 30, "max_steps": 30, "log_history": [{"loss": 2.5}, {"loss": 1.41234567}, {"runtime": 1}]}
    (folder / training.STATE).write_text(json.dumps(state))
    told = progress.Progress("job", tmp_path, tmp_path / "absent")
    told.update(phase="Merging", **training.reached(tmp_path))
    record = json.loads((tmp_path / progress.FILE).read_text())
    assert (record["step"], record["total_steps"], record["loss"]) == (30, 30, 1.41235)


def test_progress_is_one_record_in_the_file_in_readyz_and_at_the_end_for_kubernetes(tmp_path: Path) -> None:
    termination = tmp_path / "termination-log"
    termination.touch()
    told = progress.Progress("job", tmp_path / "out", termination)
    told.update(
        phase="Training", step=3, total_steps=10, loss=1.5, eta_seconds=70, before=progress.Brief.of(scores(0.2))
    )
    record = json.loads((tmp_path / "out" / progress.FILE).read_text())
    assert record == told.as_dict()
    assert (record["total_steps"], record["eta_seconds"]) == (10, 70)
    assert record["before"] == {"f1": 0.2, "exact_match": 0.2, "valid": 1.0}
    assert termination.read_text() == ""
    told.finish("Failed", "F1TooLow", "x" * 10_000)
    assert termination.stat().st_size <= progress.MAX_TERMINATION_BYTES
    assert json.loads(termination.read_text())["reason"] == "F1TooLow"


def test_a_machine_without_a_termination_log_is_fine(tmp_path: Path) -> None:
    progress.Progress("job", tmp_path, tmp_path / "absent").finish("Complete", "Trained", "done")
    assert not (tmp_path / "absent").exists()


def test_the_time_left_is_estimated_from_this_runs_steps() -> None:
    clock = progress.Clock(50)
    assert clock.eta(50, 100) is None
    assert clock.eta(60, 100) == 0  # ten steps took no time at all


@pytest.mark.parametrize(
    ("text", "over"),
    [
        ("", False),
        (" ", False),
        ('{"news_', False),
        ('{"news_signals":[{"coin":"BTC","signal":1}', False),
        ('{"news_signals":[]}', True),
        ('{"news_signals":[]} and', True),
        ("Sure! ", True),
    ],
)
def test_an_answer_is_over_once_nothing_can_make_it_valid_or_better(text: str, over: bool) -> None:
    assert answers.is_over(text) is over


@given(st.dictionaries(st.sampled_from(DEFAULT_COINS), st.sampled_from([-1, 0, 1])))
def test_a_right_answer_is_cut_off_at_its_end_and_not_before(signals: dict[str, int]) -> None:
    text = prompt.render(signals)  # type: ignore[arg-type]
    assert [answers.is_over(text[:end]) for end in range(1, len(text) + 1)] == [False] * (len(text) - 1) + [True]
    assert answers.parse(text, DEFAULT_COINS) == signals


def test_the_card_shows_every_reader() -> None:
    text = card.render(
        FinetuneSettings(),
        version="v1",
        trained_on=100,
        held_out=20,
        scores=[("base", scores(0.1)), ("lexicon", scores(0.5)), ("tuned", scores(0.7))],
        trained_with="tests",
    )
    assert text.startswith("---\nbase_model: ")
    assert "| tuned | 0.700 |" in text
    assert "20 held-out" in text
