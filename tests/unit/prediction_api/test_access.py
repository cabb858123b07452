"""Who may call: bearer tokens and an issuer's tokens, over gRPC and HTTP, on a real process."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.access_tokens import TokenFile, create, encode
from pricecast_core.errors import SettingsError
from pricecast_core.settings import PredictionApiSettings
from pricecast_core.stores.predictions_sql import SqlPredictionStore
from pricecast_prediction_api.access.caller import Caller
from pricecast_prediction_api.access.rates import Rates
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as pb
from pricecast_prediction_api.gen.pricecast.v1.prediction_service_pb2_grpc import PredictionServiceStub
from tests.contracts.predictions import a_prediction
from tests.unit.prediction_api.conftest import ApiProcess
from tests.unit.prediction_api.test_grpc import fails
from tests.waiting import eventually

AUDIENCE = "pricecast"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
FOREIGN_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Issuer:
    """An OpenID Connect issuer: its discovery document and its keys, over HTTP."""

    def __init__(self) -> None:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = {
                    "/.well-known/openid-configuration": {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"},
                    "/keys": {"keys": issuer.keys},
                }[self.path]
                body = json.dumps(found).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.keys = [self.public("one", KEY)]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @staticmethod
    def public(name: str, key: rsa.RSAPrivateKey) -> dict[str, Any]:
        return {**jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": name, "use": "sig"}

    def token(self, *, key: Any = KEY, kid: str = "one", algorithm: str = "RS256", **claims: Any) -> str:
        now = int(time.time())
        whole = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "exp": now + 600, "pricecast_pipelines": ["*"]}
        return jwt.encode({**whole, **claims}, key, algorithm=algorithm, headers={"kid": kid})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    found = Issuer()
    yield found
    found.close()


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The secrets by name, and in `file` where the entries are."""
    made = {
        "all": create("all", ["*"], 0, None),
        "demo": create("demo", ["demo"], 0, None),
        "slow": create("slow", ["*"], 0.001, None),
    }
    file = tmp_path_factory.mktemp("tokens") / "tokens.json"
    file.write_bytes(encode(TokenFile([entry for _, entry in made.values()])))
    return {"file": str(file)} | {name: secret for name, (secret, _) in made.items()}


@pytest.fixture(scope="module")
def guarded(
    tokens: dict[str, str],
    issuer: Issuer,
    sources: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ApiProcess]:
    process = ApiProcess(
        tmp_path_factory.mktemp("guarded") / "log",
        **sources,
        API_HOST="0.0.0.0",
        API_TOKENS_FILE=tokens["file"],
        OIDC_ISSUER=issuer.url,
        OIDC_AUDIENCE=AUDIENCE,
    )
    process.http = process.http.replace("0.0.0.0", "127.0.0.1")
    try:
        process.wait_ready()
        yield process
    finally:
        process.close()


def asked(api: ApiProcess, token: str | None, path: str = "/v1/pairs") -> httpx.Response:
    return httpx.get(api.http + path, headers={} if token is None else {"authorization": f"Bearer {token}"})


def pairs_of(answer: httpx.Response) -> list[str]:
    return [pair["pair"] for pair in answer.json()["pairs"]]


@pytest.mark.parametrize("path", ["/v1/pairs", "/v1/nothing", "/predict?pair=BTC/USD", "/v1/predictions:watch"])
def test_without_a_token_nothing_is_told_over_http(guarded: ApiProcess, path: str) -> None:
    answer = asked(guarded, None, path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "authorization: Bearer TOKEN" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/", "/page/page.js", "/openapi.json", "/health"])
def test_what_holds_no_prediction_is_open(guarded: ApiProcess, path: str) -> None:
    answer = asked(guarded, None, path)
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_token_is_let_in_over_both_protocols(guarded: ApiProcess, tokens: dict[str, str]) -> None:
    assert pairs_of(asked(guarded, tokens["all"])) == ["BTC/USD", "ETH/USD"]
    with grpc.insecure_channel(guarded.grpc) as channel:
        stub = PredictionServiceStub(channel)
        metadata = (("authorization", f"Bearer {tokens['all']}"),)
        assert len(stub.ListPairs(pb.ListPairsRequest(), metadata=metadata).pairs) == 2
        first = next(stub.WatchPredictions(pb.WatchPredictionsRequest(), metadata=metadata))
        assert first.prediction.pair
        fails(
            lambda: stub.ListPairs(pb.ListPairsRequest()), grpc.StatusCode.UNAUTHENTICATED, error_details_pb2.ErrorInfo
        )
        watch = stub.WatchPredictions(pb.WatchPredictionsRequest(), metadata=(("authorization", "Bearer pct_no"),))
        fails(lambda: next(watch), grpc.StatusCode.UNAUTHENTICATED, error_details_pb2.ErrorInfo)


def test_pipelines_outside_of_a_token_s_scope_are_not_there(guarded: ApiProcess, tokens: dict[str, str]) -> None:
    demo = tokens["demo"]
    assert pairs_of(asked(guarded, demo)) == ["ETH/USD"]
    unknown = [
        "/v1/pairs/BTC-USD/prediction",
        "/v1/pairs/BTC-USD/predictions",
        "/v1/pairs/BTC-USD/predictions?pipeline=btc",
        "/v1/predictions:watch?pairs=BTC/USD",
        "/predict?pair=BTC/USD",
        "/v1/pairs/BTC-USD/candles",
        "/v1/pairs/BTC-USD/candles?pipeline=btc",
        "/v1/pairs/BTC-USD/news",
        "/v1/pairs/BTC-USD/models",
        "/v1/pairs/BTC-USD/calibration",
    ]
    for path in unknown:
        answer = asked(guarded, demo, path)
        assert (path, answer.status_code) == (path, 404)
        assert "btc" not in answer.json()["detail"].replace("BTC/USD", "").replace("pipeline: btc", "")
    history = asked(guarded, demo, "/v1/pairs/ETH-USD/predictions").json()["predictions"]
    assert {prediction["pipeline"] for prediction in history} == {"demo"}
    batch = asked(guarded, demo, "/v1/predictions:batch").json()["predictions"]
    assert {prediction["pipeline"] for prediction in batch} == {"demo"}
    states = asked(guarded, demo, "/v1/pipelines").json()["pipelines"]
    assert [state["pipelineId"] for state in states] == ["demo"]
    assert asked(guarded, demo, "/v1/scores").json()["scores"] == []


def test_a_watcher_sees_only_what_it_may(
    guarded: ApiProcess, tokens: dict[str, str], store: SqlPredictionStore
) -> None:
    with grpc.insecure_channel(guarded.grpc) as channel:
        metadata = (("authorization", f"Bearer {tokens['demo']}"),)
        watch = PredictionServiceStub(channel).WatchPredictions(pb.WatchPredictionsRequest(), metadata=metadata)
        assert next(watch).prediction.pipeline == "demo"
        store.write([a_prediction(50), a_prediction(50, pair="ETH/USD", simulated=True, pipeline="demo")])
        assert next(watch).prediction.pipeline == "demo"
        watch.cancel()


def test_a_caller_that_asks_too_often_is_told_when_it_may(guarded: ApiProcess, tokens: dict[str, str]) -> None:
    assert asked(guarded, tokens["slow"]).status_code == 200
    answer = asked(guarded, tokens["slow"])
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 900
    assert asked(guarded, tokens["all"]).status_code == 200


def test_the_page_s_cookie_is_as_good_as_the_header_and_hidden_from_scripts(
    guarded: ApiProcess, tokens: dict[str, str]
) -> None:
    with httpx.Client(base_url=guarded.http) as browser:
        assert browser.post("/session", json={"token": "pct_wrong"}).status_code == 401
        assert browser.post("/session", content=b"\xff").status_code == 400
        answer = browser.post("/session", json={"token": tokens["all"]})
        assert answer.status_code == 204
        assert {"HttpOnly", "SameSite=strict"} <= set(answer.headers["set-cookie"].split("; "))
        assert browser.get("/v1/pairs").status_code == 200
        browser.delete("/session")
        assert browser.get("/v1/pairs").status_code == 401


def test_a_token_of_the_issuer_is_let_in_with_its_pipelines(guarded: ApiProcess, issuer: Issuer) -> None:
    assert pairs_of(asked(guarded, issuer.token())) == ["BTC/USD", "ETH/USD"]
    assert pairs_of(asked(guarded, issuer.token(sub="bob", pricecast_pipelines="demo"))) == ["ETH/USD"]
    assert pairs_of(asked(guarded, issuer.token(sub="eve", pricecast_pipelines=[]))) == []


def b64(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_token_that_does_not_hold_is_refused(guarded: ApiProcess, issuer: Issuer) -> None:
    claims = {"iss": issuer.url, "aud": AUDIENCE, "sub": "ann", "exp": int(time.time()) + 600}
    whole = issuer.token()
    refused = {
        "expired": issuer.token(exp=int(time.time()) - 60),
        "of another audience": issuer.token(aud="other"),
        "of another issuer": issuer.token(iss="https://elsewhere.example"),
        "signed by another key": issuer.token(key=FOREIGN_KEY),
        "signed by an unknown key": issuer.token(key=FOREIGN_KEY, kid="two"),
        "unsigned": f"{b64({'alg': 'none', 'typ': 'JWT', 'kid': 'one'})}.{b64(claims)}.",
        "signed with the public key": issuer.token(key="public" * 8, algorithm="HS256"),
        "without an end": jwt.encode({**claims, "exp": None}, KEY, algorithm="RS256", headers={"kid": "one"}),
        "changed": whole[:-10] + "A" * 10,
        "cut": whole[: len(whole) // 2],
        "of claims of the wrong kind": issuer.token(pricecast_pipelines={"*": True}),
        "no token": "x.y.z",
    }
    for what, token in refused.items():
        assert (what, asked(guarded, token).status_code) == (what, 401)


def test_a_key_that_the_issuer_adds_is_read_when_a_token_names_it(
    store_url: str, store: SqlPredictionStore, tmp_path: Path
) -> None:
    rotating = Issuer()
    api = ApiProcess(tmp_path / "log", PREDICTION_STORE_URL=store_url, OIDC_ISSUER=rotating.url, OIDC_AUDIENCE=AUDIENCE)
    try:
        api.wait_ready()
        rotating.keys.append(rotating.public("two", FOREIGN_KEY))
        assert asked(api, rotating.token(key=FOREIGN_KEY, kid="two")).status_code == 200
        rotating.close()
        assert asked(api, rotating.token(key=FOREIGN_KEY, kid="two", sub="bob")).status_code == 200
    finally:
        api.close()


def test_an_issuer_that_can_not_be_asked_is_no_refusal(
    store_url: str, store: SqlPredictionStore, tmp_path: Path
) -> None:
    gone = Issuer()
    gone.close()
    api = ApiProcess(tmp_path / "log", PREDICTION_STORE_URL=store_url, OIDC_ISSUER=gone.url, OIDC_AUDIENCE=AUDIENCE)
    try:
        api.wait_ready()
        assert asked(api, gone.token()).status_code == 503
        assert asked(api, None).status_code == 401
    finally:
        api.close()


def test_a_file_of_tokens_that_changes_is_read_again(store_url: str, store: SqlPredictionStore, tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    secret, entry = create("ann", ["*"], 0, None)
    file.write_bytes(encode(TokenFile([entry])))
    api = ApiProcess(tmp_path / "log", PREDICTION_STORE_URL=store_url, API_TOKENS_FILE=str(file))
    try:
        api.wait_ready()
        assert asked(api, secret).status_code == 200
        file.write_text("{")
        eventually(lambda: asked(api, secret) and "can't be read again" in api.log.read_text())
        assert asked(api, secret).status_code == 200
        file.write_bytes(encode(TokenFile([])))
        eventually(lambda: asked(api, secret).status_code == 401)
    finally:
        api.close()


def test_no_secret_is_logged_and_each_refusal_is_one_line(
    guarded: ApiProcess, tokens: dict[str, str], issuer: Issuer
) -> None:
    wrong = "pct_canary-of-a-wrong-token"
    signed = issuer.token(aud="other")
    for token in (wrong, signed):
        assert asked(guarded, token, "/v1/pairs?canary=1").status_code == 401
    refusals = [line for line in guarded.lines() if line["event"] == "refused"]
    assert {"code", "reason", "peer", "method"} <= set(refusals[-1])
    log = guarded.log.read_text()
    assert not [secret for secret in (wrong, signed, *tokens.values()) if secret in log]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"api_host": "0.0.0.0"}, "api_tokens_file"),
        ({"grpc_host": "::"}, "anonymous"),
        ({"anonymous": True, "oidc_issuer": "https://a.example", "oidc_audience": "b"}, "anonymous"),
        ({"oidc_issuer": "https://a.example"}, "oidc_audience"),
        ({"tls_client_ca": "ca.pem"}, "tls_certificate"),
    ],
)
def test_an_api_that_others_reach_says_who_may_ask(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        PredictionApiSettings(**settings)
    assert PredictionApiSettings(api_host="0.0.0.0", anonymous=True).anonymous
    assert PredictionApiSettings(api_host="localhost", grpc_host="127.0.0.2").api_host == "localhost"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"{", "truncated"),
        (b'{"tokens": [{"name": "a b", "sha256": "00"}]}', "name"),
        (b'{"tokens": [{"name": "a", "sha256": "pct_secret"}]}', "sha256"),
        (b'{"tokens": [{"name": "a", "sha256": "%s", "pipeline": "x"}]}' % (b"0" * 64), "pipeline"),
    ],
)
def test_a_wrong_file_stops_the_process_and_names_the_field(content: bytes, named: str, tmp_path: Path) -> None:
    from pricecast_prediction_api.access.gate import Gate

    (tmp_path / "tokens.json").write_bytes(content)
    with pytest.raises(SettingsError, match=named) as error:
        Gate(PredictionApiSettings(api_tokens_file=tmp_path / "tokens.json"))
    assert "pct_secret" not in str(error.value)
    with pytest.raises(SettingsError, match="API_TOKENS_FILE"):
        Gate(PredictionApiSettings(api_tokens_file=tmp_path / "none.json"))


def test_the_command_makes_a_token_that_the_api_takes(tmp_path: Path) -> None:
    from pricecast_prediction_api.access.tokens import Tokens

    command = [
        sys.executable,
        "-m",
        "pricecast_cli",
        "token",
        "ann",
        "--pipeline",
        "team-a.*",
        "--requests-per-second",
        "5",
    ]
    secrets = [
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()
        for _ in range(2)
    ]
    tokens = Tokens(tmp_path / "tokens.json")
    assert tokens.find(secrets[0]) is None
    assert tokens.find(secrets[1]) == Caller("ann", ("team-a.*",), 5)
    assert (tmp_path / "tokens.json").stat().st_mode & 0o077 == 0
    assert secrets[1] not in (tmp_path / "tokens.json").read_text()


@given(st.floats(0.1, 1000), st.lists(st.floats(0, 3), max_size=60))
def test_no_caller_passes_more_often_than_its_rate(per_second: float, pauses: list[float]) -> None:
    clock = 0.0
    rates = Rates(lambda: clock)
    passed = 0
    for pause in pauses:
        clock += pause
        wait = rates.take("ann", per_second)
        passed += wait == 0
        assert wait <= 1 / per_second + 1e-6
    assert passed <= max(1.0, per_second) + clock * per_second + 1e-6
    assert rates.take("bob", per_second) == 0


def test_the_command_asks_with_the_token_in_its_variable(guarded: ApiProcess, tokens: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pricecast_cli", "predict", "ETH/USD", "--address", guarded.http, "--json"]

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)

    found = run(PRICECAST_TOKEN=tokens["demo"])
    assert (found.returncode, json.loads(found.stdout)["pair"]) == (0, "ETH/USD")
    refused = run(PRICECAST_TOKEN="")
    assert (refused.returncode, "401" in refused.stderr) == (1, True)


def test_a_pattern_covers_a_namespace() -> None:
    caller = Caller("ann", ("team-a.*", "demo"))
    assert [caller.may_see(name) for name in ("team-a.btc", "demo", "team-b.btc", "demo2")] == [
        True,
        True,
        False,
        False,
    ]
    assert not caller.sees_all
