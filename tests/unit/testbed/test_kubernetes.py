"""What the cluster's parts are told, and the image that needs no builder."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from pathlib import Path

import pytest

from pricecast_testbed.kubernetes import config
from pricecast_testbed.kubernetes.images import single_program_image

LAYOUT = config.Layout(Path("/cluster"), Path("/built"), address="10.9.8.7")
TEXTS = {
    **{name: " ".join(str(word) for word in words) for name, words in config.commands(LAYOUT).items()},
    **config.files(LAYOUT, snapshotter="overlayfs"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_everything_listens_on_loopback_or_on_the_nodes_address(name: str) -> None:
    listening = re.findall(
        r"(?:address|bind|listen-[a-z]+-urls|ready|nameserver)\W+(?:http://)?(\d+(?:\.\d+){3})", TEXTS[name]
    )
    assert set(listening) <= {"127.0.0.1", "10.9.8.7"}
    assert "--bind-address=0.0.0.0" not in TEXTS[name]


@pytest.mark.parametrize("name", TEXTS)
def test_everything_is_kept_in_the_clusters_folder(name: str) -> None:
    outside = ("/built/", "/usr/lib/cni", "/etc/resolv.conf")
    paths = re.findall(r"(?<![\w.:/])/[a-z][\w./-]+", TEXTS[name])
    assert [path for path in paths if not path.startswith(("/cluster/", *outside))] == []


def test_no_image_is_collected_for_want_of_disk() -> None:
    kubelet = json.loads(TEXTS["kubelet.json"])
    assert not [signal for signal in kubelet["evictionHard"] if "fs" in signal]
    assert kubelet["imageGCHighThresholdPercent"] == 100  # never, by age nor by size
    assert "imageMaximumGCAge" not in kubelet


def test_parts_start_after_what_they_need() -> None:
    order = list(config.commands(LAYOUT))
    assert order.index("etcd") < order.index("kube-apiserver") < order.index("kube-scheduler")
    assert order.index("containerd") < order.index("kubelet")


def unpack(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def test_an_image_of_one_program_is_whole() -> None:
    files = unpack(single_program_image("localhost/it:1", b"\x7fELF"))

    def blob(described: dict[str, str | int]) -> bytes:
        content = files[f"blobs/{str(described['digest']).replace(':', '/')}"]
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == described["digest"]
        assert len(content) == described["size"]
        return content

    [entry] = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "localhost/it:1"
    manifest = json.loads(blob(entry))
    [layer] = [unpack(blob(each)) for each in manifest["layers"]]
    [program] = json.loads(blob(manifest["config"]))["config"]["Entrypoint"]
    assert layer == {program.lstrip("/"): b"\x7fELF"}
