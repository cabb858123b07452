"""Manifests: what is read, and how mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pricecast_resources.manifest import ManifestError, load_manifest, load_resources

GOOD = """\
apiVersion: pricecast.dev/v1alpha1
kind: PricePipeline
metadata:
  name: btc
spec:
  pairs: [BTC/USD]
  candles:
    seconds: 60
"""
MANIFESTS = sorted((Path(__file__).parents[3] / "manifests").glob("pipeline-*.yaml"))


def written(folder: Path, text: str) -> Path:
    file = folder / "pipeline.yaml"
    file.write_text(text)
    return file


def refused(folder: Path, text: str) -> str:
    file = written(folder, text)
    with pytest.raises(ManifestError) as error:
        load_manifest(file)
    return str(error.value).replace(str(file), "pipeline.yaml")


def test_a_pipeline_is_read_with_its_defaults(tmp_path: Path) -> None:
    manifest = load_manifest(written(tmp_path, GOOD))
    assert (manifest.name, manifest.spec.pairs, manifest.spec.prediction.horizons_seconds) == (
        "btc",
        ["BTC/USD"],
        [300],
    )


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_the_projects_own_manifests_are_valid(file: Path) -> None:
    load_manifest(file)


def test_other_resources_beside_the_pipeline_are_passed_over(tmp_path: Path) -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: key}\n---\n"
    assert load_manifest(written(tmp_path, secret + GOOD)).name == "btc"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("seconds: 60", "seconds: 0", "pipeline.yaml:8: spec.candles.seconds: 0: should be greater than or equal to 1"),
        ("seconds: 60", "second: 60", "pipeline.yaml:8: spec.candles.second: is not a field; did you mean seconds?"),
        ("[BTC/USD]", "[BTC-USD]", "pipeline.yaml:6: spec.pairs[0]: 'BTC-USD': should"),
        (
            "pairs: [BTC/USD]",
            "suspend: false",
            "pipeline.yaml:5: spec.pairs: is missing; give it a value (Pairs to predict; 64 share a predictor.)",
        ),
        ("name: btc", "name: BTC", "pipeline.yaml:4: metadata.name: 'BTC': write at most 40 of a-z, 0-9 and -"),
        ("v1alpha1", "v1", "pipeline.yaml:1: apiVersion: 'pricecast.dev/v1': write apiVersion: pricecast.dev/v1alpha1"),
        (
            "  candles:",
            "  training: {lookback: 3w}\n  candles:",
            "spec.training.lookback: '3w': should look like 30s or 5m",
        ),
        ("  candles:", "  pairs: [ETH/USD]\n  candles:", "pipeline.yaml:7: pairs: is given twice; keep one"),
        ("PricePipeline", "Deployment", "kind: holds Deployment; give a file with one resource of kind: PricePipeline"),
    ],
)
def test_a_mistake_is_told_with_its_line_field_value_and_remedy(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in GOOD
    assert expected in refused(tmp_path, GOOD.replace(old, new))


def test_all_mistakes_are_told_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    text = GOOD.replace("seconds: 60", "seconds: x").replace("name: btc", "name: B").replace("BTC/USD", "btc")
    lines = [int(line.split(":")[1]) for line in refused(tmp_path, text).splitlines()]
    assert lines == [4, 6, 8]


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [", "\0", GOOD + "---\n" + GOOD])
def test_what_is_no_single_pipeline_is_refused_with_the_files_name(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text).startswith("pipeline.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"nowhere\.yaml: can't be read: No such file"):
        load_manifest(tmp_path / "nowhere.yaml")


def test_all_kinds_in_a_file_are_checked(tmp_path: Path) -> None:
    job = "---\napiVersion: pricecast.dev/v1alpha1\nkind: FinetuneJob\nmetadata: {name: news.v2}\nspec: {dataset: {hub: {name: a/b}}}\n"
    with pytest.raises(ManifestError, match=r":12: metadata\.name: 'news\.v2': write at most 52"):
        load_resources(written(tmp_path, GOOD + job))
    found = load_resources(written(tmp_path, GOOD + job.replace("news.v2", "news-v2")))
    assert [(resource.kind.name, resource.name) for resource in found] == [
        ("PricePipeline", "btc"),
        ("FinetuneJob", "news-v2"),
    ]


@pytest.mark.parametrize("text", ["y", "Y", "n", "N", "yes", "Off", "true"])
@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("spec:", "spec:\n  news: {archive: {location: a.csv}, coins: [BTC, TEXT]}", "spec.news.coins[1]"),
        ("name: btc", "name: TEXT", "metadata.name"),
        ("name: btc", "name: btc\n  labels: {team: TEXT}", "metadata.labels.team"),
    ],
)
def test_text_that_yaml_reads_as_a_boolean_is_to_be_quoted(
    tmp_path: Path, text: str, old: str, new: str, field: str
) -> None:
    told = refused(tmp_path, GOOD.replace(old, new.replace("TEXT", text)))
    assert f"{field}: {text.lower() in ('y', 'yes', 'true')}: " in told
    assert told.endswith(f"; YAML reads {text} as a boolean: put it in quotes if it is text")
    load_manifest(
        written(tmp_path, GOOD.replace("spec:", 'spec:\n  news: {archive: {location: a.csv}, coins: ["Y", N1]}'))
    )


@pytest.mark.parametrize(("text", "value"), [("y", True), ("Y", True), ("n", False), ("N", False), ("on", True)])
def test_booleans_are_read_as_kubectl_reads_them(tmp_path: Path, text: str, value: bool) -> None:
    manifest = load_manifest(written(tmp_path, f"{GOOD}  suspend: {text}\n"))
    assert manifest.spec.suspend is value


def test_keys_are_text_as_kubectl_sends_them(tmp_path: Path) -> None:
    load_manifest(written(tmp_path, GOOD.replace("name: btc", "name: btc\n  labels: {y: a, 7: b}")))


@pytest.mark.parametrize(
    ("text", "value"),
    [("60.0", 60), ("6e1", 60), ("0x3c", 60), ("074", 60), ("1_200", 1200), ("", 60), ("null", 60), ("~", 60)],
)
def test_numbers_are_read_as_kubectl_reads_them(tmp_path: Path, text: str, value: int) -> None:
    manifest = GOOD.replace("seconds: 60", f"seconds: {text}") + f"  prediction: {{horizonsSeconds: [{value}]}}\n"
    assert load_manifest(written(tmp_path, manifest)).spec.candles.seconds == value


@pytest.mark.parametrize("image", ["2024-01-01", "12:30", "1:2"])
def test_dates_and_times_of_day_are_text(tmp_path: Path, image: str) -> None:
    manifest = GOOD + f"  services: {{candles: {{image: {image}}}}}\n"
    assert load_manifest(written(tmp_path, manifest)).spec.services["candles"].image == image


def test_a_bad_quantity_is_told_once_with_a_remedy(tmp_path: Path) -> None:
    told = refused(tmp_path, GOOD + "  services: {candles: {resources: {limits: {memory: 1GB}}}}\n")
    place = "pipeline.yaml:9: spec.services.candles.resources.limits.memory"
    assert told == f"{place}: '1GB' is no quantity; write a number, with a unit where one is due: 0.5, 500m, 512Mi"
