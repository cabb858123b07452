"""Container images without a registry: a base image from Debian's packages, our Dockerfile on top, into containerd.

Docker's daemon is started for the builds alone, with a folder and a socket of its own; the one that a developer's
machine may run is left alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pricecast_testbed import cache
from pricecast_testbed.kubernetes.config import PAUSE_IMAGE, Layout
from pricecast_testbed.server import running_process, start_process, stop_process, wait_until
from pricecast_testbed.shell import TestbedError, apt_install, find, run, say

_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_BASE = "python3,ca-certificates"
_KEPT_CACHE = "8GB"
_PRUNE_SECONDS = 60


def import_pause(at: Layout) -> None:
    """Gives containerd the image that holds each pod's namespaces: one static binary, a matter of milliseconds."""
    archive = at.home / "pause.tar"
    archive.write_bytes(single_program_image(PAUSE_IMAGE, (at.kube / "pause").read_bytes()))
    run([*_ctr(at), "images", "import", archive])
    archive.unlink()


def build(
    at: Layout,
    repository: Path,
    services: Sequence[str],
    *,
    tag: str = "dev",
    before_import: Callable[[], object] = lambda: None,
) -> list[str]:
    """Builds the images of some services with the repository's Dockerfile and imports those that are new.

    Args:
        at: The cluster that gets them.
        repository: Folder of the Dockerfile, which takes the build arguments BASE_IMAGE and SERVICE.
        services: Folder names below `services/`, or `operator`.
        tag: Tag of the images.
        before_import: Called when all are built, and may wait for the cluster: its containerd must run from then on.

    Returns:
        Their names: `pricecast/SERVICE:TAG`.

    Raises:
        TestbedError: The cluster is down, or a build failed; with the end of its output.
    """
    names = {service: f"pricecast/{service}:{tag}" for service in services}
    with _docker() as docker:
        base = _base_image(docker)
        for service, name in names.items():
            say(f"building the image {name}")
            arguments = [f"--build-arg=BASE_IMAGE={base}", f"--build-arg=SERVICE={service}"]
            run(
                [*docker, "build", "--network=host", *arguments, f"--tag={name}", "."],
                cwd=repository,
                env={"DOCKER_BUILDKIT": "1"},
            )
        before_import()
        if subprocess.run([*_ctr(at), "version"], capture_output=True, check=False).returncode != 0:
            raise TestbedError("the cluster is down: run `python -m pricecast_testbed kubernetes up` first")
        for name in names.values():
            _import(docker, at, name)
        _prune(docker)
    return list(names.values())


def _prune(docker: Sequence[str | Path]) -> None:
    """Deletes what earlier commits left, without which the folder grows by gigabytes a day.

    The daemon measures each layer for that, which takes minutes on a busy disk: then it is left for another time.
    """
    for words in (["image", "prune", "--force"], ["builder", "prune", "--force", f"--keep-storage={_KEPT_CACHE}"]):
        command = [str(word) for word in (*docker, *words)]
        try:
            subprocess.run(command, capture_output=True, check=False, timeout=_PRUNE_SECONDS)
        except subprocess.TimeoutExpired:
            say(f"images of earlier builds are left: `docker {' '.join(words)}` has not ended in {_PRUNE_SECONDS} s")


def _ctr(at: Layout) -> list[str | Path]:
    return ["ctr", f"--address={at.socket}", "--namespace=k8s.io"]


def _import(docker: Sequence[str | Path], at: Layout, name: str) -> None:
    """Copies an image from Docker to containerd, unless containerd has this very one under its name."""
    wanted = run([*docker, "image", "inspect", "--format={{.Id}}", name]).strip()
    note = at.home / "images" / name.replace("/", "_").replace(":", "_")
    full = f"docker.io/{name}"
    present = full in run([*_ctr(at), "images", "list", "--quiet"]).split()
    if present and note.exists() and note.read_text() == wanted:
        return
    save = subprocess.Popen([str(word) for word in [*docker, "save", name]], stdout=subprocess.PIPE)
    load = subprocess.run([*_ctr(at), "images", "import", "-"], stdin=save.stdout, capture_output=True, check=False)
    if save.wait() != 0 or load.returncode != 0:
        raise TestbedError(f"containerd did not take {name}: {load.stderr.decode()[-2000:]}")
    note.parent.mkdir(exist_ok=True)
    note.write_text(wanted)


@contextmanager
def _docker() -> Iterator[list[str | Path]]:
    """Runs a Docker daemon for a while and gives the client's command line."""
    apt_install("docker.io", provides=["dockerd"])
    home = cache.root() / "docker"
    socket, log = home / "docker.sock", home / "dockerd.log"
    home.mkdir(parents=True, exist_ok=True)
    options = ["--bridge=none", "--iptables=false", "--ip6tables=false"]
    folders = [f"--data-root={home}/data", f"--exec-root={home}/exec", f"--pidfile={home}/dockerd.pid"]
    client: list[str | Path] = [_client(), f"--host=unix://{socket}"]
    with cache.locked("docker"):
        _end_abandoned(home)
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        daemon = find("dockerd") or "dockerd"
        process = start_process([daemon, f"--host=unix://{socket}", *folders, *options], log, env={"PATH": path})
        try:
            wait_until(
                lambda: subprocess.run([*client, "version"], capture_output=True, check=False).returncode == 0,
                process,
                log,
            )
            yield client
        finally:
            stop_process(process)


def _end_abandoned(home: Path) -> None:
    """Ends the daemon of a run that was killed: a second one would not start beside it."""
    note = home / "dockerd.pid"
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
        process = running_process(int(note.read_text()))
        if str(home).encode() in Path(f"/proc/{process['pid']}/cmdline").read_bytes():
            stop_process(process)


def _client() -> str:
    """Returns the client that came with the daemon: newer ones need a plugin to build."""
    beside = Path("/usr/bin/docker")
    return str(beside) if beside.exists() else find("docker") or "docker"


def _base_image(docker: Sequence[str | Path]) -> str:
    """Returns the name of the base image: this Debian's smallest system, its Python and the machine's CA bundle."""
    bundle = Path(_BUNDLE).read_bytes()
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    suite = release["VERSION_CODENAME"].strip('"')
    mark = hashlib.sha256(b"1" + suite.encode() + _BASE.encode() + bundle).hexdigest()[:12]
    name = f"pricecast-base:{mark}"
    if subprocess.run([*docker, "image", "inspect", name], capture_output=True, check=False).returncode == 0:
        return name

    def bootstrap(target: Path) -> None:
        apt_install("debootstrap", provides=["debootstrap"])
        say("making the base image")
        root = target / "root"
        include = f"--include={_BASE}"
        run([find("debootstrap") or "debootstrap", "--variant=minbase", include, suite, root, _mirror()])
        (root / _BUNDLE[1:]).write_bytes(bundle)
        for waste in ("var/cache/apt/archives", "usr/share/doc", "usr/share/man", "usr/share/locale"):
            shutil.rmtree(root / waste, ignore_errors=True)
        (root / "var/cache/apt/archives/partial").mkdir(parents=True)
        run(["tar", "--create", f"--file={target}/root.tar", f"--directory={root}", "."])
        shutil.rmtree(root)

    archive = cache.made(f"base-image-{mark}", bootstrap) / "root.tar"
    trust = [f"--change=ENV {name}={_BUNDLE}" for name in ("SSL_CERT_FILE", "PIP_CERT")]
    run([*docker, "import", *trust, archive, name])
    return name


def _mirror() -> str:
    """Returns the Debian mirror that this machine uses."""
    sites = run(["apt-get", "indextargets", "--format", "$(SITE) $(COMPONENT)"]).splitlines()
    for site in sorted({line.split()[0] for line in sites if line.endswith(" main")}, key=len):
        return site
    raise TestbedError("apt knows no Debian mirror: run `apt-get update`")


def single_program_image(name: str, program: bytes) -> bytes:
    """Returns an OCI archive of an image that holds one static program and runs it."""
    layer = _tar({"program": program})
    config = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
            "os": "linux",
            "config": {"Entrypoint": ["/program"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    ).encode()
    oci = "application/vnd.oci.image"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{oci}.manifest.v1+json",
            "config": {"mediaType": f"{oci}.config.v1+json", "digest": _digest(config), "size": len(config)},
            "layers": [{"mediaType": f"{oci}.layer.v1.tar", "digest": _digest(layer), "size": len(layer)}],
        }
    ).encode()
    entry = {"mediaType": f"{oci}.manifest.v1+json", "digest": _digest(manifest), "size": len(manifest)}
    entry["annotations"] = {"io.containerd.image.name": name}
    blobs = {f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}": blob for blob in (layer, config, manifest)}
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    return _tar({"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": index, **blobs})


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
