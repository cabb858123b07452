// The views beside the chart: overview, trust, models, news, health. Each is drawn from the API's answers.

import type { Calibration, ModelVersion, NewsItem, PipelineState, Prediction, SeriesScore } from "./api.ts";
import { h, say, table } from "./dom.ts";
import { type Column, type Row, coverageSentence, isWell, matches, rivals, rows, sorted } from "./facts.ts";
import { coverage, pit, reliability, skillOverTime } from "./figures.ts";
import { clock, dateTime, duration, percent, price, signedPercent } from "./format.ts";

const COLUMNS: [Column, string][] = [
  ["pair", "Pair"], ["pipeline", "Pipeline"], ["price", "Price"], ["forecast", "Forecast"], ["change", "Change"],
  ["width", "80% width"], ["skill", "Skill, 24 h"], ["coverage", "Coverage"], ["age", "Age"], ["news", "News"],
];

/** The grid of all pairs, sorted by any column. */
export class Overview {
  readonly #body = h("tbody");
  readonly #heads = new Map<Column, HTMLTableCellElement>();
  readonly #lines = new Map<string, { line: HTMLTableRowElement; cells: HTMLTableCellElement[]; button: HTMLButtonElement }>();
  readonly #count = h("p", { class: "soft", role: "status" });
  readonly #choose: (row: Row) => void;
  #column: Column = "pair";
  #descending = false;
  search = "";
  horizon = 0;

  constructor(place: HTMLElement, choose: (row: Row) => void) {
    this.#choose = choose;
    const head = COLUMNS.map(([column, title]) => {
      const cell = h("th", { scope: "col", class: column === "pair" || column === "pipeline" ? undefined : "number" },
        h("button", { type: "button", click: () => this.#sortBy(column) }, title));
      this.#heads.set(column, cell);
      return cell;
    });
    place.append(this.#count, h("div", { class: "scroll card flush", tabindex: "0", role: "region", "aria-label": "All pairs" },
      h("table", { class: "grid" }, h("caption", { class: "hidden" }, "All pairs; choose a column's heading to sort"),
        h("thead", {}, h("tr", {}, ...head)), this.#body)));
  }

  draw(latest: Iterable<Prediction>, scores: ReadonlyMap<string, SeriesScore>, now: number): void {
    const all = rows(latest, scores, now);
    const shown = all.filter((row) => (this.horizon === 0 || row.series.horizon === this.horizon) && matches(this.search, row.series.pair, row.series.pipeline));
    say(this.#count, shown.length === all.length ? `Forecasts: ${all.length}` : `Forecasts: ${shown.length} of ${all.length}`);
    const several = new Set(all.map((row) => row.series.pipeline)).size > 1;
    this.#heads.get("pipeline")!.hidden = !several;
    for (const [column, cell] of this.#heads) {
      if (column === this.#column) cell.setAttribute("aria-sort", this.#descending ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
    const lines = sorted(shown, this.#column, this.#descending).map((row) => this.#line(row, several));
    const same = lines.length === this.#body.children.length && lines.every((line, n) => this.#body.children[n] === line);
    if (!same) this.#body.replaceChildren(...lines);
  }

  #line(row: Row, several: boolean): HTMLTableRowElement {
    const { pipeline, pair, horizon } = row.series;
    const key = `${pipeline} ${pair} ${horizon}`;
    let kept = this.#lines.get(key);
    if (!kept) {
      const button = h("button", { type: "button", class: "link" });
      const cells = COLUMNS.map(([column]) => h("td", { class: column === "pair" || column === "pipeline" ? undefined : "number" }));
      cells[0]!.append(button, h("span", { class: "chip" }, duration(horizon)));
      const line = h("tr", {}, ...cells);
      kept = { line, cells, button };
      this.#lines.set(key, kept);
    }
    kept.button.onclick = () => this.#choose(row);
    say(kept.button, pair);
    const texts = [
      pipeline, price(row.price), price(row.forecast), signedPercent(row.change, 2), percent(row.width, 2),
      signedPercent(row.skill), percent(row.coverage), row.isOver ? `${duration(row.ageSeconds)}, over` : duration(row.ageSeconds),
      row.newsCount ? `${row.newsSignal > 0.05 ? "▲" : row.newsSignal < -0.05 ? "▼" : "●"} ${row.newsCount}` : "–",
    ];
    texts.forEach((text, n) => say(kept.cells[n + 1]!, text));
    kept.cells[1]!.hidden = !several;
    tone(kept.cells[4]!, row.change);
    tone(kept.cells[6]!, row.skill);
    kept.cells[8]!.classList.toggle("bad", row.isOver);
    return kept.line;
  }

  #sortBy(column: Column): void {
    const text = column === "pair" || column === "pipeline";
    this.#descending = column === this.#column ? !this.#descending : !text;
    this.#column = column;
    document.dispatchEvent(new CustomEvent("pricecast:redraw"));
  }
}

function tone(cell: Element, value: number | undefined): void {
  cell.classList.toggle("up", value !== undefined && value > 0);
  cell.classList.toggle("down", value !== undefined && value < 0);
}

const empty = (...words: string[]) => h("p", { class: "empty" }, ...words);

export function trust(found: Calibration, versions: ModelVersion[] | null): Node[] {
  if (found.score.count === 0) return [empty("No forecast's time has come yet. This view fills by itself, a horizon after the first forecast.")];
  const { score } = found;
  const facts = h("dl", { class: "facts" },
    fact("Scored forecasts", String(score.count)),
    fact("Skill against naive", signedPercent(score.distributionSkill)),
    fact("Point skill", signedPercent(score.pointSkill)),
    fact("80% interval held", percent(score.coverage)));
  const period = `From ${dateTime(found.since)} to ${dateTime(found.until)}. ${coverageSentence(score)}`;
  return [
    facts, h("p", { class: "soft" }, period),
    h("div", { class: "figures" },
      skillOverTime(found),
      found.reliability.length ? reliability(found) : null,
      found.pit.length ? pit(found) : null,
      coverage("Coverage by volatility", "Share inside the 80% interval, by the width that was forecast: a fifth of the forecasts each, calm to wild.",
        found.byWidth, (b) => ["calmest", "2nd", "3rd", "4th", "wildest"][b.number - 1] ?? String(b.number), 1),
      coverage("Coverage by hour", "Share inside the 80% interval, by the hour (UTC) that the forecast was for.", found.byHour, (b) => `${b.number}`, found.byHour.length > 12 ? 3 : 1),
      rivalsFigure(versions)),
  ];
}

const fact = (name: string, value: string) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

function rivalsFigure(versions: ModelVersion[] | null): HTMLElement | null {
  const names = [...new Set((versions ?? []).flatMap((v) => rivals(v.measures).map((r) => r.name)))];
  if (!versions || names.length === 0) return null;
  const body = versions.map((v) => {
    const found = new Map(rivals(v.measures).map((r) => [r.name, r]));
    return [`v${v.version}`, dateTime(v.createdAt), ...names.map((name) => lead(found.get(name)))];
  });
  return h("figure", { class: "card wide" }, h("h3", {}, "Ahead of the rivals"),
    table("Lead over rivals by version", ["Version", "Trained", ...names.map((name) => `over ${name}`)], body, names.map((_, n) => n + 2)),
    h("figcaption", {}, "Lead in points of pinball skill over each rival, on the same rows out of sample when the version was trained, with its 95% interval."));
}

function lead(rival: ReturnType<typeof rivals>[number] | undefined): string {
  if (!rival) return "–";
  const points = (value: number) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(100 * value).toFixed(2)}`;
  const span = rival.low !== undefined && rival.high !== undefined ? ` (${points(rival.low)} to ${points(rival.high)})` : "";
  return `${points(rival.lead)}${span}`;
}

export function models(versions: ModelVersion[] | null): Node[] {
  if (versions === null) return [empty("This server is given no model registry to read (MODEL_REGISTRY_URL), so it can't show the models' history. `pricecast report PAIR` does where the registry is.")];
  if (versions.length === 0) return [empty("No model has been trained yet: until there are candles enough, forecasts are naive ones.")];
  const role = (v: ModelVersion) => (v.stage === "production" ? "champion" : v.stage === "archived" ? "former champion" : "challenger");
  return [h("ol", { class: "versions" }, ...versions.map((v) => {
    const value = (name: string) => v.measures.find((m) => m.name === name)?.value;
    return h("li", { class: `card ${v.stage}` },
      h("h3", {}, `Version ${v.version}`, h("span", { class: `badge ${v.stage === "production" ? "good" : ""}` }, role(v))),
      h("p", { class: "soft" }, `${v.kind ? `${v.kind}, ` : ""}trained ${dateTime(v.createdAt)} on candles up to ${dateTime(v.trainedThrough)}`),
      h("p", {}, v.reason || "Not judged yet."),
      h("dl", { class: "facts small" }, fact("Skill out of sample", signedPercent(value("distribution_skill"))),
        fact("80% interval held", percent(value("coverage"))), fact("Rows judged on", value("rows")?.toLocaleString("en") ?? "–"),
        fact("Training", value("training_seconds") === undefined ? "–" : duration(value("training_seconds")!))));
  }))];
}

export function news(items: NewsItem[] | null, coin: string): Node[] {
  if (items === null) return [empty("This server is given no feature store to read (FEATURE_STORE_URL), so it can't show news.")];
  if (items.length === 0) return [empty(`No news of ${coin} is stored. A pipeline reads news where its manifest has a `, "spec.news", " section.")];
  const word = (signal: number) => (signal > 0 ? "up" : signal < 0 ? "down" : "neutral");
  return [h("ol", { class: "headlines" }, ...items.map((item) => h("li", {},
    h("span", { class: `badge ${item.signal > 0 ? "good" : item.signal < 0 ? "poor" : ""}` }, word(item.signal)),
    h("div", {},
      item.url ? h("a", { href: item.url, rel: "noopener noreferrer", target: "_blank" }, item.title || item.newsId) : h("span", {}, item.title || item.newsId),
      h("p", { class: "soft" }, `${dateTime(item.time)}, read by ${item.modelName}${item.reasoning ? `: ${item.reasoning}` : ""}`)))))];
}

export function health(states: PipelineState[], now: number): Node[] {
  if (states.length === 0) return [empty("No pipeline has made a forecast yet.")];
  return states.map((state) => h("section", { class: "card" },
    h("h3", {}, state.pipelineId, h("span", { class: `badge ${state.ready ? "good" : "poor"}` }, state.ready ? "ready" : "not ready"),
      state.simulated ? h("span", { class: "badge warn" }, "simulated") : null),
    h("p", {}, state.ready ? "All is well as far as it can be seen from here." : `${state.message}.`),
    h("p", { class: "soft" }, `${state.pairCount} ${state.pairCount === 1 ? "pair" : "pairs"}; newest candle used: ${state.featureTime ? `${dateTime(state.featureTime)} (${duration((now - Date.parse(state.featureTime)) / 1000)} ago)` : "none yet"}`),
    state.processes.length
      ? table(`Processes of ${state.pipelineId}`, ["Process", "State", "Since", "Restarts", "What it says"],
          state.processes.map((p) => [p.name, h("span", { class: `badge ${isWell(p) ? "good" : "poor"}` }, p.state), clock(p.since, true), String(p.restarts), p.message || "–"]), [3])
      : h("p", { class: "soft" }, "Its processes run on a cluster, out of this page's sight: ", h("code", {}, "kubectl get pricepipelines"), " tells their conditions.")));
}

export function recent(list: Prediction[]): Node {
  if (list.length === 0) return empty("No forecast of this horizon is stored yet.");
  return table("Newest forecasts", ["For", "Forecast", "80% interval", "Came", "Error", "Error of last price", "Inside"],
    list.map((p) => [
      clock(p.targetTime, p.horizonSeconds < 300), price(p.predictedPrice), `${price(p.lower)} – ${price(p.upper)}`, price(p.outcome?.actualPrice),
      p.outcome ? p.outcome.absoluteError.toPrecision(3) : "–", p.outcome ? p.outcome.naiveAbsoluteError.toPrecision(3) : "–",
      p.outcome ? h("span", { class: p.outcome.insideInterval ? "up" : "down" }, p.outcome.insideInterval ? "yes" : "no") : "–",
    ]), [1, 2, 3, 4, 5]);
}
