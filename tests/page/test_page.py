"""The web page in Chromium, over a real server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from pricecast_core.access_tokens import TokenFile, create, encode
from pricecast_testbed.page import PageTools
from tests.page.conftest import SOURCES, Opened, Site, forecast, price
from tests.waiting import eventually

VIEWS = ("chart", "overview", "trust", "models", "news", "health")
FIRST_PAINT_MS = 1_000
# Not wait_for_function: where it has to ask twice, the page's own policy forbids it to evaluate.
FIRST_PAINT = """new Promise((painted) => new PerformanceObserver((list) => {
    for (const { startTime } of list.getEntriesByName("first-contentful-paint")) painted(startTime);
}).observe({ type: "paint", buffered: true }))"""


def drawn(page: Page) -> bool:
    """Whether the chart's canvas holds more than its background."""
    found: bool = page.evaluate(
        """() => [...document.querySelectorAll('#chart-place canvas')].some((canvas) => {
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const colours = new Set();
            for (let at = 0; at < data.length; at += 404) colours.add(data[at] << 16 | data[at + 1] << 8 | data[at + 2]);
            return colours.size > 8;
        })"""
    )
    return found


def test_the_committed_bundle_is_what_the_locked_tools_make(tools: PageTools, tmp_path: Path) -> None:
    tools.build(tmp_path)
    committed = SOURCES.parent / "pricecast_prediction_api" / "page"
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in committed.iterdir()}


def test_its_types_hold_and_what_needs_no_browser_is_right(tools: PageTools) -> None:
    tools.check()


def test_on_a_desktop_it_shows_candles_the_forecast_and_what_to_know_of_it(shown: Site, opened: Opened) -> None:
    page = opened(shown.address)
    expect(page.locator("#state")).to_have_text("live")
    expect(page.locator("#last")).to_have_text(f"{price(1_299):,.2f}")
    expect(page.locator("#sentences")).to_contain_text("This market is simulated")
    expect(page.locator("#view-chart .horizons button")).to_have_text(["1 min", "5 min", "15 min"])
    expect(page.locator("#recent-place tbody tr")).to_have_count(12)
    expect(page.locator("#legend")).to_contain_text("vol")
    expect(page.locator("#chart-place canvas").nth(2)).to_be_attached()
    assert drawn(page)


def test_a_new_forecast_comes_without_a_reload(filled: Site, opened: Opened) -> None:
    page = opened(filled.address)
    expect(page.locator("#last")).to_have_text(f"{price(1_299):,.2f}")
    page.evaluate("window.same = true")
    filled.forecast_at(12_345.5)
    expect(page.locator("#last")).to_have_text("12,345.50")
    assert page.evaluate("window.same") is True


def test_panning_loads_what_lies_before(shown: Site, opened: Opened) -> None:
    page = opened(shown.address)
    expect(page.locator("#recent-place tbody tr")).to_have_count(12)
    page.locator("#chart-place").focus()
    older: list[str] = []
    page.on("request", lambda asked: older.append(asked.url) if re.search(r"/candles\?.*endTime=", asked.url) else None)

    def panned() -> list[str]:
        page.keyboard.press("ArrowLeft")  # the first ones may come before the chart is drawn
        return older

    eventually(panned, "older candles are asked for")


def test_a_chart_that_was_hidden_at_first_shows_now_and_what_is_ahead(shown: Site, opened: Opened) -> None:
    page = opened(shown.address, "overview")
    ready(page, "overview")
    page.get_by_role("link", name="Chart", exact=True).click()
    expect(page.locator("#recent-place tbody tr")).to_have_count(12)
    box = page.locator("#chart-place").bounding_box()
    assert box is not None
    told = set()
    for share in (0.2, 0.4):  # candles lie there, not one edge of all of them
        page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)
        page.wait_for_timeout(300)
        told.add(page.locator("#legend").inner_text())
    assert len(told) == 2


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_can_be_used_by_those_who_don_t_see_it(
    shown: Site, opened: Opened, tools: PageTools, view: str, dark: bool
) -> None:
    page = opened(shown.address, view, dark=dark)
    ready(page, view)
    page.evaluate((tools.sources / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [
        (each["id"], node["html"])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
    assert serious == []


@pytest.mark.parametrize("view", VIEWS)
def test_on_a_phone_nothing_is_wider_than_the_screen(shown: Site, opened: Opened, view: str) -> None:
    page = opened(shown.address, view, phone=True)
    ready(page, view)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def ready(page: Page, view: str) -> None:
    """Waits until a view shows what it is for."""
    places = {
        "chart": "#recent-place tr", "overview": "#grid-place tbody tr", "trust": "#trust-place figure",
        "models": "#models-place li", "news": "#news-place li", "health": "#health-place td",
    }  # fmt: skip
    expect(page.locator(places[view]).first).to_be_visible()
    expect(page.locator("#sentences p").first).to_be_visible()


def test_it_is_dark_where_the_system_is_and_changes_by_hand(shown: Site, opened: Opened) -> None:
    page = opened(shown.address, dark=True)

    def back() -> int:
        red, green, blue = map(
            int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))
        )
        return red + green + blue

    assert back() < 100
    page.get_by_role("button", name="Switch between light and dark").click()
    assert back() > 600
    page.reload()
    assert back() > 600


def test_offline_it_says_so_and_back_online_it_goes_on(filled: Site, opened: Opened) -> None:
    page = opened(filled.address, quiet=False)
    expect(page.locator("#state")).to_have_text("live")
    page.context.set_offline(True)
    expect(page.locator("#state")).to_have_text("offline")
    filled.forecast_at(23_456.5)
    page.context.set_offline(False)
    expect(page.locator("#state")).to_have_text("live")
    expect(page.locator("#last")).to_have_text("23,456.50")


def test_it_connects_again_to_a_server_that_was_started_anew(site: Site, opened: Opened) -> None:
    settings = site.fill()
    site.start(**settings)
    page = opened(site.address, quiet=False)
    expect(page.locator("#state")).to_have_text("live")
    port = site.address.rpartition(":")[2]
    site.stop()
    expect(page.locator("#state")).to_have_text("reconnecting")
    site.forecast_at(34_567.5)
    site.start(**settings, API_PORT=port)
    expect(page.locator("#state")).to_have_text("live")
    expect(page.locator("#last")).to_have_text("34,567.50")


def test_among_500_pairs_one_is_found_sorted_and_opened(site: Site, opened: Opened) -> None:
    pairs = [f"C{number:03}/USD" for number in range(500)]
    site.predictions.write(
        [forecast(0, site.now_ms, pair, last_price=1_000.0 + number) for number, pair in enumerate(pairs)]
    )
    site.start()
    page = opened(site.address, "overview", quiet=False)
    rows = page.locator("#grid-place tbody tr")
    expect(rows).to_have_count(500)
    page.get_by_role("button", name="Price", exact=True).click()
    expect(rows.first.locator("td").first).to_contain_text("C499/USD")
    page.get_by_role("button", name="Price", exact=True).click()
    expect(rows.first.locator("td").first).to_contain_text("C000/USD")
    page.locator("#grid-search").fill("c12")
    expect(rows).to_have_count(10)
    page.locator("#search").fill("c37")
    expect(page.locator("#found li")).to_have_count(10)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("pair=C371%2FUSD"))
    expect(page.locator("#last")).to_have_text("1,371.00")


def test_what_can_t_be_shown_is_said(site: Site, opened: Opened) -> None:
    site.predictions.write(
        [
            forecast(number, site.now_ms - (300 - number) * 10_000, model_version=0, model_name="naive")
            for number in range(200)
        ]
    )
    site.start()
    page = opened(site.address, quiet=False)
    said = page.locator("#sentences")
    expect(said).to_contain_text("time is over")
    expect(said).to_contain_text("this is the naive forecast")
    expect(said).to_contain_text("No candles can be read here")
    page.get_by_role("link", name="Models").click()
    expect(page.locator("#models-place")).to_contain_text("MODEL_REGISTRY_URL")
    page.get_by_role("link", name="News").click()
    expect(page.locator("#news-place")).to_contain_text("FEATURE_STORE_URL")
    page.get_by_role("link", name="Trust").click()
    expect(page.locator("#trust-place")).to_contain_text("No forecast's time has come yet")
    page.get_by_role("link", name="Health").click()
    expect(page.locator("#health-place")).to_contain_text("not ready")


def test_where_nothing_is_predicted_it_waits(site: Site, opened: Opened) -> None:
    site.start()
    page = opened(site.address, quiet=False)
    expect(page.locator("#waiting")).to_contain_text("Nothing is predicted yet")
    site.predictions.write([forecast(5, site.now_ms)])
    expect(page.locator("#last")).to_have_text(f"{price(5):,.2f}")


def test_it_asks_for_a_token_and_keeps_it_from_scripts(site: Site, opened: Opened, tmp_path: Path) -> None:
    secret, entry = create("ann", ["*"], 0, None)
    file = tmp_path / "tokens.json"
    file.write_bytes(encode(TokenFile([entry])))
    site.start(**site.fill(), API_TOKENS_FILE=str(file))
    page = opened(site.address, quiet=False)
    page.get_by_label("Token").fill("pct_wrong")
    page.get_by_role("button", name="Open").click()
    expect(page.locator("#refused")).not_to_be_empty()
    page.get_by_label("Token").fill(secret)
    page.get_by_role("button", name="Open").click()
    expect(page.locator("#last")).to_have_text(f"{price(1_299):,.2f}")
    assert secret not in page.evaluate(
        "document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)"
    )


def test_the_first_paint_comes_within_a_second(shown: Site, opened: Opened) -> None:
    page = opened(shown.address)
    painted = []
    for _ in range(20):  # the fastest counts: what others do on this machine isn't the page's doing
        painted.append(page.evaluate(FIRST_PAINT))
        if painted[-1] < FIRST_PAINT_MS:
            break
        page.reload()
    assert min(painted) < FIRST_PAINT_MS
