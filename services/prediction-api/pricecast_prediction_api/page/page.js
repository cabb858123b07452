// The page's only script: it reads the public API of this server, like any other caller.
// Numbers are computed and drawn from what the API gives; nothing is kept but what is on the screen.

const SHOWN = 240;
const element = (id) => document.getElementById(id);
const time = (text) => Date.parse(text);

const state = { pairs: [], history: new Map(), events: null };

// --- numbers, from predictions with an outcome

export function score(predictions) {
  const scored = predictions.filter((p) => p.outcome);
  const mean = (value) => scored.reduce((sum, p) => sum + value(p.outcome), 0) / scored.length;
  const loss = mean((o) => o.pinballLoss ?? 0);
  const naiveLoss = mean((o) => o.naivePinballLoss ?? 0);
  return {
    count: scored.length,
    coverage: mean((o) => (o.insideInterval ? 1 : 0)),
    error: mean((o) => o.absoluteError),
    naiveError: mean((o) => o.naiveAbsoluteError),
    skill: naiveLoss > 0 ? 1 - loss / naiveLoss : NaN,
  };
}

function price(value) {
  if (value < 1) return value.toLocaleString(undefined, { minimumSignificantDigits: 6, maximumSignificantDigits: 6 });
  const digits = value >= 1000 ? 2 : 4;
  return value.toLocaleString(undefined, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
const difference = (value) => value.toLocaleString(undefined, { maximumSignificantDigits: 4 });
const percent = (value) => (Number.isFinite(value) ? `${(100 * value).toFixed(1)}%` : "not known yet");
const clock = (text) => new Date(text).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

// --- drawing

function svg(name, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function draw(predictions) {
  const chart = element("chart");
  const [width, height, left, bottom] = [960, 360, 84, 24];
  const times = predictions.map((p) => time(p.targetTime));
  const values = predictions.flatMap((p) => [p.lower, p.upper, p.outcome?.actualPrice ?? p.predictedPrice]);
  const [from, to] = [Math.min(...times), Math.max(...times)];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = (t) => left + ((t - from) / Math.max(1, to - from)) * (width - left - 12);
  const y = (v) => 12 + ((high - v) / Math.max(1e-9, high - low)) * (height - bottom - 24);
  const path = (points) => points.map(([t, v], i) => `${i ? "L" : "M"}${x(t).toFixed(1)},${y(v).toFixed(1)}`).join("");
  const line = (value) => path(predictions.map((p) => [time(p.targetTime), value(p)]));
  const upper = predictions.map((p) => [time(p.targetTime), p.upper]);
  const lower = predictions.map((p) => [time(p.targetTime), p.lower]).reverse();
  const came = predictions.filter((p) => p.outcome).map((p) => [time(p.targetTime), p.outcome.actualPrice]);
  const nodes = [];
  for (let i = 0; i <= 4; i += 1) {
    const value = low + ((high - low) * i) / 4;
    nodes.push(svg("line", { class: "grid", x1: left, x2: width - 12, y1: y(value), y2: y(value) }));
    nodes.push(svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, price(value)));
    const at = from + ((to - from) * i) / 4;
    const anchor = i === 0 ? "start" : i === 4 ? "end" : "middle";
    nodes.push(svg("text", { x: x(at), y: height - 6, "text-anchor": anchor }, clock(at)));
  }
  nodes.push(svg("path", { class: "band", d: `${path([...upper, ...lower])}Z` }));
  nodes.push(svg("path", { class: "forecast", d: line((p) => p.predictedPrice) }));
  nodes.push(svg("path", { class: "actual", d: path(came) }));
  const now = time(predictions.at(-1).issuedAt);
  if (now > from) nodes.push(svg("line", { class: "now", x1: x(now), x2: x(now), y1: 12, y2: height - bottom }));
  chart.replaceChildren(...nodes);
}

function words(p) {
  if (p.modelName === "naive") return "No model has beaten the naive forecast yet: this is the naive forecast.";
  const distribution = p.skill?.distribution;
  const beats = p.beatsNaive ? "beats" : "does not beat";
  const skill = distribution === undefined ? "" : ` (skill ${percent(distribution)})`;
  const point = p.pointIsNaive ? " Its point forecast did not beat the last price, so the last price is given." : "";
  return `Out of sample, the model's distribution ${beats} the naive one${skill}.${point}`;
}

function show() {
  const all = [...state.history.values()].sort((a, b) => time(a.targetTime) - time(b.targetTime)).slice(-SHOWN);
  element("content").hidden = all.length === 0;
  element("empty").hidden = all.length > 0;
  if (all.length === 0) return;
  const latest = all.at(-1);
  element("simulated").hidden = !latest.simulated;
  tellIfOver();
  element("last").textContent = price(latest.lastPrice);
  element("target").textContent = `Prediction for ${clock(latest.targetTime)}`;
  element("predicted").textContent = price(latest.predictedPrice);
  element("interval").textContent = `${price(latest.lower)} to ${price(latest.upper)}`;
  element("model").textContent = latest.modelVersion ? `${latest.modelName}, version ${latest.modelVersion}` : "naive";
  element("words").textContent = words(latest);
  const scores = score(all);
  element("count").textContent = `${scores.count} of ${all.length}`;
  element("coverage").textContent = percent(scores.coverage);
  element("errors").textContent = scores.count ? `${difference(scores.error)}, ${difference(scores.naiveError)}` : "not known yet";
  element("skill").textContent = percent(scores.skill);
  element("rows").replaceChildren(...all.slice(-12).reverse().map(row));
  draw(all);
}

function tellIfOver() {
  const latest = [...state.history.values()].reduce((a, b) => (a && time(a.targetTime) > time(b.targetTime) ? a : b), null);
  element("over").hidden = latest === null || time(latest.targetTime) > Date.now();
}

setInterval(tellIfOver, 1000);

function row(p) {
  const o = p.outcome;
  const cells = [
    clock(p.targetTime),
    price(p.predictedPrice),
    `${price(p.lower)} to ${price(p.upper)}`,
    o ? price(o.actualPrice) : "",
    o ? difference(o.absoluteError) : "",
    o ? difference(o.naiveAbsoluteError) : "",
  ];
  const line = document.createElement("tr");
  line.append(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
  return line;
}

// --- talking to the API

async function get(path) {
  const answer = await fetch(path);
  const body = await answer.json();
  if (answer.status === 401) element("login").hidden = false;
  if (!answer.ok) throw new Error(body.detail ?? answer.statusText);
  return body;
}

function remember(prediction) {
  state.history.set(`${prediction.namespace}.${prediction.pipeline} ${prediction.featureTime}`, prediction);
}

async function loadHistory() {
  const events = state.events;
  const query = new URLSearchParams({ pageSize: SHOWN, ...chosen() });
  const { predictions } = await get(`v1/pairs/${element("pair").value.replace("/", "-")}/predictions?${query}`);
  if (events !== state.events) return; // something else was chosen meanwhile
  predictions.forEach(remember);
  show();
}

const chosen = () => ({ horizonSeconds: element("horizon").value, pipeline: element("pipeline").value });

function watch() {
  state.events?.close();
  state.history.clear();
  const query = new URLSearchParams({ pairs: element("pair").value, ...chosen() });
  const events = (state.events = new EventSource(`v1/predictions:watch?${query}`));
  events.onopen = () => say("live");
  events.onerror = () => say("reconnecting");
  events.addEventListener("prediction", (event) => {
    remember(JSON.parse(event.data).prediction);
    loadHistory().catch((error) => say(error.message)); // outcomes of older ones come with it
  });
}

function choose() {
  const pair = state.pairs.find((p) => p.pair === element("pair").value);
  fill("horizon", pair.horizonsSeconds.map((s) => [s, s % 60 ? `${s} s` : `${s / 60} min`]));
  fill("pipeline", pair.pipelineIds.map((id) => [id, id]));
  element("pipeline").parentElement.hidden = pair.pipelineIds.length === 1;
  watch();
}

function fill(id, options) {
  const before = element(id).value;
  element(id).replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  if (options.some(([value]) => String(value) === before)) element(id).value = before;
}

const say = (text) => (element("state").textContent = text);

async function start() {
  try {
    state.pairs = (await get("v1/pairs")).pairs;
    say("live");
  } catch (error) {
    say(error.message);
  }
  if (state.pairs.length === 0) {
    if (!element("login").hidden) return; // goes on once there is a token
    element("empty").hidden = false;
    setTimeout(start, 2000);
    return;
  }
  fill("pair", state.pairs.map((p) => [p.pair, p.pair]));
  choose();
}

// The server keeps the token in a cookie that scripts can't read; event streams send it, too.
async function logIn(event) {
  event.preventDefault();
  const body = JSON.stringify({ token: element("token").value.trim() });
  const answer = await fetch("session", { method: "POST", body });
  element("token").value = "";
  element("refused").textContent = answer.ok ? "" : (await answer.json()).detail;
  if (!answer.ok) return;
  element("login").hidden = true;
  start();
}

element("login").addEventListener("submit", logIn);
element("pair").addEventListener("change", choose);
element("horizon").addEventListener("change", watch);
element("pipeline").addEventListener("change", watch);
start();
