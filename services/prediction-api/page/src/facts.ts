// What follows from the API's answers. Pure: no page, no clock of its own.

import type { Prediction, ProcessState, PipelineState, Score, Series, SeriesScore } from "./api.ts";
import { clock, duration, percent, signedPercent } from "./format.ts";

export const pipelineId = (p: Prediction) => (p.namespace ? `${p.namespace}.${p.pipeline}` : p.pipeline);
export const seriesOf = (p: Prediction): Series => ({ pipeline: pipelineId(p), pair: p.pair, horizon: p.horizonSeconds });
export const keyOf = (s: Series) => `${s.pipeline} ${s.pair} ${s.horizon}`;
export const time = (text: string) => Date.parse(text);

/** So many scores are needed before a live skill says anything. */
export const FEW_SCORES = 50;

export type Mark = "bad" | "warn" | "info";
export interface Sentence { mark: Mark; text: string }

/** What a person must know before they believe a forecast, in plain words, the worst first. */
export function sentences(
  latest: Prediction | undefined, score: Score | undefined, state: PipelineState | undefined, now: number,
): Sentence[] {
  const told: Sentence[] = [];
  if (state && !state.ready) told.push({ mark: "bad", text: `Pipeline ${state.pipelineId}: ${state.message}.` });
  if (!latest) return told;
  const late = (now - time(latest.targetTime)) / 1000;
  if (late > 0) {
    const text = `This forecast's time is over since ${clock(latest.targetTime, true)}: it is no forecast any more, and no newer one has been made.`;
    told.push({ mark: "bad", text });
  } else if (isStale(latest, now)) {
    const age = duration((now - time(latest.featureTime)) / 1000);
    told.push({ mark: "warn", text: `The data is stale: the newest candle that this forecast knows is ${age} old.` });
  }
  if (latest.simulated) told.push({ mark: "warn", text: "This market is simulated: its prices are nobody's." });
  const naive = naiveSentence(latest, score);
  if (naive) told.push(naive);
  if (latest.caution) told.push({ mark: "warn", text: `Take it with care: ${latest.caution}.` });
  return told;
}

/** A forecast is stale once the data under it is older than half its horizon, and a minute. */
export function isStale(p: Prediction, now: number): boolean {
  return now - time(p.featureTime) > Math.max(60_000, p.horizonSeconds * 500);
}

function naiveSentence(p: Prediction, score: Score | undefined): Sentence | undefined {
  if (p.modelName === "naive" || p.modelVersion === 0) {
    return { mark: "warn", text: "No model has beaten the naive forecast yet, so this is the naive forecast." };
  }
  if (p.abstained) return undefined; // its caution says so
  if (!p.beatsNaive) return { mark: "warn", text: "This model was no better than the naive forecast out of sample." };
  const skill = score?.distributionSkill;
  if (score && skill !== undefined && score.count >= FEW_SCORES && skill <= 0) {
    const text = `Lately the model is no better than naive: skill ${signedPercent(skill)} over ${score.count} scored forecasts.`;
    return { mark: "warn", text };
  }
  return undefined;
}

// --- the overview

export interface Row {
  series: Series;
  price: number;
  change: number;
  target: string;
  forecast: number;
  width: number;
  skill: number | undefined;
  coverage: number | undefined;
  count: number;
  ageSeconds: number;
  newsCount: number;
  newsSignal: number;
  isOver: boolean;
  simulated: boolean;
}

export type Column = "pair" | "pipeline" | "price" | "forecast" | "change" | "width" | "skill" | "coverage" | "age" | "news";

export function rows(latest: Iterable<Prediction>, scores: ReadonlyMap<string, SeriesScore>, now: number): Row[] {
  return [...latest].map((p) => {
    const series = seriesOf(p);
    const score = scores.get(keyOf(series));
    return {
      series,
      price: p.lastPrice,
      target: p.targetTime,
      forecast: p.predictedPrice,
      change: p.predictedPrice / p.lastPrice - 1,
      width: (p.upper - p.lower) / p.lastPrice,
      skill: score?.score.distributionSkill,
      coverage: score?.score.coverage,
      count: score?.score.count ?? 0,
      ageSeconds: Math.max(0, (now - time(p.issuedAt)) / 1000),
      newsCount: score?.newsCount ?? 0,
      newsSignal: score?.newsSignal ?? 0,
      isOver: time(p.targetTime) <= now,
      simulated: p.simulated,
    };
  });
}

const VALUES: Record<Column, (row: Row) => string | number | undefined> = {
  pair: (row) => row.series.pair,
  pipeline: (row) => row.series.pipeline,
  price: (row) => row.price,
  forecast: (row) => row.forecast,
  change: (row) => row.change,
  width: (row) => row.width,
  skill: (row) => row.skill,
  coverage: (row) => row.coverage,
  age: (row) => row.ageSeconds,
  news: (row) => (row.newsCount ? row.newsSignal : undefined),
};

/** Sorted by a column; what is unknown comes last either way, equal ones by pair. */
export function sorted(list: readonly Row[], column: Column, descending: boolean): Row[] {
  const value = VALUES[column];
  return [...list].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    let order = 0;
    if (x === undefined || y === undefined) order = x === y ? 0 : x === undefined ? 1 : -1;
    else if (x !== y) order = (typeof x === "string" ? x.localeCompare(String(y)) : x - Number(y)) * (descending ? -1 : 1);
    return order || a.series.pair.localeCompare(b.series.pair) || a.series.horizon - b.series.horizon;
  });
}

/** Whether a search means a pair of a pipeline: every word of it is in one of their names, `/` and `-` alike. */
export function matches(search: string, ...names: string[]): boolean {
  const text = names.join(" ").toLowerCase().replaceAll("-", "/");
  return search.toLowerCase().replaceAll("-", "/").split(/\s+/).every((word) => text.includes(word));
}

// --- the forecast ahead of now

export interface FanPoint { time: number; prices: number[] }
export interface Fan { levels: number[]; points: FanPoint[] }

/** The forecasts of all horizons together: from the last price, a quantile of each level at each target time. */
export function fan(predictions: readonly Prediction[]): Fan {
  const ordered = [...predictions].sort((a, b) => a.horizonSeconds - b.horizonSeconds);
  const newest = ordered.reduce<Prediction | undefined>(
    (a, b) => (a && time(a.featureTime) >= time(b.featureTime) ? a : b), undefined,
  );
  if (!newest) return { levels: [], points: [] };
  const levels = quantilesOf(newest).map((q) => q.level);
  const points: FanPoint[] = [{ time: time(newest.featureTime) / 1000, prices: levels.map(() => newest.lastPrice) }];
  for (const p of ordered) {
    const quantiles = quantilesOf(p);
    const at = time(p.targetTime) / 1000;
    if (quantiles.length === levels.length && at > points.at(-1)!.time) {
      points.push({ time: at, prices: quantiles.map((q) => q.price) });
    }
  }
  return { levels, points };
}

/** A forecast's quantiles; of one made before there were levels, the interval's ends and the median. */
export function quantilesOf(p: Prediction): { level: number; price: number }[] {
  if (p.quantiles.length) return p.quantiles;
  return [{ level: 0.1, price: p.lower }, { level: 0.5, price: p.predictedPrice }, { level: 0.9, price: p.upper }];
}

export interface RibbonPoint { time: number; lower: number; middle: number; upper: number; missedAt: number | undefined }

/** Past forecasts at the times they were for, oldest first. */
export function ribbon(predictions: Iterable<Prediction>): RibbonPoint[] {
  return [...predictions]
    .map((p) => ({
      time: time(p.targetTime) / 1000, lower: p.lower, middle: p.predictedPrice, upper: p.upper,
      missedAt: p.outcome && !p.outcome.insideInterval ? p.outcome.actualPrice : undefined,
    }))
    .sort((a, b) => a.time - b.time);
}

/** Where a time lies between the bars, as a fraction of their places; beyond the last bar at the bars' own pace. */
export function placeOf(times: readonly number[], at: number, step: number): number {
  const last = times.length - 1;
  if (last < 0) return 0;
  if (at >= times[last]!) return last + (at - times[last]!) / step;
  if (at <= times[0]!) return (at - times[0]!) / step;
  let [low, high] = [0, last];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle]! <= at) low = middle;
    else high = middle;
  }
  return low + (at - times[low]!) / (times[high]! - times[low]!);
}

// --- models and health

/** The rivals that a version was measured against, by its measures `RIVAL.lead`, `RIVAL.lead_low`, `RIVAL.lead_high`. */
export interface Rival { name: string; lead: number; low: number | undefined; high: number | undefined; skill: number | undefined }
export function rivals(measures: readonly { name: string; value: number }[]): Rival[] {
  const value = new Map(measures.map((m) => [m.name, m.value]));
  return measures
    .filter((m) => m.name.endsWith(".lead"))
    .map(({ name, value: lead }) => {
      const rival = name.slice(0, -".lead".length);
      return {
        name: rival, lead, low: value.get(`${name}_low`), high: value.get(`${name}_high`), skill: value.get(`${rival}.distribution_skill`),
      };
    });
}

export const isWell = (process: ProcessState) => ["ready", "done", "idle", "running"].includes(process.state);

/** What calibration says, in a sentence. */
export function coverageSentence(score: Score): string {
  const { coverage, count } = score;
  if (coverage === undefined || count === 0) return "No forecast's time has come yet.";
  const off = coverage - 0.8;
  const near = 2 * Math.sqrt((0.8 * 0.2) / count);
  const found = `${percent(coverage)} of ${count} prices came to lie in the 80% interval`;
  if (Math.abs(off) <= near) return `${found}: as many as should, within chance.`;
  return off > 0 ? `${found}: intervals are wider than they need be.` : `${found}: intervals are too narrow.`;
}
