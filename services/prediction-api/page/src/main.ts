// The page: what was chosen, what is known, and which view shows it. It reads the public API like any other caller.

import {
  type Calibration, type Connection, type ModelVersion, type NewsItem, type PipelineState, type Prediction, type Series,
  type SeriesScore, Watch, api, logIn, whenLocked,
} from "./api.ts";
import { PriceChart, steer } from "./chart.ts";
import { byId, h, say } from "./dom.ts";
import { keyOf, sentences, seriesOf, time } from "./facts.ts";
import { clock, duration, percent, price, signedPercent } from "./format.ts";
import { Search, choices } from "./search.ts";
import { Overview, health, models, news, recent, trust } from "./views.ts";

const theme = localStorage.getItem("theme");
if (theme) document.documentElement.dataset["theme"] = theme;

const VIEWS = ["chart", "overview", "trust", "models", "news", "health"] as const;
type View = (typeof VIEWS)[number];

const latest = new Map<string, Prediction>();
let scores = new Map<string, SeriesScore>();
let pipelines: PipelineState[] = [];
let chosen: Series | null = null;
let view: View = "chart";
let connection: Connection = "connecting";
let known: { of: string; calibration?: Calibration; versions?: ModelVersion[] | null; items?: NewsItem[] | null } = { of: "" };

const chart = new PriceChart(byId("chart-place"), byId("legend"));
steer(byId("chart-place"), chart);
const overview = new Overview(byId("grid-place"), (row) => go("chart", row.series));
const search = new Search(byId<HTMLInputElement>("search"), byId("found"), (series) => go(view === "overview" || view === "health" ? "chart" : view, series));

// --- where we are: it is in the address, so that it can be kept and sent

function go(next: View, series: Series | null = chosen): void {
  const query = series ? `?${new URLSearchParams({ pair: series.pair, pipeline: series.pipeline, horizon: String(series.horizon) })}` : "";
  location.hash = `#/${next}${query}`;
}

function readAddress(): void {
  const [path = "", query = ""] = location.hash.replace(/^#\//, "").split("?");
  const wanted = new URLSearchParams(query);
  view = VIEWS.find((name) => name === path) ?? "chart";
  const pair = wanted.get("pair");
  if (pair) choose({ pair, pipeline: wanted.get("pipeline") ?? "", horizon: Number(wanted.get("horizon")) || 0 });
  for (const name of VIEWS) {
    byId(`view-${name}`).hidden = name !== view;
    const link = byId<HTMLAnchorElement>(`to-${name}`);
    if (name === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view === "health") void attempt(refreshPipelines());
  void attempt(load());
  draw();
}

/** Takes a series, or the nearest to it that is predicted. */
function choose(wanted: Series): void {
  const near = [...latest.values()].map(seriesOf).filter((s) => s.pair === wanted.pair && (!wanted.pipeline || s.pipeline === wanted.pipeline));
  const series = near.find((s) => s.horizon === wanted.horizon) ?? near.sort((a, b) => a.horizon - b.horizon)[0] ?? wanted;
  if (chosen && keyOf(chosen) === keyOf(series)) return;
  chosen = series;
  chart.ahead = ahead();
  fillHorizons();
  void attempt(Promise.all([chart.show(series).then(draw), load()]));
}

/** The latest forecasts of the chosen pair, of every horizon. */
function ahead(): Prediction[] {
  return [...latest.values()].filter((p) => chosen && p.pair === chosen.pair && seriesOf(p).pipeline === chosen.pipeline);
}

// --- what comes in

let pending = false;
function take(prediction: Prediction): void {
  latest.set(keyOf(seriesOf(prediction)), prediction);
  if (!pending) {
    pending = true;
    setTimeout(flush, 60); // a burst, as at the start, is drawn once
  }
}

function flush(): void {
  pending = false;
  search.series = choices([...latest.values()].map(seriesOf));
  const wanted = new URLSearchParams(location.hash.split("?")[1] ?? "").get("pair");
  const isThere = [...latest.values()].some((p) => p.pair === wanted);
  if (!chosen || !latest.has(keyOf(chosen)) || (isThere && chosen.pair !== wanted)) {
    // what the address names may come a moment later than others do
    const first = choices([...latest.values()].map(seriesOf))[0];
    if (isThere) readAddress();
    else if (first) choose(first);
  } else void attempt(chart.follow(ahead()).then(draw));
  fillHorizons();
  draw();
}

async function refreshScores(): Promise<void> {
  const found = await api.scores();
  scores = new Map(found.map((s) => [keyOf({ pipeline: s.pipelineId, pair: s.pair, horizon: s.horizonSeconds }), s]));
  draw();
}

async function refreshPipelines(): Promise<void> {
  pipelines = await api.pipelines();
  draw();
}

/** Loads what the view needs, of the series chosen. */
async function load(again = false): Promise<void> {
  if (!chosen || !latest.has(keyOf(chosen))) return;
  const series = chosen;
  if (known.of !== keyOf(series)) known = { of: keyOf(series) };
  const kept = known;
  if (view === "trust" || view === "models") {
    if (again || kept.versions === undefined) kept.versions = await api.models(series);
    if (view === "trust" && (again || !kept.calibration)) kept.calibration = await api.calibration(series);
  } else if (view === "news" && (again || kept.items === undefined)) kept.items = await api.news(series);
  else return;
  if (kept === known) drawRecord();
}

/** What fails while the server is away is tried again with the next event; the state says that it is away. */
async function attempt(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (connection === "live") say(byId("state"), (error as Error).message);
  }
}

// --- drawing

function draw(): void {
  const now = Date.now();
  const current = chosen ? latest.get(keyOf(chosen)) : undefined;
  byId("waiting").hidden = latest.size > 0 || !byId("login").hidden;
  byId("main").classList.toggle("none", latest.size === 0);
  drawState();
  const state = pipelines.find((p) => p.pipelineId === (chosen?.pipeline ?? p.pipelineId));
  const told = sentences(current, chosen ? scores.get(keyOf(chosen))?.score : undefined, state, now);
  if (current && view === "chart" && !chart.hasCandles) {
    told.push({ mark: "info", text: "No candles can be read here, so the line shows the last price that each forecast started from." });
  }
  const words = told.map((t) => t.text).join("\n");
  const place = byId("sentences");
  if (place.dataset["words"] !== words) {
    place.dataset["words"] = words;
    place.replaceChildren(...told.map((t) => h("p", { class: `sentence ${t.mark}` }, t.text)));
  }
  if (current) drawCurrent(current, now);
  if (view === "overview") overview.draw(latest.values(), scores, now);
  if (view === "health") byId("health-place").replaceChildren(...health(pipelines, now));
  if (view === "chart") byId("recent-place").replaceChildren(recent(chart.recent));
}

function drawState(): void {
  const state = byId("state");
  say(state, connection === "live" ? "live" : navigator.onLine ? connection : "offline");
  state.className = `state ${connection}`;
}

function drawCurrent(p: Prediction, now: number): void {
  const score = scores.get(keyOf(seriesOf(p)))?.score;
  search.chosen = p.pair;
  document.title = `${price(p.lastPrice)} ${p.pair} – pricecast`;
  for (const title of document.querySelectorAll(".pair-name")) say(title, `${p.pair}, ${duration(p.horizonSeconds)} ahead`);
  say(byId("last"), price(p.lastPrice));
  say(byId("last-note"), `${duration(Math.max(0, (now - time(p.featureTime)) / 1000))} ago`);
  say(byId("forecast-name"), `Forecast for ${clock(p.targetTime, p.horizonSeconds < 300)}`);
  say(byId("forecast"), price(p.predictedPrice));
  const left = (time(p.targetTime) - now) / 1000;
  const change = p.pointIsNaive ? "the last price" : signedPercent(p.predictedPrice / p.lastPrice - 1, 2);
  say(byId("forecast-note"), `${change}, ${left > 0 ? `in ${duration(left)}` : "over"}`);
  say(byId("interval"), `${price(p.lower)} – ${price(p.upper)}`);
  say(byId("interval-note"), `${percent((p.upper - p.lower) / p.lastPrice, 2)} wide`);
  say(byId("skill"), signedPercent(score?.distributionSkill));
  say(byId("skill-note"), score?.count ? `${score.count} scored, ${percent(score.coverage, 0)} in 80%` : "none scored yet");
  say(byId("model"), p.modelVersion ? `v${p.modelVersion}` : "naive");
  say(byId("model-note"), p.skill?.distribution === undefined ? "no model yet" : `${signedPercent(p.skill.distribution)} out of sample`);
}

function drawRecord(): void {
  const coin = chosen?.pair.split("/")[0] ?? "";
  if (view === "trust" && known.calibration) byId("trust-place").replaceChildren(...trust(known.calibration, known.versions ?? null));
  if (view === "models" && known.versions !== undefined) byId("models-place").replaceChildren(...models(known.versions));
  if (view === "news" && known.items !== undefined) byId("news-place").replaceChildren(...news(known.items, coin));
}

function fillHorizons(): void {
  const horizons = [...new Set(ahead().map((p) => p.horizonSeconds))].sort((a, b) => a - b);
  for (const place of document.querySelectorAll<HTMLElement>(".horizons")) {
    const wanted = horizons.map((seconds) => `${seconds}`).join();
    if (place.dataset["of"] !== wanted) {
      place.dataset["of"] = wanted;
      place.replaceChildren(...horizons.map((seconds) => h("button", {
        type: "button", "data-horizon": seconds, click: () => chosen && go(view, { ...chosen, horizon: seconds }),
      }, duration(seconds))));
    }
    for (const button of place.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset["horizon"]) === chosen?.horizon));
    }
  }
  const all = [...new Set([...latest.values()].map((p) => p.horizonSeconds))].sort((a, b) => a - b);
  const select = byId<HTMLSelectElement>("grid-horizon");
  if (select.options.length !== all.length + 1) {
    const before = select.value;
    select.replaceChildren(new Option("every horizon", "0"), ...all.map((seconds) => new Option(duration(seconds), String(seconds))));
    select.value = [...select.options].some((option) => option.value === before && before !== "0") ? before : String(all[0] ?? 0);
    overview.horizon = Number(select.value);
  }
}

// --- what a person does

byId<HTMLInputElement>("grid-search").addEventListener("input", (event) => {
  overview.search = (event.target as HTMLInputElement).value;
  draw();
});
byId<HTMLSelectElement>("grid-horizon").addEventListener("change", (event) => {
  overview.horizon = Number((event.target as HTMLSelectElement).value);
  draw();
});
for (const what of ["past", "news"] as const) {
  byId<HTMLInputElement>(`show-${what}`).addEventListener("change", (event) => chart.toggle(what, (event.target as HTMLInputElement).checked));
}
document.addEventListener("pricecast:redraw", draw);
addEventListener("hashchange", () => {
  readAddress();
  fillHorizons();
});
for (const name of VIEWS) {
  byId(`to-${name}`).addEventListener("click", (event) => {
    event.preventDefault();
    go(name);
  });
}

byId("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset["theme"] === "dark" ||
    (!document.documentElement.dataset["theme"] && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset["theme"] = dark ? "light" : "dark";
  localStorage.setItem("theme", dark ? "light" : "dark");
  chart.paint();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.paint());

// The server keeps the token in a cookie that no script can read; event streams send it, too.
whenLocked(() => {
  byId("login").hidden = false;
  byId("waiting").hidden = true;
});
byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = byId<HTMLInputElement>("token");
  void logIn(field.value.trim()).then((problem) => {
    field.value = "";
    say(byId("refused"), problem);
    if (problem) return;
    byId("login").hidden = true;
    start();
  });
});

const watch = new Watch(take, (state) => {
  const back = state === "live" && connection === "reconnecting";
  connection = state;
  if (back && chosen) void attempt(chart.show(chosen).then(draw)); // what came meanwhile
  if (state === "live") poll();
  drawState();
});

function poll(): void {
  void attempt(Promise.all([refreshScores(), refreshPipelines(), load(true)]));
}

function start(): void {
  watch.start();
  poll();
}

setInterval(poll, 15_000);
setInterval(draw, 1_000);
readAddress();
start();
