// The price chart: candles with volume, forecasts ahead and past, news as marks. It loads what is panned to.

import {
  CandlestickSeries, ColorType, CrosshairMode, HistogramSeries, type IChartApi, type ISeriesApi, LineSeries,
  type ISeriesMarkersPluginApi, type SeriesMarker, type Time, type UTCTimestamp, createChart, createSeriesMarkers,
} from "lightweight-charts";
import { type Candle, type NewsItem, type Prediction, type Series, api } from "./api.ts";
import { Bands } from "./band.ts";
import { byId, say } from "./dom.ts";
import { fan, ribbon, time } from "./facts.ts";
import { dateTime, duration, price, priceDigits, signedPercent } from "./format.ts";

const FUTURE_BARS = 2_000;
const at = (seconds: number) => seconds as UTCTimestamp;

export class PriceChart {
  readonly #chart: IChartApi;
  readonly #candles: ISeriesApi<"Candlestick">;
  readonly #line: ISeriesApi<"Line">;
  readonly #volume: ISeriesApi<"Histogram">;
  readonly #bands = new Bands();
  readonly #marks: ISeriesMarkersPluginApi<Time>;
  readonly #legend: HTMLElement;
  #carrier: ISeriesApi<"Candlestick"> | ISeriesApi<"Line"> | null = null;
  #series: Series | null = null;
  #bars = new Map<number, Candle>();
  #past = new Map<number, Prediction>();
  #ahead: Prediction[] = [];
  #news: NewsItem[] = [];
  #hasCandles = true;
  #loading = false;
  #complete = false;
  #resetWidth = 0;
  #shown = { past: true, news: true };

  constructor(place: HTMLElement, legend: HTMLElement) {
    this.#legend = legend;
    this.#chart = createChart(place, {
      autoSize: true,
      layout: { attributionLogo: false, background: { type: ColorType.Solid, color: "transparent" }, fontSize: 12 },
      crosshair: { mode: CrosshairMode.Normal },
      timeScale: { timeVisible: true, secondsVisible: false, rightOffset: 2, borderVisible: false, minBarSpacing: 0.2 },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.08, bottom: 0.22 } },
      localization: {
        timeFormatter: (moment: Time) => dateTime(Number(moment) * 1000),
      },
    });
    this.#candles = this.#chart.addSeries(CandlestickSeries, { priceLineVisible: false, lastValueVisible: true });
    this.#line = this.#chart.addSeries(LineSeries, { lineWidth: 2, visible: false, priceLineVisible: false });
    this.#volume = this.#chart.addSeries(HistogramSeries, {
      priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false,
    });
    this.#chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.86, bottom: 0 } });
    this.#carry(this.#candles);
    this.#marks = createSeriesMarkers(this.#candles, []);
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < 30) void this.#loadOlder();
    });
    // A range set while the chart was hidden, or far narrower, is that of a width which is no longer so.
    this.#chart.timeScale().subscribeSizeChange((width) => {
      if (width > 2 * this.#resetWidth) this.reset();
    });
    this.#chart.subscribeCrosshairMove((event) => this.#tell(event.time === undefined ? undefined : Number(event.time)));
    this.paint();
  }

  /** Takes the colours of the theme. */
  paint(): void {
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
    this.#chart.applyOptions({
      layout: { textColor: colour("soft"), fontFamily: style.getPropertyValue("--font") },
      grid: { vertLines: { color: colour("grid") }, horzLines: { color: colour("grid") } },
    });
    this.#candles.applyOptions({
      upColor: colour("up"), downColor: colour("down"), wickUpColor: colour("up"), wickDownColor: colour("down"), borderVisible: false,
    });
    this.#line.applyOptions({ color: colour("text") });
    this.#bands.colours = {
      fan: colour("fan"), line: colour("accent"), ribbon: colour("ribbon"), edge: colour("edge"), miss: colour("warn"),
    };
    this.#draw();
  }

  /** Shows another series; what was loaded before is forgotten. */
  async show(series: Series): Promise<void> {
    this.#series = series;
    this.#bars.clear();
    this.#past.clear();
    this.#news = [];
    this.#complete = false;
    const [candles, past, news] = await Promise.all([api.candles(series), api.predictions(series), api.news(series)]);
    if (this.#series !== series) return; // something else was chosen meanwhile
    this.#hasCandles = candles !== null && candles.length > 0;
    this.#add(candles ?? [], past);
    this.#news = news ?? [];
    this.#candles.applyOptions({ visible: this.#hasCandles });
    this.#line.applyOptions({ visible: !this.#hasCandles });
    this.#carry(this.#hasCandles ? this.#candles : this.#line);
    const digits = priceDigits(past[0]?.lastPrice ?? candles?.[0]?.close ?? 1);
    for (const drawn of [this.#candles, this.#line]) {
      drawn.applyOptions({ priceFormat: { type: "price", precision: digits, minMove: 10 ** -digits } });
    }
    this.#draw();
    this.reset();
  }

  /** Takes what is new: the forecasts ahead, and candles and outcomes since. */
  async follow(ahead: Prediction[]): Promise<void> {
    this.#ahead = ahead;
    const series = this.#series;
    if (!series) return;
    const [candles, past] = await Promise.all([
      this.#hasCandles ? api.candles(series, "", 30) : [], api.predictions(series, "", 60),
    ]);
    if (this.#series !== series) return;
    this.#add(candles ?? [], past);
    this.#draw();
  }

  set ahead(predictions: Prediction[]) {
    this.#ahead = predictions;
  }

  get hasCandles(): boolean {
    return this.#hasCandles;
  }

  get recent(): Prediction[] {
    return [...this.#past.values()].sort((a, b) => time(b.targetTime) - time(a.targetTime)).slice(0, 12);
  }

  toggle(what: "past" | "news", shown: boolean): void {
    this.#shown[what] = shown;
    this.#draw();
  }

  /** Moves or zooms by keyboard. */
  pan(bars: number): void {
    const scale = this.#chart.timeScale();
    scale.scrollToPosition(scale.scrollPosition() + bars, false);
  }

  zoom(factor: number): void {
    const scale = this.#chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (!range) return;
    const [middle, half] = [(range.from + range.to) / 2, ((range.to - range.from) / 2) * factor];
    scale.setVisibleLogicalRange({ from: middle - half, to: middle + half });
  }

  /** Shows now: the newest bars and the whole forecast. */
  reset(): void {
    const { times } = this.#bands.bars;
    if (times.length === 0) return;
    this.#resetWidth = this.#chart.timeScale().width();
    const bars = Math.max(40, Math.min(160, Math.round(this.#resetWidth / 7)));
    const ahead = this.#futureBars();
    const back = Math.max(bars, Math.round(ahead * 1.6));
    this.#chart.timeScale().setVisibleLogicalRange({ from: times.length - back, to: times.length + ahead + 3 });
  }

  /** Hangs the bands on the series that is shown: they take its price scale. */
  #carry(series: ISeriesApi<"Candlestick"> | ISeriesApi<"Line">): void {
    if (this.#carrier === series) return;
    this.#carrier?.detachPrimitive(this.#bands);
    series.attachPrimitive(this.#bands);
    this.#carrier = series;
  }

  #add(candles: Candle[], past: Prediction[]): void {
    for (const candle of candles) this.#bars.set(time(candle.endTime) / 1000, candle);
    for (const p of past) this.#past.set(time(p.targetTime) / 1000, p);
  }

  #draw(): void {
    const bars = this.#hasCandles
      ? [...this.#bars.entries()].sort(([a], [b]) => a - b)
      : [...this.#past.values()].map((p): [number, number] => [time(p.featureTime) / 1000, p.lastPrice]).sort(([a], [b]) => a - b);
    const times = bars.map(([moment]) => moment);
    const step = this.#step(times);
    this.#bands.bars = { times, step };
    this.#bands.fan = fan(this.#ahead);
    this.#bands.ribbon = this.#shown.past ? ribbon([...this.#past.values()].filter((p) => p.outcome)) : [];
    const last = times.at(-1);
    const future = last === undefined ? [] : Array.from({ length: this.#futureBars() }, (_, n) => ({ time: at(last + (n + 1) * step) }));
    if (this.#hasCandles) {
      const style = getComputedStyle(document.documentElement);
      const [up, down] = [style.getPropertyValue("--volume-up").trim(), style.getPropertyValue("--volume-down").trim()];
      const candles = bars as [number, Candle][];
      this.#candles.setData([...candles.map(([moment, c]) => ({ ...ohlc(c), time: at(moment) })), ...future]);
      this.#volume.setData(candles.map(([moment, c]) => ({ time: at(moment), value: c.volume, color: c.close >= c.open ? up : down })));
      this.#line.setData([]);
    } else {
      this.#line.setData([...(bars as [number, number][]).map(([moment, value]) => ({ time: at(moment), value })), ...future]);
      this.#candles.setData([]);
      this.#volume.setData([]);
    }
    this.#marks.setMarkers(this.#shown.news && this.#hasCandles ? this.#newsMarks(times) : []);
    this.#bands.refresh();
    this.#tell(undefined);
  }

  #step(times: number[]): number {
    const seconds = this.#bars.values().next().value?.seconds;
    if (this.#hasCandles && seconds) return seconds;
    return times.length > 1 ? Math.max(1, times.at(-1)! - times.at(-2)!) : 60;
  }

  #futureBars(): number {
    const { times, step } = this.#bands.bars;
    const end = this.#bands.fan.points.at(-1)?.time;
    const last = times.at(-1);
    return end === undefined || last === undefined ? 0 : Math.max(0, Math.min(FUTURE_BARS, Math.ceil((end - last) / step)));
  }

  #newsMarks(times: number[]): SeriesMarker<Time>[] {
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
    const first = times[0] ?? Infinity;
    return this.#news
      .filter((item) => time(item.time) / 1000 >= first)
      .map((item): SeriesMarker<Time> => {
        const up = item.signal > 0;
        const moment = times.find((bar) => bar >= time(item.time) / 1000) ?? times.at(-1)!;
        return {
          time: at(moment),
          position: up ? "belowBar" : "aboveBar",
          shape: item.signal === 0 ? "circle" : up ? "arrowUp" : "arrowDown",
          color: item.signal === 0 ? colour("soft") : up ? colour("up") : colour("down"),
          id: item.newsId,
        };
      })
      .sort((a, b) => Number(a.time) - Number(b.time));
  }

  /** Says what is under the crosshair, or of the newest candle. */
  #tell(moment: number | undefined): void {
    const { times, step } = this.#bands.bars;
    const shown = moment ?? times.at(-1);
    if (shown === undefined) return say(this.#legend, "");
    const words: string[] = [dateTime(shown * 1000)];
    const candle = this.#bars.get(shown);
    if (candle) {
      words.push(`O ${price(candle.open)}`, `H ${price(candle.high)}`, `L ${price(candle.low)}`, `C ${price(candle.close)}`);
      words.push(signedPercent(candle.close / candle.open - 1, 2), `vol ${candle.volume.toPrecision(3)}`);
    }
    const p = moment === undefined ? undefined : (this.#past.get(shown) ?? this.#ahead.find((a) => time(a.targetTime) / 1000 === shown));
    if (p) words.push(`forecast ${duration(p.horizonSeconds)} before: ${price(p.lower)} to ${price(p.upper)}`);
    const news = moment === undefined ? [] : this.#news.filter((n) => time(n.time) / 1000 <= shown && time(n.time) / 1000 > shown - step);
    words.push(...news.map((n) => `\u201c${n.title || n.newsId}\u201d (${n.signal > 0 ? "up" : n.signal < 0 ? "down" : "neutral"})`));
    say(this.#legend, words.join("  \u00b7  "));
  }

  async #loadOlder(): Promise<void> {
    const series = this.#series;
    const oldest = this.#bands.bars.times[0];
    if (this.#loading || this.#complete || !series || oldest === undefined) return;
    this.#loading = true;
    try {
      const end = new Date(oldest * 1000).toISOString();
      const [candles, past] = await Promise.all([this.#hasCandles ? api.candles(series, end) : [], api.predictions(series, end)]);
      if (this.#series !== series) return;
      const before = this.#bands.bars.times.length;
      const range = this.#chart.timeScale().getVisibleLogicalRange();
      this.#add(candles ?? [], past);
      this.#draw();
      const added = this.#bands.bars.times.length - before;
      this.#complete = added === 0;
      if (range && added) this.#chart.timeScale().setVisibleLogicalRange({ from: range.from + added, to: range.to + added });
    } finally {
      this.#loading = false;
    }
  }
}

const ohlc = ({ open, high, low, close }: Candle) => ({ open, high, low, close });

/** Gives the chart's place the keys of a map: arrows move, plus and minus zoom, Home shows now. */
export function steer(place: HTMLElement, chart: PriceChart): void {
  const keys: Record<string, () => void> = {
    ArrowLeft: () => chart.pan(-10), ArrowRight: () => chart.pan(10), "+": () => chart.zoom(0.8), "=": () => chart.zoom(0.8),
    "-": () => chart.zoom(1.25), Home: () => chart.reset(),
  };
  place.addEventListener("keydown", (event) => {
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  byId("zoom-in").addEventListener("click", () => chart.zoom(0.7));
  byId("zoom-out").addEventListener("click", () => chart.zoom(1.4));
  byId("show-now").addEventListener("click", () => chart.reset());
}
