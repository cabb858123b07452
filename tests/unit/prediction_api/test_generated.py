"""What is generated from the protos is committed as it is generated."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from google.protobuf import descriptor_pb2

from pricecast_prediction_api.openapi import comments

ROOT = Path(__file__).parents[3]


def test_the_committed_code_is_what_the_protos_give(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "protos" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    generate.generate(tmp_path)

    def files(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }

    fresh, committed = files(tmp_path), files(generate.TARGET)
    assert sorted(fresh) == sorted(committed)
    stale = [name for name in fresh if fresh[name] != committed[name]]
    assert stale == [], f"{stale} are stale: run `make protos`"


def test_every_message_field_and_method_of_the_protos_is_described() -> None:
    data = (ROOT / "services/prediction-api/pricecast_prediction_api/gen/descriptors.binpb").read_bytes()
    names: list[str] = []
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        for message in file.message_type:
            names += [f"{file.package}.{message.name}"]
            names += [f"{file.package}.{message.name}.{field.name}" for field in message.field]
        for service in file.service:
            names += [f"{file.package}.{service.name}"]
            names += [f"{file.package}.{service.name}.{method.name}" for method in service.method]
    assert len(names) > 50
    assert [name for name in names if name not in comments()] == []
