"""The iptables chains that a cluster makes and nobody takes away: kube-proxy's, the kubelet's, the pods', the policies'.

A machine may have chains of the same names from a Kubernetes of its own, so those that were there before are told apart.
"""

from __future__ import annotations

import re
import subprocess

from pricecast_testbed.shell import find

Chain = tuple[str, str, str]
"""Program (iptables or ip6tables), table and name."""

_OURS = re.compile(r"^(KUBE-|CNI-|TB-|TESTBED-POLICY)")
_PROGRAMS = ("iptables", "ip6tables")


def chains() -> set[Chain]:
    """Returns the chains that a cluster's parts have made, this one's or another's."""
    return {
        (program, table, name)
        for program in _PROGRAMS
        for table, name in parse(_saved(program))[0]
        if _OURS.match(name)
    }


def remove(chains: set[Chain]) -> None:
    """Deletes chains and the rules that lead to them."""
    for program in _PROGRAMS:
        gone = {(table, name) for each, table, name in chains if each == program}
        if gone:
            text = removal(_saved(program), gone)
            restore = [find(f"{program}-restore") or f"/usr/sbin/{program}-restore", "--noflush"]
            subprocess.run(restore, input=text, text=True, capture_output=True, check=False)


def parse(saved: str) -> tuple[list[tuple[str, str]], list[tuple[str, str, str]]]:
    """Returns the chains (table, name) and rules (table, chain, rule) of what iptables-save printed."""
    found: list[tuple[str, str]] = []
    rules: list[tuple[str, str, str]] = []
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            found.append((table, line[1:].split()[0]))
        elif line.startswith("-A "):
            rules.append((table, line.split()[1], line))
    return found, rules


def removal(saved: str, gone: set[tuple[str, str]]) -> str:
    """Returns what iptables-restore is to be told so that these chains are gone, and all that leads to them."""
    _, rules = parse(saved)
    lines = []
    for table in sorted({table for table, _ in gone}):
        names = sorted(name for each, name in gone if each == table)
        leading = [
            rule
            for each, chain, rule in rules
            if each == table and chain not in names and rule.rpartition(" -j ")[2].split()[0] in names
        ]
        lines += [f"*{table}", *(f":{name} - [0:0]" for name in names)]  # which also empties them
        lines += [f"-D {rule.removeprefix('-A ')}" for rule in leading]
        lines += [*(f"-X {name}" for name in names), "COMMIT"]
    return "".join(f"{line}\n" for line in lines)


def _saved(program: str) -> str:
    save = find(f"{program}-save") or f"/usr/sbin/{program}-save"
    try:
        return subprocess.run([save], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""
