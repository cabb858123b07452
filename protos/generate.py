"""Generates the Python code and the descriptors of the protos into the prediction API: `make protos`.

The descriptor set carries the protos' comments, from which the API's OpenAPI document is made; the generated code
can't give them. Everything generated is committed, so that a clone runs without a compiler, and a test holds it up
to date. For buf, which lints and finds breaking changes, `--image FILE` writes all protos with what they import:

    python protos/generate.py --image image.binpb && buf lint image.binpb --config protos/buf.yaml --path pricecast
"""

from __future__ import annotations

import argparse
import re
import sys
import sysconfig
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).parent
PACKAGE = "pricecast_prediction_api.gen"
TARGET = PROTOS.parent / "services" / "prediction-api" / Path(*PACKAGE.split("."))
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))  # google/api/*.proto (googleapis-common-protos)
BUILTIN = SITE_PACKAGES / "grpc_tools" / "_proto"  # google/protobuf/*.proto

_IMPORT = re.compile(r"^(from|import) pricecast\.", re.MULTILINE)


def generate(target: Path) -> None:
    """Writes all generated files below `target`.

    Raises:
        RuntimeError: If the protos don't compile; the compiler's words are on standard error.
    """
    target.mkdir(parents=True, exist_ok=True)
    compile_protos(
        f"--python_out={target}",
        f"--pyi_out={target}",
        f"--grpc_python_out={target}",
        f"--descriptor_set_out={target / 'descriptors.binpb'}",
        "--include_source_info",
    )
    for path in target.rglob("*_pb2_grpc.py"):
        if "class " not in path.read_text():  # a file without a service
            path.unlink()
    for path in [*target.rglob("*.py"), *target.rglob("*.pyi")]:
        # protoc imports by the protos' paths; the code lives in a package of the service.
        path.write_text(_IMPORT.sub(rf"\1 {PACKAGE}.pricecast.", path.read_text()))
    for folder in [target, *(path for path in target.rglob("*") if path.is_dir() and path.name != "__pycache__")]:
        (folder / "__init__.py").write_text('"""Generated from protos/ by `make protos`."""\n')


def compile_protos(*outputs: str) -> None:
    """Runs the compiler on all protos.

    Raises:
        RuntimeError: If it fails.
    """
    files = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.glob("pricecast/**/*.proto"))
    paths = [f"--proto_path={path}" for path in (PROTOS, SITE_PACKAGES, BUILTIN)]
    status = protoc.main(["protoc", *paths, *outputs, *files])
    if status != 0:
        raise RuntimeError(f"protoc failed with status {status}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Generates code from the protos.")
    parser.add_argument("--image", type=Path, help="write a compiled image for buf there, and nothing else")
    image: Path | None = parser.parse_args().image
    if image is not None:
        compile_protos(f"--descriptor_set_out={image}", "--include_imports", "--include_source_info")
    else:
        generate(TARGET)
    sys.stdout.write(f"generated {image or TARGET}\n")


if __name__ == "__main__":
    main()
