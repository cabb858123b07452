"""Follows the links of every Markdown page that git knows, and what docstrings and comments name.

Of pages: files, headings, and paths of the repository named as code. Of docstrings and comments: paths of the repository
and modules of ours. Run by `make lint`. Addresses of the web are left alone: whether they answer is no property of a commit.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^)>\s]+)>?\)")
_HEADING = re.compile(r"^#+\s+(.*?)\s*#*$", re.MULTILINE)
_CREATED = re.compile(r"^--- /dev/null\n\+\+\+ b/(\S+)", re.MULTILINE)
_PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]*)`")
_PATH_IN_PROSE = re.compile(r"(?<![\w./:-])(?:[\w.-]+/)+[\w-]+(?:\.[\w-]+)*/?")
_NAME = re.compile(r"\bpricecast_\w+(?:\.\w+)+")


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


def explanations(text: str) -> Iterator[tuple[int, str]]:
    """Yields line and text of each docstring and comment of a module."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        for each in body if isinstance(body, list) else ():  # the text below a constant is its docstring, too
            match each:
                case ast.Expr(ast.Constant(str(value))):
                    yield each.lineno, value


def modules(names: list[str]) -> dict[str, str]:
    """Returns the file of each module of the packages, by its dotted name."""
    found = {}
    for name in names:
        if match := re.search(r"(?:^|/)(pricecast_\w+(?:/\w+)*)\.py$", name):
            found[match[1].replace("/", ".").removesuffix(".__init__")] = name
    return found


def unknown(text: str, root: Path, folders: set[str], known: Mapping[str, str]) -> Iterator[str]:
    """Yields what a module's docstrings and comments name that isn't there.

    Args:
        text: The module.
        root: The repository.
        folders: Its own folders at the top.
        known: Its modules and their files.
    """
    for line, words in explanations(text):
        for path in _PATH_IN_PROSE.findall(words):
            if path.partition("/")[0] in folders and not (root / path).exists():
                yield f"{line}: {path}: there is no such file"
        for name in _NAME.findall(words):
            module, rest = name, ""
            while module not in known and "." in module:
                module, _, rest = module.rpartition(".")
            if module not in known or (rest and not re.search(rf"\b{rest}\b", (root / known[module]).read_text())):
                yield f"{line}: {name}: there is no such module or name"


def main(root: Path = ROOT) -> int:
    """Names every broken link. Returns 1 if there is one."""
    names = files(root)
    folders = {name.partition("/")[0] for name in names}
    pages = [name for name in names if name.endswith(".md")]
    found = [f"{page}: {problem}" for page in pages for problem in broken(root / page, root, folders)]
    known = modules(names)
    for name in names:
        if name.endswith(".py") and "/gen/" not in name:
            found += [f"{name}:{problem}" for problem in unknown((root / name).read_text(), root, folders, known)]
    sys.stderr.write("".join(f"{line}\n" for line in found))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
