// Small drawings in SVG, each with its numbers in words for those who don't see it.

import type { Calibration, ScoreBucket } from "./api.ts";
import { h, s, table } from "./dom.ts";
import { dateTime, percent, signedPercent } from "./format.ts";

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [420, 240, 46, 30, 12, 12];
type Scale = (value: number) => number;
const scale = (from: number, to: number, start: number, end: number): Scale => (value) =>
  start + ((value - from) / (to - from || 1)) * (end - start);

function frame(title: string, ...children: (Node | null)[]): SVGElement {
  return s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title }, ...children);
}

function yAxis(y: Scale, ticks: number[], text: (value: number) => string): SVGElement {
  return s("g", {}, ...ticks.flatMap((tick) => [
    s("line", { class: "gridline", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }),
    s("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, text(tick)),
  ]));
}

function xLabels(x: Scale, ticks: number[], text: (value: number) => string): SVGElement {
  return s("g", {}, ...ticks.map((tick) => s("text", { x: x(tick), y: HEIGHT - 10, "text-anchor": "middle" }, text(tick))));
}

export function figure(title: string, explanation: string, drawing: Node, numbers: Node): HTMLElement {
  return h("figure", { class: "card" }, h("h3", {}, title), drawing, h("figcaption", {}, explanation),
    h("details", {}, h("summary", {}, "As a table"), numbers));
}

/** How often prices came to lie below each level: on the diagonal where forecasts are calibrated. */
export function reliability(found: Calibration): HTMLElement {
  const [x, y] = [scale(0, 1, LEFT, WIDTH - RIGHT), scale(0, 1, HEIGHT - BOTTOM, TOP)];
  const points = found.reliability;
  const error = (p: { level: number; count: number }) => 1.96 * Math.sqrt((p.level * (1 - p.level)) / p.count);
  const drawing = frame("Reliability diagram",
    yAxis(y, [0, 0.25, 0.5, 0.75, 1], (v) => percent(v, 0)),
    xLabels(x, [0, 0.25, 0.5, 0.75, 1], (v) => percent(v, 0)),
    s("line", { class: "ideal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }),
    ...points.map((p) => s("line", { class: "chance", x1: x(p.level), x2: x(p.level), y1: y(Math.max(0, p.level - error(p))), y2: y(Math.min(1, p.level + error(p))) })),
    s("polyline", { class: "line", points: points.map((p) => `${x(p.level)},${y(p.observed)}`).join(" ") }),
    ...points.map((p) => s("circle", { class: "dot", cx: x(p.level), cy: y(p.observed), r: 4 })));
  return figure("Reliability", "Share of prices that came to lie below each forecast level. On the dashed line is right; the grey bars are what chance alone allows.",
    drawing, table("Reliability", ["Level", "Observed", "Forecasts"],
      points.map((p) => [percent(p.level, 0), percent(p.observed), String(p.count)]), [0, 1, 2]));
}

/** The PIT histogram: how many prices fell between two levels, beside how many should have. */
export function pit(found: Calibration): HTMLElement {
  const density = (bin: { fromLevel: number; toLevel: number; share: number }) => bin.share / (bin.toLevel - bin.fromLevel);
  const most = Math.max(2, ...found.pit.map(density));
  const [x, y] = [scale(0, 1, LEFT, WIDTH - RIGHT), scale(0, most, HEIGHT - BOTTOM, TOP)];
  const drawing = frame("PIT histogram",
    yAxis(y, [0, 1, most > 3 ? Math.floor(most) : 2], (v) => `${v}×`),
    xLabels(x, [0, 0.25, 0.5, 0.75, 1], (v) => percent(v, 0)),
    ...found.pit.map((bin) => s("rect", { class: "bar", x: x(bin.fromLevel) + 1, width: Math.max(1, x(bin.toLevel) - x(bin.fromLevel) - 2), y: y(density(bin)), height: y(0) - y(density(bin)) })),
    s("line", { class: "ideal", x1: LEFT, x2: WIDTH - RIGHT, y1: y(1), y2: y(1) }));
  return figure("PIT histogram", "Where in the forecast distribution prices came to lie. Flat at 1× is right; a hump means intervals too wide, a bowl too narrow, a slope a bias.",
    drawing, table("PIT histogram", ["Between levels", "Share", "Should be"],
      found.pit.map((bin) => [`${percent(bin.fromLevel, 0)} to ${percent(bin.toLevel, 0)}`, percent(bin.share), percent(bin.toLevel - bin.fromLevel, 0)]), [1, 2]));
}

/** Skill against the naive forecast over time, with the versions that made the forecasts. */
export function skillOverTime(found: Calibration): HTMLElement {
  const buckets = found.overTime.filter((b) => b.score.distributionSkill !== undefined && b.start);
  const skills = buckets.map((b) => b.score.distributionSkill!);
  const size = Math.max(0.05, ...skills.map((skill) => Math.min(1, Math.abs(skill)))) * 1.1;
  const times = buckets.map((b) => Date.parse(b.start!));
  const [from, to] = [times[0] ?? 0, times.at(-1) ?? 1];
  const [x, y] = [scale(from, to, LEFT + 6, WIDTH - RIGHT - 6), scale(-size, size, HEIGHT - BOTTOM, TOP)];
  const clipped = (skill: number) => y(Math.max(-size, Math.min(size, skill)));
  const changes = buckets.filter((b, n) => n > 0 && b.modelVersions.at(-1) !== buckets[n - 1]!.modelVersions.at(-1));
  const ticks = from === to ? [from] : [from, (from + to) / 2, to];
  const width = Math.max(2, Math.min(14, (WIDTH - LEFT - RIGHT) / Math.max(1, buckets.length) - 2));
  const drawing = frame("Skill over time",
    yAxis(y, [-size / 1.1, 0, size / 1.1], (v) => signedPercent(v, size < 0.1 ? 1 : 0)),
    s("g", {}, ...ticks.map((tick, n) => s("text", { x: x(tick), y: HEIGHT - 10, "text-anchor": n === 0 ? "start" : n === 2 ? "end" : "middle" }, dateTime(tick)))),
    ...buckets.map((_, n) => s("rect", { class: skills[n]! > 0 ? "bar good" : "bar poor", x: x(times[n]!) - width / 2, width, y: Math.min(y(0), clipped(skills[n]!)), height: Math.max(1, Math.abs(clipped(skills[n]!) - y(0))) })),
    ...changes.map((b) => s("g", {}, s("line", { class: "ideal", x1: x(Date.parse(b.start!)), x2: x(Date.parse(b.start!)), y1: TOP, y2: HEIGHT - BOTTOM }),
      s("text", { x: x(Date.parse(b.start!)) + 4, y: TOP + 10 }, `v${b.modelVersions.at(-1)}`))));
  return figure("Skill against naive over time", "Above zero the forecasts were better than the naive distribution, in mean pinball loss. Dashed lines are changes of the model.",
    drawing, table("Skill over time", ["From", "Skill", "Coverage", "Forecasts", "Versions"],
      buckets.map((b) => [dateTime(b.start), signedPercent(b.score.distributionSkill), percent(b.score.coverage), String(b.score.count), b.modelVersions.map((v) => (v ? `v${v}` : "naive")).join(", ")]), [1, 2, 3]));
}

/** Coverage of the 80% interval in parts. */
export function coverage(title: string, explanation: string, buckets: ScoreBucket[], name: (bucket: ScoreBucket) => string, every: number): HTMLElement {
  const [x, y] = [scale(-0.5, buckets.length - 0.5, LEFT, WIDTH - RIGHT), scale(0, 1, HEIGHT - BOTTOM, TOP)];
  const width = Math.min(48, (WIDTH - LEFT - RIGHT) / Math.max(1, buckets.length) - 4);
  const drawing = frame(title,
    yAxis(y, [0, 0.4, 0.8, 1], (v) => percent(v, 0)),
    ...buckets.map((b, n) => s("rect", { class: "bar", x: x(n) - width / 2, width, y: y(b.score.coverage ?? 0), height: y(0) - y(b.score.coverage ?? 0) })),
    s("line", { class: "ideal", x1: LEFT, x2: WIDTH - RIGHT, y1: y(0.8), y2: y(0.8) }),
    s("g", {}, ...buckets.map((b, n) => (n % every ? null : s("text", { x: x(n), y: HEIGHT - 10, "text-anchor": "middle" }, name(b))))));
  return figure(title, explanation, drawing, table(title, ["Part", "Coverage", "Skill", "Mean width", "Forecasts"],
    buckets.map((b) => [name(b), percent(b.score.coverage), signedPercent(b.score.distributionSkill), percent(b.meanWidth, 2), String(b.score.count)]), [1, 2, 3, 4]));
}
