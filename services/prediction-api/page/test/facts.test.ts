import assert from "node:assert/strict";
import { test } from "node:test";
import type { Prediction } from "../src/api.ts";
import { coverageSentence, fan, matches, placeOf, ribbon, rivals, rows, sentences, sorted } from "../src/facts.ts";
import { duration, percent, price, priceDigits, signedPercent } from "../src/format.ts";
import { choices } from "../src/search.ts";

const NOW = Date.parse("2026-01-01T00:00:10Z");

function prediction(changes: Partial<Prediction> = {}): Prediction {
  return {
    pair: "BTC/USD", horizonSeconds: 60, issuedAt: "2026-01-01T00:00:01Z", targetTime: "2026-01-01T00:01:00Z",
    featureTime: "2026-01-01T00:00:00Z", lastPrice: 100, predictedPrice: 101, lower: 98, upper: 104, modelName: "demo",
    modelVersion: 3, beatsNaive: true, pointIsNaive: false, simulated: false, isOver: false, namespace: "", pipeline: "demo",
    quantiles: [], ...changes,
  };
}

const told = (p: Prediction, now = NOW) => sentences(p, undefined, undefined, now).map((s) => s.text).join(" ");

test("a good forecast needs no sentence", () => assert.equal(told(prediction()), ""));
test("a simulated market is told", () => assert.match(told(prediction({ simulated: true })), /simulated/));
test("a naive forecast is told", () => assert.match(told(prediction({ modelName: "naive", modelVersion: 0 })), /naive forecast/));
test("a model that isn't better than naive is told", () => assert.match(told(prediction({ beatsNaive: false })), /no better/));
test("what a forecast warns of itself is told", () => {
  assert.equal(told(prediction({ caution: "20% of the features drift" })), "Take it with care: 20% of the features drift.");
});
test("that the model abstains says nothing of its skill out of sample", () => {
  const caution = "the model abstains, the naive forecast stands in";
  assert.equal(told(prediction({ beatsNaive: false, abstained: true, caution })), `Take it with care: ${caution}.`);
});
test("an answer whose time is past is told, and not as stale besides", () => {
  assert.match(told(prediction(), NOW + 60_000), /time is over/);
  assert.doesNotMatch(told(prediction(), NOW + 60_000), /stale/);
});
test("data older than half the horizon is stale", () => {
  const hour = prediction({ horizonSeconds: 3600, targetTime: "2026-01-01T01:00:00Z" });
  assert.equal(told(hour, NOW + 25 * 60_000), "");
  assert.match(told(hour, NOW + 31 * 60_000), /stale/);
});
test("a live skill below zero counts once there are scores enough", () => {
  const say = (count: number) => sentences(prediction(), { count, distributionSkill: -0.02 }, undefined, NOW).length;
  assert.deepEqual([say(49), say(50)], [0, 1]);
});
test("a pipeline's cause comes first", () => {
  const state = { pipelineId: "demo", ready: false, message: "trades is restarting", pairCount: 1, simulated: true, processes: [] };
  assert.equal(sentences(prediction({ simulated: true }), undefined, state, NOW)[0]?.text, "Pipeline demo: trades is restarting.");
});

test("unknown values come last, whichever way a column is sorted", () => {
  const list = rows([prediction(), prediction({ pair: "ETH/USD" }), prediction({ pair: "SOL/USD" })], new Map([
    ["demo ETH/USD 60", { pipelineId: "demo", pair: "ETH/USD", horizonSeconds: 60, score: { count: 9, distributionSkill: 0.1 }, newsCount: 0, newsSignal: 0 }],
    ["demo SOL/USD 60", { pipelineId: "demo", pair: "SOL/USD", horizonSeconds: 60, score: { count: 9, distributionSkill: -0.1 }, newsCount: 0, newsSignal: 0 }],
  ]), NOW);
  const order = (descending: boolean) => sorted(list, "skill", descending).map((row) => row.series.pair);
  assert.deepEqual(order(true), ["ETH/USD", "SOL/USD", "BTC/USD"]);
  assert.deepEqual(order(false), ["SOL/USD", "ETH/USD", "BTC/USD"]);
});

test("the fan goes from the last price through every horizon", () => {
  const quantiles = (middle: number) => [{ level: 0.1, price: middle - 1 }, { level: 0.5, price: middle }, { level: 0.9, price: middle + 1 }];
  const found = fan([
    prediction({ horizonSeconds: 300, targetTime: "2026-01-01T00:05:00Z", quantiles: quantiles(103) }), prediction({ quantiles: quantiles(101) }),
  ]);
  assert.deepEqual(found.levels, [0.1, 0.5, 0.9]);
  assert.deepEqual(found.points.map((p) => p.prices), [[100, 100, 100], [100, 101, 102], [102, 103, 104]]);
  assert.deepEqual(fan([]), { levels: [], points: [] });
});

test("the ribbon is in order of time and knows what came outside", () => {
  const outcome = { actualPrice: 110, absoluteError: 9, naiveAbsoluteError: 10, insideInterval: false };
  const found = ribbon([prediction({ targetTime: "2026-01-01T00:02:00Z", outcome }), prediction()]);
  assert.deepEqual(found.map((p) => p.missedAt), [undefined, 110]);
});

test("a time has its place between the bars, before the first and after the last", () => {
  const bars = [100, 110, 130];
  assert.deepEqual([100, 105, 120, 130, 150, 90].map((at) => placeOf(bars, at, 10)), [0, 0.5, 1.5, 2, 4, -1]);
});

test("a search finds pairs by parts, in either spelling", () => {
  assert.ok(matches("btc-u", "BTC/USD", "demo"));
  assert.ok(matches("demo btc", "BTC/USD", "demo"));
  assert.ok(!matches("eth", "BTC/USD", "demo"));
});

test("of a pair and pipeline the shortest horizon is offered", () => {
  const found = choices([{ pipeline: "a", pair: "B/USD", horizon: 300 }, { pipeline: "a", pair: "B/USD", horizon: 60 }, { pipeline: "a", pair: "A/USD", horizon: 60 }]);
  assert.deepEqual(found.map((s) => [s.pair, s.horizon]), [["A/USD", 60], ["B/USD", 60]]);
});

test("rivals come with their lead and its interval", () => {
  const found = rivals([{ name: "Ewma.lead", value: 0.1 }, { name: "Ewma.lead_low", value: 0.05 }, { name: "Ewma.distribution_skill", value: 0.3 }]);
  assert.deepEqual(found, [{ name: "Ewma", lead: 0.1, low: 0.05, high: undefined, skill: 0.3 }]);
});

test("coverage is judged against chance", () => {
  assert.match(coverageSentence({ count: 100, coverage: 0.78 }), /within chance/);
  assert.match(coverageSentence({ count: 10_000, coverage: 0.7 }), /too narrow/);
  assert.match(coverageSentence({ count: 10_000, coverage: 0.9 }), /wider/);
});

test("numbers read as people write them", () => {
  assert.equal(price(41_155), "41,155.00");
  assert.equal(price(0.00001234), "0.0000123400");
  assert.equal(priceDigits(3.2), 4);
  assert.equal(percent(-0.012), "−1.2%");
  assert.equal(signedPercent(0.03), "+3.0%");
  assert.deepEqual([45, 60, 90, 3600, 172_800].map(duration), ["45 s", "1 min", "1.5 min", "1 h", "2 d"]);
});
