"""Follows the links of every Markdown page that git knows: files, headings, and paths of the repository named as code.

Run by `make lint`. Addresses of the web are left alone: whether they answer is no property of a commit.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^)>\s]+)>?\)")
_HEADING = re.compile(r"^#+\s+(.*?)\s*#*$", re.MULTILINE)
_CREATED = re.compile(r"^--- /dev/null\n\+\+\+ b/(\S+)", re.MULTILINE)
_PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]*)`")


def files(root: Path) -> list[str]:
    """Returns the names of the files below `root` that are part of the repository, or about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (root / name).exists()]


def anchors(text: str) -> set[str]:
    """Returns the names of a page's headings, made as GitHub makes them: a second one of a name ends in -1."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        name, number = slug, 0
        while name in found:
            number += 1
            name = f"{slug}-{number}"
        found.add(name)
    return found


def broken(page: Path, root: Path, folders: set[str]) -> Iterator[str]:
    """Yields what a page names that isn't there; `folders` are the repository's own at the top."""
    text = page.read_text()
    prose = _FENCE.sub("", text)
    for target in _LINK.findall(_CODE.sub("", prose)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists():
            yield f"{target}: there is no {name}"
        elif anchor and anchor not in anchors(file.read_text()):
            yield f"{target}: {file.name} has no such heading"
    created = set(_CREATED.findall(text))  # by a change that the page shows
    for name in set(_PATH.findall(prose)) - created:
        if name.partition("/")[0] in folders and not (root / name).exists():
            yield f"`{name}`: there is no such file"


def main(root: Path = ROOT) -> int:
    """Names every broken link. Returns 1 if there is one."""
    names = files(root)
    folders = {name.partition("/")[0] for name in names}
    pages = [name for name in names if name.endswith(".md")]
    found = [f"{page}: {problem}" for page in pages for problem in broken(root / page, root, folders)]
    sys.stderr.write("".join(f"{line}\n" for line in found))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
