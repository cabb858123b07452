"""A signal ends what a loop runs, and one that comes when it has ended changes nothing."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, signal, sys
from pricecast_cli.local.signals import on_signals

async def run():
    stop = asyncio.Event()
    on_signals(lambda number: stop.set(), signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    print("running", flush=True)
    await stop.wait()

asyncio.run(run())
print("over", flush=True)
sys.exit(input())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_ends_it_and_a_late_one_changes_nothing(number: signal.Signals) -> None:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    process.send_signal(number)
    assert process.stdout.readline() == "over\n"
    process.send_signal(number)
    _, told = process.communicate("this is how it ends\n", 30)
    assert (process.returncode, told) == (1, "this is how it ends\n")
