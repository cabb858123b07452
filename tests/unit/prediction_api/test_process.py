"""The process: a store that fails and comes back, a clean end, settings refused, TLS."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pricecast_core.stores.predictions_sql import SqlPredictionStore
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as pb
from pricecast_prediction_api.gen.pricecast.v1.prediction_service_pb2_grpc import PredictionServiceStub
from tests.contracts.predictions import a_prediction
from tests.unit.prediction_api.conftest import ApiProcess
from tests.unit.prediction_api.test_grpc import fails
from tests.waiting import eventually


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "store" / "predictions.db"
    store = SqlPredictionStore(f"sqlite:///{path}")
    store.ensure()
    store.write([a_prediction()])
    store.close()
    return path


@pytest.fixture
def api(database: Path, tmp_path: Path) -> Iterator[ApiProcess]:
    process = ApiProcess(
        tmp_path / "log", PREDICTION_STORE_URL=f"sqlite:///{database}", MAX_STALENESS_SECONDS="0.3", PIPELINE="btc"
    )
    try:
        process.wait_ready()
        yield process
    finally:
        process.close()


def serving(channel: grpc.Channel) -> bool:
    health = health_pb2_grpc.HealthStub(channel)
    status = health.Check(health_pb2.HealthCheckRequest()).status
    return bool(status == health_pb2.HealthCheckResponse.SERVING)


def test_a_store_that_fails_is_told_and_its_return_is_noticed(api: ApiProcess, database: Path) -> None:
    """The schema is broken and mended: the fault that SQLite can have while its file stays open."""
    with grpc.insecure_channel(api.grpc) as channel:
        stub = PredictionServiceStub(channel)
        assert stub.Predict(pb.PredictRequest(pair="BTC/USD")).prediction.pair == "BTC/USD"
        rename(database, "latest_predictions", "hidden")
        eventually(lambda: not serving(channel))
        retry = fails(
            lambda: stub.Predict(pb.PredictRequest(pair="BTC/USD")),
            grpc.StatusCode.UNAVAILABLE,
            error_details_pb2.RetryInfo,
        )
        assert retry.retry_delay.seconds >= 1
        answer = httpx.get(f"{api.http}/v1/pairs/BTC/USD/prediction")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert httpx.get(f"{api.http}/health").status_code == 503
        assert "no such table" in httpx.get(f"{api.health}/readyz").json()["problems"]["predictions"]
        assert httpx.get(f"{api.health}/healthz").status_code == 200  # a restart wouldn't help
        rename(database, "hidden", "latest_predictions")
        eventually(lambda: serving(channel))
        assert stub.Predict(pb.PredictRequest(pair="BTC/USD")).prediction.pair == "BTC/USD"


def test_a_store_that_is_not_there_at_the_start_is_told_and_waited_for(tmp_path: Path) -> None:
    away = {"PREDICTION_STORE": "elasticsearch", "PREDICTION_STORE_URL": "http://127.0.0.1:1"}
    api = ApiProcess(tmp_path / "log", **away, MAX_STALENESS_SECONDS="1")
    try:
        with grpc.insecure_channel(api.grpc) as channel:
            assert not serving(channel)
            fails(
                lambda: PredictionServiceStub(channel).Predict(pb.PredictRequest(pair="BTC/USD")),
                grpc.StatusCode.UNAVAILABLE,
                error_details_pb2.RetryInfo,
            )
        eventually(lambda: "Elasticsearch failed" in httpx.get(f"{api.health}/readyz").text)
        assert httpx.get(f"{api.health}/healthz").status_code == 200
        assert api.stop() == 0
    finally:
        api.close()


def rename(database: Path, old: str, new: str) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute(f"ALTER TABLE {old} RENAME TO {new}")
    connection.close()


def test_only_the_pipeline_of_the_settings_is_served(api: ApiProcess, database: Path) -> None:
    store = SqlPredictionStore(f"sqlite:///{database}")
    store.write([a_prediction(0, pipeline="other", pair="ETH/USD"), a_prediction(1)])
    with grpc.insecure_channel(api.grpc) as channel:
        stub = PredictionServiceStub(channel)

        def newest() -> bool:
            found = stub.Predict(pb.PredictRequest(pair="BTC/USD")).prediction
            return bool(found.feature_time.ToMilliseconds() == a_prediction(1).feature_time_ms)

        eventually(newest)
        assert [pair.pair for pair in stub.ListPairs(pb.ListPairsRequest()).pairs] == ["BTC/USD"]
        for pipeline in ("", "other"):
            fails(
                lambda pipeline=pipeline: stub.ListPredictions(
                    pb.ListPredictionsRequest(pair="ETH/USD", pipeline=pipeline)
                ),
                grpc.StatusCode.NOT_FOUND,
                error_details_pb2.ErrorInfo,
            )
    store.close()


def test_sigterm_ends_the_process_cleanly_while_callers_watch(api: ApiProcess) -> None:
    with grpc.insecure_channel(api.grpc) as channel, httpx.Client(base_url=api.http) as http:
        stream = PredictionServiceStub(channel).WatchPredictions(pb.WatchPredictionsRequest())
        assert next(stream).prediction.pair == "BTC/USD"
        with http.stream("GET", "/v1/predictions:watch") as events:
            lines = events.iter_lines()
            assert next(lines) == "event: prediction"
            assert api.stop() == 0
            rest = list(lines)
        assert "event: error" in rest
        fails(lambda: next(stream), grpc.StatusCode.UNAVAILABLE, error_details_pb2.RetryInfo)
    assert {"error", "critical"}.isdisjoint(line["level"] for line in api.lines())
    assert api.lines()[-1]["event"] == "stopped"


def test_what_is_asked_is_counted(api: ApiProcess) -> None:
    httpx.get(f"{api.http}/v1/pairs")
    httpx.get(f"{api.http}/v1/pairs/DOGE/USD/prediction")
    metrics = httpx.get(f"{api.health}/metrics").text
    assert 'pricecast_api_requests_total{code="OK",method="ListPairs",protocol="http"} 1.0' in metrics
    assert 'pricecast_api_requests_total{code="NOT_FOUND",method="Predict",protocol="http"} 1.0' in metrics
    assert 'pricecast_store_seconds_count{operation="latest",service="prediction-api"}' in metrics


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"PREDICTION_STORE_URL": "nonsense"}, "sqlite:///FILE"),
        ({"TLS_CERTIFICATE": "/none.pem"}, "set both, or neither"),
        ({"TLS_CERTIFICATE": "/none.pem", "TLS_KEY": "/none.pem"}, "can't be used"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_a_reason(
    tmp_path: Path, settings: dict[str, str], reason: str
) -> None:
    environment = {"PREDICTION_STORE_URL": f"sqlite:///{tmp_path}/p.db", "GRPC_PORT": "0", "API_PORT": "0"}
    ended = subprocess.run(
        [sys.executable, "-c", "from pricecast_prediction_api.main import main; main()"],
        env={**environment, "HTTP_PORT": "0", **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, reason in ended.stderr) == (78, True), ended.stderr


def test_a_port_in_use_is_refused_with_a_reason(api: ApiProcess, tmp_path: Path) -> None:
    for variable, address in (("GRPC_PORT", api.grpc), ("API_PORT", api.http)):
        environment = {"GRPC_PORT": "0", "API_PORT": "0", "HTTP_PORT": "0", variable: address.rpartition(":")[2]}
        ended = subprocess.run(
            [sys.executable, "-c", "from pricecast_prediction_api.main import main; main()"],
            env={"PREDICTION_STORE_URL": f"sqlite:///{tmp_path}/p.db", **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ended.returncode, variable in ended.stderr) == (78, True), ended.stderr


def certify(folder: Path, name: str) -> tuple[Path, Path]:
    """Makes a certificate that signs itself for this machine, and its key."""
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", key, "-out", certificate, "-days", "1", "-subj", f"/CN={name}",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return certificate, key


def test_both_protocols_speak_tls_and_use_a_renewed_certificate_without_a_restart(
    database: Path, tmp_path: Path
) -> None:
    certificate, key = certify(tmp_path, "first")
    api = ApiProcess(
        tmp_path / "log",
        PREDICTION_STORE_URL=f"sqlite:///{database}",
        TLS_CERTIFICATE=str(certificate),
        TLS_KEY=str(key),
    )
    url = api.http.replace("http://", "https://")

    def serves_with(trusted: Path) -> bool:
        trust = ssl.create_default_context(cafile=str(trusted))
        try:
            answer = httpx.get(f"{url}/v1/pairs/BTC/USD/prediction", verify=trust)
            with grpc.secure_channel(api.grpc, grpc.ssl_channel_credentials(trusted.read_bytes())) as channel:
                found = PredictionServiceStub(channel).Predict(pb.PredictRequest(pair="BTC/USD"), timeout=5)
        except (httpx.ConnectError, grpc.RpcError):
            return False
        assert answer.headers["strict-transport-security"]
        return answer.status_code == 200 and found.prediction.pair == "BTC/USD"

    try:
        api.wait_ready()
        assert serves_with(certificate)
        renewed, renewed_key = certify(tmp_path, "renewed")
        renewed_key.rename(key)  # half a renewal: what is in use stays in use
        eventually(lambda: "can't be read again" in api.log.read_text())
        assert serves_with(certificate)
        first = certificate.rename(tmp_path / "gone.crt")
        certificate.write_bytes(renewed.read_bytes())
        eventually(lambda: serves_with(renewed))
        assert not serves_with(first)
    finally:
        api.close()


def test_where_clients_need_certificates_those_without_are_refused(database: Path, tmp_path: Path) -> None:
    certificate, key = certify(tmp_path, "server")
    ann, ann_key = certify(tmp_path, "ann")
    eve, eve_key = certify(tmp_path, "eve")
    api = ApiProcess(
        tmp_path / "log",
        PREDICTION_STORE_URL=f"sqlite:///{database}",
        TLS_CERTIFICATE=str(certificate),
        TLS_KEY=str(key),
        TLS_CLIENT_CA=str(ann),
    )
    url = f"{api.http.replace('http://', 'https://')}/v1/pairs"

    def over_http(*chain: Path) -> int:
        trust = ssl.create_default_context(cafile=str(certificate))
        if chain:
            trust.load_cert_chain(*chain)
        return httpx.get(url, verify=trust).status_code

    def over_grpc(chain: Path | None = None, chain_key: Path | None = None) -> int:
        own = (chain_key.read_bytes(), chain.read_bytes()) if chain and chain_key else (None, None)
        with grpc.secure_channel(api.grpc, grpc.ssl_channel_credentials(certificate.read_bytes(), *own)) as channel:
            return len(PredictionServiceStub(channel).ListPairs(pb.ListPairsRequest(), timeout=5).pairs)

    try:
        api.wait_ready()
        assert over_http(ann, ann_key) == 200
        assert over_grpc(ann, ann_key) == 1
        for chain in ((), (eve, eve_key)):
            with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
                over_http(*chain)
            with pytest.raises(grpc.RpcError):
                over_grpc(*chain)
    finally:
        api.close()


def test_a_connection_whose_headers_never_end_is_closed(api: ApiProcess) -> None:
    host, _, port = api.http.removeprefix("http://").partition(":")
    beginnings = [b"", b"GET /v1/pairs HTTP/1.1\r\nhost: a\r\n", b"GET /v1/pairs HTTP/1.1\r\nx: y"]
    with contextlib.ExitStack() as held:
        slow = [held.enter_context(socket.create_connection((host, int(port)), timeout=60)) for _ in range(4)]
        for connection, sent in zip(slow, beginnings, strict=False):
            connection.sendall(sent)
        slow[3].sendall(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
        assert slow[3].recv(4096).startswith(b"HTTP/1.1 200")
        slow[3].sendall(b"GET /health HTTP/1.1\r\nhost: ")  # a second request, that never ends
        for connection in slow:
            while connection.recv(4096):
                pass
    assert httpx.get(f"{api.http}/health").status_code == 200


def test_more_connections_than_allowed_are_told_to_come_back(database: Path, tmp_path: Path) -> None:
    api = ApiProcess(tmp_path / "log", PREDICTION_STORE_URL=f"sqlite:///{database}", MAX_CONNECTIONS="3")
    try:
        api.wait_ready()
        with contextlib.ExitStack() as held:
            for _ in range(3):
                client = held.enter_context(httpx.Client(base_url=api.http))
                held.enter_context(client.stream("GET", "/v1/predictions:watch"))
            assert httpx.get(f"{api.http}/health").status_code == 503
        eventually(lambda: httpx.get(f"{api.http}/health").status_code == 200)
    finally:
        api.close()


def test_pages_of_allowed_origins_alone_may_read_answers(database: Path, tmp_path: Path) -> None:
    api = ApiProcess(
        tmp_path / "log", PREDICTION_STORE_URL=f"sqlite:///{database}", CORS_ORIGINS="https://desk.example"
    )
    try:
        api.wait_ready()
        for origin, allowed in (("https://desk.example", "https://desk.example"), ("https://eve.example", None)):
            answer = httpx.get(f"{api.http}/v1/pairs", headers={"origin": origin})
            assert answer.headers.get("access-control-allow-origin") == allowed
        preflight = {"origin": "https://desk.example", "access-control-request-method": "GET"}
        asked = {"access-control-request-headers": "authorization", **preflight}
        assert httpx.options(f"{api.http}/v1/pairs", headers=asked).status_code == 200
    finally:
        api.close()
