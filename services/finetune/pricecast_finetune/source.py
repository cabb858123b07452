"""Where the dataset is: with the package, in a file, in S3, or on the Hugging Face hub."""

from __future__ import annotations

import importlib
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from pricecast_core.errors import SettingsError, SourceError
from pricecast_core.news import dataset
from pricecast_core.settings import FinetuneSettings

OWN = "headlines.jsonl"


def load(settings: FinetuneSettings, scratch: Path) -> list[dataset.Example]:
    """Returns the examples that the settings name.

    Args:
        settings: Say where.
        scratch: Folder for what has to be fetched.

    Raises:
        SettingsError: If what is there isn't a dataset.
        SourceError: If it can't be fetched.
    """
    location = settings.dataset
    if not location:
        with resources.as_file(resources.files(__package__).joinpath("data", OWN)) as path:
            return dataset.load(path, settings.coins)
    if location.startswith("s3://"):
        return dataset.load(_from_s3(location, settings.s3_endpoint, scratch), settings.coins)
    if location.startswith("hf://"):
        return dataset.load(_from_hub(location.removeprefix("hf://"), settings, scratch), settings.coins)
    return dataset.load(Path(location), settings.coins)


def require(module: str, extra: str) -> Any:
    """Returns a module of an extra of this package.

    Raises:
        SettingsError: If the extra isn't installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SettingsError(
            f"{module} isn't installed ({error}); install pricecast-finetune[{extra}], which the image has"
        ) from None


def _from_s3(uri: str, endpoint: str, scratch: Path) -> Path:
    boto3 = require("boto3", "train")
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise SettingsError(f"dataset: {uri!r} is not s3://BUCKET/KEY")
    path = scratch / "dataset.jsonl"
    try:
        boto3.client("s3", endpoint_url=endpoint or None).download_file(bucket, key, str(path))
    except Exception as error:  # boto3's errors are made at run time
        raise SourceError(f"dataset: {uri} can't be fetched: {error}") from None
    return path


def _from_hub(name: str, settings: FinetuneSettings, scratch: Path) -> Path:
    datasets = require("datasets", "train")
    token = settings.hub_token.get_secret_value() if settings.hub_token else None
    try:
        rows = datasets.load_dataset(
            name, split=settings.dataset_split, revision=settings.dataset_revision or None, token=token
        )
    except Exception as error:
        raise SourceError(f"dataset: hf://{name} can't be fetched: {error}") from None
    path = scratch / "dataset.jsonl"
    with path.open("wb") as file:
        for row in rows:
            file.write(msgspec.json.encode(row) + b"\n")
    return path
