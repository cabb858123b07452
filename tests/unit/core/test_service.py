"""A service as a process: exit codes, health over HTTP, a clean end on SIGTERM."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from pricecast_core.service import Stop

SERVICE = """
import sys
from pricecast_core.errors import BelowBarError, NotEnoughHistoryError, SettingsError
from pricecast_core.service import run
from pricecast_core.settings import ServiceSettings

def work(settings, health, stop):
    if sys.argv[1] == "config": raise SettingsError("pairs: 'x' is unknown")
    if sys.argv[1] == "early": raise NotEnoughHistoryError("3 of 200 rows")
    if sys.argv[1] == "bar": raise BelowBarError("F1 is 0.3, 0.5 is required")
    if sys.argv[1] == "crash": raise ValueError("boom")
    health.ready("store", lambda: "store is down")
    health.alive("work", lambda: None)
    print("up", flush=True)
    stop.wait(60)

run("probe", ServiceSettings, work)
"""


def start(how: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SERVICE, how],
        env={"PATH": os.environ["PATH"], "PIPELINE": "btc", "HTTP_PORT": "0", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ends_with(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, log = process.communicate(timeout=30)
    return process.returncode, log


def test_exit_codes_tell_what_to_do_next() -> None:
    assert ends_with(start("config"))[0] == 78
    assert ends_with(start("early"))[0] == 75
    code, log = ends_with(start("bar"))
    assert (code, "0.5 is required" in log) == (78, True)
    code, log = ends_with(start("crash"))
    assert code == 1
    assert "boom" in log


def test_a_bad_setting_stops_the_process_and_is_named() -> None:
    code, log = ends_with(start("run", HTTP_PORT="eighty"))
    assert code == 78
    assert "HTTP_PORT" in json.loads(log.splitlines()[0])["error"]


def test_health_answers_with_reasons_and_sigterm_ends_cleanly() -> None:
    process = start("run")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "up\n"
    base = json.loads(process.stderr.readline())["health"]
    with urllib.request.urlopen(f"{base}/healthz") as alive:
        assert json.load(alive)["ok"] is True
    with pytest.raises(urllib.error.HTTPError) as unready:
        urllib.request.urlopen(f"{base}/readyz")
    assert unready.value.code == 503
    assert json.load(unready.value)["problems"] == {"store": "store is down"}
    with urllib.request.urlopen(f"{base}/metrics") as metrics:
        assert b"process_cpu_seconds_total" in metrics.read()
    process.send_signal(signal.SIGTERM)
    assert ends_with(process)[0] == 0


def test_who_waits_to_be_stopped_hears_of_it_once() -> None:
    """A second Ctrl-C called an event loop that had been closed by then."""
    stop, heard = Stop(), []
    stop.call(lambda: heard.append("stop"))
    stop.set()
    stop.set()
    assert heard == ["stop"]
