"""The link check finds what is broken, and nothing else."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "docs" / "links.py"
specification = importlib.util.spec_from_file_location("links", SCRIPT)
assert specification is not None
assert specification.loader is not None
links = importlib.util.module_from_spec(specification)
specification.loader.exec_module(links)

PAGE = """\
# A page: `code`, [a link](other.md) and more

## Twice
## Twice
```sh
# no heading, and [no link](nowhere.md)
```
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text(PAGE)
    (tmp_path / ".gitignore").write_text(".state/\n")
    (tmp_path / ".state").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "link",
    [
        "[x](docs/page.md)",
        "[x](docs/page.md#a-page-code-a-link-and-more)",
        "[x](docs/page.md#twice-1)",
        "[x](docs)",
        "[x](https://nowhere.invalid/x.md)",
        "[x](#here)",
        "`docs/page.md`, `docs/`, `not/here.py`, `.state/written/at/run-time.json`",
        "`[x](nowhere.md)`",
    ],
)
def test_what_is_there_is_followed(root: Path, link: str, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "README.md").write_text(f"# Here\n{link}\n")
    (root / "docs" / "other.md").touch()
    assert links.main(root) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("[x](docs/gone.md)", "README.md: docs/gone.md: there is no docs/gone.md"),
        ("[x](docs/page.md#thrice)", "README.md: docs/page.md#thrice: page.md has no such heading"),
        ("[x](docs/page.md#no-heading-and-no-link)", "has no such heading"),
        ("`docs/gone.py`", "README.md: `docs/gone.py`: there is no such file"),
    ],
)
def test_what_is_not_there_is_named(root: Path, link: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "README.md").write_text(f"# Here\n{link}\n")
    (root / "docs" / "other.md").touch()
    assert links.main(root) == 1
    assert problem in capsys.readouterr().err


MODULE = '''\
"""Of docs/page.md{}, pricecast_a.b and pricecast_a.b.known."""

X = "docs/gone.md"  # see docs/page.md{}
"""What `pricecast_a.b{}` says; not/here.py, https://a.example/docs/gone.md."""
'''


def test_what_docstrings_and_comments_name_is_there(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "docs" / "other.md").touch()
    package = root / "packages" / "pricecast_a"
    package.mkdir(parents=True)
    (package / "b.py").write_text("def known() -> None: ...\n")
    module = package / "c.py"
    module.write_text(MODULE.format("", "", ""))
    assert links.main(root) == 0, capsys.readouterr().err
    module.write_text(MODULE.format(".gone", "x", ".unknown"))
    assert links.main(root) == 1
    told = capsys.readouterr().err
    assert told.splitlines() == [
        "packages/pricecast_a/c.py:3: docs/page.mdx: there is no such file",
        "packages/pricecast_a/c.py:1: docs/page.md.gone: there is no such file",
        "packages/pricecast_a/c.py:4: pricecast_a.b.unknown: there is no such module or name",
    ]
