// The API as the page uses it: its messages (protos/pricecast/v1, in JSON), and how to ask for them.

export interface Quantile { level: number; price: number }
export interface Skill { distribution?: number; point?: number }
export interface Outcome {
  actualPrice: number;
  absoluteError: number;
  naiveAbsoluteError: number;
  insideInterval: boolean;
  pinballLoss?: number;
  naivePinballLoss?: number;
}
export interface Prediction {
  pair: string;
  horizonSeconds: number;
  issuedAt: string;
  targetTime: string;
  featureTime: string;
  lastPrice: number;
  predictedPrice: number;
  lower: number;
  upper: number;
  modelName: string;
  modelVersion: number;
  modelTrainedThrough?: string;
  skill?: Skill;
  beatsNaive: boolean;
  pointIsNaive: boolean;
  simulated: boolean;
  isOver: boolean;
  namespace: string;
  pipeline: string;
  quantiles: Quantile[];
  caution?: string;
  abstained?: boolean;
  outcome?: Outcome;
}
export interface Candle {
  endTime: string;
  seconds: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
  tradeCount: number;
}
export interface NewsItem {
  coin: string;
  time: string;
  signal: number;
  modelName: string;
  title: string;
  url: string;
  reasoning: string;
  newsId: string;
}
export interface Measure { name: string; value: number }
export interface ModelVersion {
  version: number;
  stage: string;
  reason: string;
  createdAt: string;
  trainedThrough: string;
  kind: string;
  measures: Measure[];
}
export interface Score { count: number; coverage?: number; distributionSkill?: number; pointSkill?: number }
export interface SeriesScore {
  pipelineId: string;
  pair: string;
  horizonSeconds: number;
  score: Score;
  newsCount: number;
  newsSignal: number;
}
export interface ScoreBucket {
  start?: string;
  number: number;
  meanWidth: number;
  score: Score;
  modelVersions: number[];
}
export interface Reliability { level: number; observed: number; count: number }
export interface PitBin { fromLevel: number; toLevel: number; share: number }
export interface Calibration {
  pipelineId: string;
  pair: string;
  horizonSeconds: number;
  score: Score;
  since?: string;
  until?: string;
  reliability: Reliability[];
  pit: PitBin[];
  overTime: ScoreBucket[];
  byWidth: ScoreBucket[];
  byHour: ScoreBucket[];
}
export interface ProcessState { name: string; state: string; message: string; restarts: number; since: string }
export interface PipelineState {
  pipelineId: string;
  ready: boolean;
  message: string;
  pairCount: number;
  simulated: boolean;
  featureTime?: string;
  processes: ProcessState[];
}
export interface Series { pipeline: string; pair: string; horizon: number }

/** An answer other than OK. */
export class ApiError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Called when the API wants a token. */
let onLocked: () => void = () => {};
export function whenLocked(call: () => void): void {
  onLocked = call;
}

async function get<T>(path: string, query: Record<string, string | number> = {}): Promise<T> {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== 0);
  const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  const answer = await fetch(search ? `${path}?${search}` : path);
  if (answer.ok) return (await answer.json()) as T;
  if (answer.status === 401) onLocked();
  throw new ApiError(answer.status, await detail(answer));
}

async function detail(answer: Response): Promise<string> {
  try {
    return ((await answer.json()) as { detail: string }).detail;
  } catch {
    return answer.statusText || `status ${answer.status}`;
  }
}

/** What the server doesn't serve (501) is null. */
async function optional<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof ApiError && error.status === 501) return null;
    throw error;
  }
}

const ofPair = (pair: string, what: string) => `v1/pairs/${encodeURIComponent(pair.replace("/", "-"))}/${what}`;

export const api = {
  predictions: async (s: Series, endTime = "", pageSize = 1000) =>
    (await get<{ predictions: Prediction[] }>(ofPair(s.pair, "predictions"), {
      pipeline: s.pipeline, horizonSeconds: s.horizon, endTime, pageSize,
    })).predictions,
  candles: async (s: Series, endTime = "", pageSize = 500) =>
    (await optional(get<{ candles: Candle[] }>(ofPair(s.pair, "candles"), { pipeline: s.pipeline, endTime, pageSize })))
      ?.candles ?? null,
  news: async (s: Series) =>
    (await optional(get<{ news: NewsItem[] }>(ofPair(s.pair, "news"), { pipeline: s.pipeline, pageSize: 200 })))?.news ?? null,
  models: async (s: Series) =>
    (await optional(
      get<{ versions: ModelVersion[] }>(ofPair(s.pair, "models"), {
        pipeline: s.pipeline, horizonSeconds: s.horizon, pageSize: 50,
      }),
    ))?.versions ?? null,
  calibration: (s: Series) =>
    get<Calibration>(ofPair(s.pair, "calibration"), { pipeline: s.pipeline, horizonSeconds: s.horizon }),
  scores: async () => (await get<{ scores: SeriesScore[] }>("v1/scores")).scores,
  pipelines: async () => (await get<{ pipelines: PipelineState[] }>("v1/pipelines")).pipelines,
};

/** Hands a token to the server, which keeps it in a cookie that scripts can't read; returns what is wrong with it. */
export async function logIn(token: string): Promise<string> {
  const answer = await fetch("session", { method: "POST", body: JSON.stringify({ token }) });
  return answer.ok ? "" : detail(answer);
}

export type Connection = "connecting" | "live" | "reconnecting";

/** Follows all forecasts; connects again by itself, at once when the machine comes back online. */
export class Watch {
  #events: EventSource | null = null;
  #failures = 0;
  #timer = 0;
  readonly #onPrediction: (prediction: Prediction) => void;
  readonly #onState: (state: Connection) => void;

  constructor(onPrediction: (prediction: Prediction) => void, onState: (state: Connection) => void) {
    this.#onPrediction = onPrediction;
    this.#onState = onState;
    addEventListener("online", () => this.start());
    addEventListener("offline", () => this.#lost());
  }

  start(): void {
    clearTimeout(this.#timer);
    this.#events?.close();
    const events = (this.#events = new EventSource("v1/predictions:watch"));
    events.onopen = () => {
      this.#failures = 0;
      this.#onState("live");
    };
    events.onerror = () => this.#lost();
    events.addEventListener("prediction", (event) => {
      this.#onPrediction((JSON.parse((event as MessageEvent<string>).data) as { prediction: Prediction }).prediction);
    });
  }

  #lost(): void {
    this.#events?.close();
    this.#events = null;
    this.#onState("reconnecting");
    clearTimeout(this.#timer);
    const pause = Math.min(15_000, 500 * 2 ** this.#failures++);
    this.#timer = window.setTimeout(() => void this.#probe(), pause);
  }

  /** An event stream doesn't tell why it failed: a plain call does, and asks for a token where one is wanted. */
  async #probe(): Promise<void> {
    try {
      await api.pipelines();
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return; // goes on once there is a token
    }
    this.start();
  }
}
