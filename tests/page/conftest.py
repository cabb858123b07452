"""A real prediction API over stores that were filled beforehand, and Chromium to look at its page."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from pricecast_core.messages import Prediction
from pricecast_core.stores.features import Value, news_signals_group, technical_indicators_group
from pricecast_core.stores.features_sql import SqlFeatureStore
from pricecast_core.stores.models import TrainingRun, model_name
from pricecast_core.stores.models_sql import SqlModelRegistry
from pricecast_core.stores.predictions_sql import SqlPredictionStore
from pricecast_core.values import slug
from pricecast_testbed.page import PageTools, chromium
from tests.contracts.predictions import a_prediction, scored
from tests.unit.prediction_api.conftest import ApiProcess

SOURCES = Path(__file__).parents[2] / "services" / "prediction-api" / "page"
PATIENCE_MS = 60_000
"""These machines are shared: what is waited for comes in a second or so where they are quiet."""
STEP_MS = 10_000
HORIZONS = (60, 300, 900)
CANDLES = 1_300
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
_WIDTHS = (-2.0, -1.5, -0.8, 0.0, 0.8, 1.5, 2.0)


def price(number: int) -> float:
    """Returns a price that wanders, the same in every run."""
    return 41_000 + 300 * math.sin(number / 70) + 90 * math.sin(number / 11) + 25 * math.sin(number * 1.7)


def forecast(number: int, at_ms: int, pair: str = "BTC/USD", horizon: int = 60, **changes: Any) -> Prediction:
    """Returns the forecast made at a candle."""
    last = price(number)
    spread = 18 * math.sqrt(horizon / 10)
    quantiles = tuple(last + spread * width for width in _WIDTHS)
    values: dict[str, Any] = {
        "pipeline": "demo", "pair": pair, "horizon_seconds": horizon, "issued_at_ms": at_ms, "feature_time_ms": at_ms,
        "target_time_ms": at_ms + horizon * 1000, "last_price": last, "predicted_price": last, "lower": quantiles[1],
        "upper": quantiles[5], "levels": LEVELS, "quantiles": quantiles, "model_version": 2, "simulated": True,
        "model_name": model_name("demo", slug(pair), horizon), "distribution_skill": 0.034, "point_is_naive": True,
    }  # fmt: skip
    return a_prediction(**{**values, **changes})


@dataclass
class Site:
    """A server, and what it reads.

    Attributes:
        now_ms: The event time of the newest candle when it was filled.
    """

    folder: Path
    now_ms: int = field(default_factory=lambda: int(time.time() * 1000) // STEP_MS * STEP_MS)
    process: ApiProcess | None = None

    def __post_init__(self) -> None:
        self.predictions = SqlPredictionStore(self.url("predictions"))
        self.predictions.ensure()

    def url(self, name: str) -> str:
        return f"sqlite:///{self.folder / name}.db"

    @property
    def address(self) -> str:
        assert self.process is not None
        return self.process.http

    def start(self, **settings: str) -> None:
        number = len(list(self.folder.glob("log*")))
        self.process = ApiProcess(
            self.folder / f"log{number}", PREDICTION_STORE_URL=self.url("predictions"), **settings
        )
        self.process.wait_ready()

    def stop(self) -> None:
        if self.process is not None:
            self.process.close()

    def fill(self) -> dict[str, str]:
        """Writes candles, news, models and three horizons of forecasts; returns the settings that show them."""
        store = SqlFeatureStore(self.url("features"))
        times = [(number, self.now_ms - (CANDLES - 1 - number) * STEP_MS) for number in range(CANDLES)]
        for group, rows in (
            (technical_indicators_group("demo", ()), [_candle(number, at_ms) for number, at_ms in times]),
            (news_signals_group("demo"), [_signal(number, self.now_ms) for number in range(4)]),
        ):
            store.ensure(group)
            store.write(group, rows)
        store.close()
        registry = SqlModelRegistry(self.url("models"))
        for horizon in HORIZONS:
            for number in (1, 2):
                name = model_name("demo", "btc-usd", horizon)
                registry.register(TrainingRun(name, {"kind": "Ensemble"}, _MEASURES, times[0][1], b"model"))
                registry.promote(name, number, f"its distribution beats the naive one out of sample (version {number})")
        registry.close()
        known = [
            _scored(forecast(number, at_ms, horizon=horizon), number + horizon // 10)
            for number, at_ms in times[-400:]
            for horizon in HORIZONS
        ]
        self.predictions.write(known)
        programs = {
            name: {"state": "ready", "since": time.time() - 900, "restarts": 0, "message": ""}
            for name in ("trades", "price-predictor")
        }
        (self.folder / "state.json").write_text(json.dumps({"programs": programs}))
        return {
            "FEATURE_STORE_URL": self.url("features"), "MODEL_REGISTRY_URL": self.url("models"),
            "STATE_FILE": str(self.folder / "state.json"), "PIPELINE": "demo",
        }  # fmt: skip

    def forecast_at(self, last: float) -> None:
        """Makes a forecast for an hour on, whose last price tells it from all others."""
        self.now_ms += STEP_MS
        made = forecast(
            0, self.now_ms, last_price=last, predicted_price=last, target_time_ms=int(time.time() * 1000) + 3_600_000
        )
        self.predictions.write([made])


_MEASURES = {
    "rows": 2487.0, "distribution_skill": 0.034, "coverage": 0.81, "training_seconds": 8.0, "Ewma.lead": 0.0024,
    "Ewma.lead_low": -0.0005, "Ewma.lead_high": 0.0052, "HarSeasonal.lead": 0.0198, "HarSeasonal.lead_low": 0.0096,
}  # fmt: skip


def _candle(number: int, at_ms: int) -> dict[str, Value]:
    opened, closed = price(number - 1), price(number)
    volume = 0.4 + 0.3 * abs(math.sin(number / 5))
    return {
        "pair": "BTC/USD", "candle_seconds": 10, "window_start_ms": at_ms - STEP_MS, "window_end_ms": at_ms,
        "open": opened, "high": max(opened, closed) + 8, "low": min(opened, closed) - 8, "close": closed,
        "volume": volume, "trade_count": 20,
    }  # fmt: skip


def _signal(number: int, now_ms: int) -> dict[str, Value]:
    return {
        "coin": "BTC", "model_name": "lexicon", "news_id": f"n{number}", "timestamp_ms": now_ms - (number + 1) * 180_000,
        "signal": (1, -1, 0, 1)[number], "reasoning": "", "url": f"https://news.example/{number}",
        "title": ("ETF inflows reach a record", "An exchange halts withdrawals", "A conference opens", "A bank opens custody")[number],
    }  # fmt: skip


def _scored(prediction: Prediction, at: int) -> Prediction:
    return scored(prediction, price(at)) if at < CANDLES else prediction


@pytest.fixture(scope="session")
def tools() -> PageTools:
    found = PageTools(SOURCES)
    found.install()
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE_MS)
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A server over stores that are empty yet; a test fills and starts it."""
    made = Site(tmp_path)
    yield made
    made.stop()
    made.predictions.close()


@pytest.fixture
def filled(site: Site) -> Site:
    """A server that shows everything."""
    site.start(**site.fill())
    return site


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One that tests share: they only look at it."""
    made = Site(tmp_path_factory.mktemp("shown"))
    made.start(**made.fill())
    yield made
    made.stop()
    made.predictions.close()


def _is_complaint(said: ConsoleMessage) -> bool:
    """Whether the browser objects to the page. A call that took too long on a busy machine is the page's to repeat."""
    return said.type in ("error", "warning") and not said.text.startswith("Failed to load resource")


Opened = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    """Opens a page in a window of its own; whatever it complains of, the policy's refusals included, fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(
        address: str, view: str = "chart", *, phone: bool = False, dark: bool = False, quiet: bool = True
    ) -> Page:
        size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 900}
        context = browser.new_context(
            viewport=size,
            color_scheme="dark" if dark else "light",
            is_mobile=phone,
            has_touch=phone,  # type: ignore[arg-type]
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        if quiet:
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda said: complaints.append(said.text) if _is_complaint(said) else None)
        page.goto(f"{address}/#/{view}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
