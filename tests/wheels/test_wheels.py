"""The packages as others get them: built, installed into an environment of their own, used outside the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = WORKSPACE["project"]["version"]
UV = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")


def run(*command: str | Path, cwd: Path) -> str:
    """Runs a command that is to succeed, with nothing of this environment or workspace in reach."""
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all packages, each built to an archive of its sources, and from that to a wheel."""
    folder = tmp_path_factory.mktemp("wheels")
    run(UV, "build", "--quiet", "--all-packages", "--out-dir", folder, cwd=ROOT)
    return folder


def install(requirement: str, wheels: Path, folder: Path) -> Path:
    """Returns the folder of commands of a new environment that holds a requirement."""
    run(UV, "venv", "--quiet", "--python", sys.executable, folder / "env", cwd=folder)
    python = folder / "env" / "bin" / "python"
    run(UV, "pip", "install", "--quiet", "--python", python, "--find-links", wheels, requirement, cwd=folder)
    return python.parent


def test_each_package_is_built_in_the_one_version(wheels: Path) -> None:
    names = {
        tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"].replace("-", "_")
        for member in WORKSPACE["tool"]["uv"]["workspace"]["members"]
        for folder in ROOT.glob(member)
    }
    assert {tuple(path.name.split("-")[:2]) for path in wheels.glob("*.whl")} == {(name, VERSION) for name in names}


def test_the_web_page_is_in_its_package(wheels: Path) -> None:
    [wheel] = wheels.glob("pricecast_prediction_api-*.whl")
    committed = ROOT / "services" / "prediction-api" / "pricecast_prediction_api" / "page"
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if "/page/" in name}
    assert held == {f"pricecast_prediction_api/page/{path.name}" for path in committed.iterdir()}
    assert "pricecast_prediction_api/page/page.js" in held


@pytest.mark.parametrize("requirement", ["pricecast-cli", "pricecast-cli[up]"])
def test_the_command_works_outside_the_repository(requirement: str, wheels: Path, tmp_path: Path) -> None:
    commands = install(requirement, wheels, tmp_path)
    manifest = shutil.copy(ROOT / "manifests" / "pipeline-btc.yaml", tmp_path)
    told = run(commands / "pricecast", "validate", manifest, cwd=tmp_path)
    assert "btc is valid" in told
    assert run(commands / "pricecast", "--version", cwd=tmp_path) == f"{VERSION}\n"
    services = {line.split()[1] for line in told.splitlines()[1:]}
    found = {name for name in services if (commands / name).exists()}
    assert found == (services if requirement.endswith("[up]") else set())
