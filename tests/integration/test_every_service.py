"""What holds of each service as a process: health, metrics, a clean end, and no start with a wrong setting.

With no broker to be found, for a service must say so and wait, and yet end when it is asked to.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

SERVICES: dict[str, tuple[list[str], dict[str, str]]] = {
    "trades": ([], {"PAIRS": "BTC/USD", "SOURCE": "simulated"}),
    "candles": ([], {"PAIRS": "BTC/USD"}),
    "technical-indicators": ([], {}),
    "to-feature-store": ([], {}),
    "price-predictor": (["serve"], {"PAIRS": "BTC/USD"}),
    "prediction-api": ([], {"API_PORT": "0", "GRPC_PORT": "0"}),
    "news": ([], {"SOURCE": "rss", "RSS_URLS": "http://127.0.0.1:1/feed"}),
    "news-signal": ([], {}),
}
"""By service: arguments and the settings that it can't do without."""


def start(service: str, folder: Path, **settings: str) -> subprocess.Popen[bytes]:
    arguments, needed = SERVICES[service]
    env = {
        "PATH": os.environ["PATH"],
        "PIPELINE": "every",
        "HTTP_PORT": "0",
        "KAFKA_BROKERS": "127.0.0.1:1",
        **needed,
        **settings,
    }
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [Path(sys.executable).with_name(f"pricecast-{service}"), *arguments],
            cwd=folder,
            env=env,
            stderr=log,
            stdout=log,
        )


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def address(folder: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 120
    while not (found := re.search(r'"health": "(http://[^"]+)"', (folder / "log").read_text())):
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)
    return found[1]


def unready(base: str) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while True:
        status, body = get(f"{base}/readyz")
        problems: dict[str, Any] = json.loads(body).get("problems", {})
        if status == 503 and "broker" in problems and problems["broker"]:
            return problems
        assert time.monotonic() < deadline, body
        time.sleep(0.1)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_observable_says_what_it_lacks_and_ends_when_asked(service: str, tmp_path: Path) -> None:
    process = start(service, tmp_path)
    try:
        base = address(tmp_path, process)
        if service != "prediction-api":  # it knows no broker
            unready(base)
        assert get(f"{base}/healthz")[0] == 200  # a restart would not bring the broker back
        assert b"# TYPE process_cpu_seconds_total" in get(f"{base}/metrics")[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0, (tmp_path / "log").read_text()
        for line in (tmp_path / "log").read_text().splitlines():
            assert json.loads(line)["service"]  # all of it is structured, the Kafka client's lines too
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("settings", [{"HTTP_PORT": "taken"}, {"HTTP_HOST": "no.such.host.invalid"}])
def test_an_address_that_can_not_be_listened_on_is_named_without_a_traceback(
    service: str, settings: dict[str, str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = start(
            service, tmp_path, **{name: port if text == "taken" else text for name, text in settings.items()}
        )
        assert process.wait(120) == 78
    text = (tmp_path / "log").read_text()
    assert "http_host, http_port: can't listen on" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("service", SERVICES)
def test_a_wrong_setting_is_named_and_starts_nothing(service: str, tmp_path: Path) -> None:
    process = start(service, tmp_path, PIPELINE="Not A Name")
    assert process.wait(120) == 78
    told = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert "PIPELINE: 'Not A Name'" in told[-1]["error"]


UNTOLD = ("Traceback", "never retrieved", "Task was destroyed", "was never awaited", "Exception ignored")


@pytest.mark.parametrize("service", SERVICES)
def test_signals_at_any_moment_end_a_service_quietly(service: str, tmp_path: Path) -> None:
    """Whatever moment a signal meets, import, start, waiting for servers, or the end that another one has begun."""
    for number, seconds in enumerate((0.3, 1.1, 2.3, 4.1)):
        folder = tmp_path / str(number)
        folder.mkdir()
        process = start(service, folder)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            for _ in range(3):
                process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.05)
            told = process.wait(120), (folder / "log").read_text()
        finally:
            process.kill()
            process.wait()
        assert told[0] in (0, 75, -signal.SIGTERM), told  # 75: it had not begun; killed: not even the interpreter had
        assert not [words for words in UNTOLD if words in told[1]], told


@pytest.mark.parametrize("service", ["to-feature-store", "price-predictor", "prediction-api"])
def test_a_folder_for_a_store_that_can_not_be_made_is_named_without_a_traceback(service: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    url = f"sqlite:///{tmp_path}/file/below/x.db"
    names = ("FEATURE_STORE_URL", "MODEL_REGISTRY_URL", "PREDICTION_STORE_URL")
    process = start(service, tmp_path, **dict.fromkeys(names, url))
    assert process.wait(120) == 78
    told = (tmp_path / "log").read_text()
    assert f"the folder {tmp_path}/file/below can't be made" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("server", "code", "message"),
    [("https://127.0.0.1:1", 1, "the API server can't be used"), (None, 78, "there is no cluster to run for")],
)
def test_an_operator_without_an_api_server_says_so(server: str | None, code: int, message: str, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    if server is not None:
        names = {"clusters": [{"name": "c", "cluster": {"server": server}}], "users": [{"name": "u", "user": {}}]}
        context = {"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "current-context": "c"}
        kubeconfig.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **names, **context}))
    operator = Path(sys.executable).with_name("pricecast-operator")
    env = {"PATH": os.environ["PATH"], "HTTP_PORT": "0", "KUBECONFIG": str(kubeconfig)}
    ended = subprocess.run([operator], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == code, ended.stderr
    assert message in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
