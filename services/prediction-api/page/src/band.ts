// Draws forecasts into the chart: the fan ahead of now, at every horizon and level, and past forecasts as a ribbon.

import type {
  AutoscaleInfo, IChartApi, IPrimitivePaneRenderer, IPrimitivePaneView, ISeriesApi, ISeriesPrimitive, Logical,
  PrimitivePaneViewZOrder, SeriesAttachedParameter, SeriesType, Time,
} from "lightweight-charts";
import { type Fan, type RibbonPoint, placeOf } from "./facts.ts";

type Target = Parameters<IPrimitivePaneRenderer["draw"]>[0];

export interface BandColours { fan: string; line: string; ribbon: string; edge: string; miss: string }

/** What the bars are: their times in seconds, and how far they are apart. */
export interface Bars { times: number[]; step: number }

export class Bands implements ISeriesPrimitive<Time> {
  fan: Fan = { levels: [], points: [] };
  ribbon: RibbonPoint[] = [];
  bars: Bars = { times: [], step: 60 };
  colours: BandColours = { fan: "#000", line: "#000", ribbon: "#000", edge: "#000", miss: "#000" };
  #chart: IChartApi | null = null;
  #series: ISeriesApi<SeriesType, Time> | null = null;
  #update: () => void = () => {};
  readonly #views: IPrimitivePaneView[] = [
    view("bottom", (context) => this.#drawRibbon(context)),
    view("top", (context) => this.#drawFan(context)),
  ];

  attached({ chart, series, requestUpdate }: SeriesAttachedParameter<Time>): void {
    this.#chart = chart as IChartApi;
    this.#series = series;
    this.#update = requestUpdate;
  }

  detached(): void {
    this.#chart = this.#series = null;
  }

  paneViews(): readonly IPrimitivePaneView[] {
    return this.#views;
  }

  /** Keeps the fan and the ribbon in sight as long as their time is. */
  autoscaleInfo(start: Logical, end: Logical): AutoscaleInfo | null {
    const seen = (at: number) => {
      const place = placeOf(this.bars.times, at, this.bars.step);
      return place >= start && place <= end;
    };
    const prices = [
      ...this.fan.points.filter((point) => seen(point.time)).flatMap((point) => point.prices),
      ...this.ribbon.filter((point) => seen(point.time)).flatMap((point) => [point.lower, point.upper]),
    ];
    if (prices.length === 0) return null;
    return { priceRange: { minValue: Math.min(...prices), maxValue: Math.max(...prices) } };
  }

  refresh(): void {
    this.#update();
  }

  #x(at: number): number {
    return this.#chart?.timeScale().logicalToCoordinate(placeOf(this.bars.times, at, this.bars.step) as Logical) ?? NaN;
  }

  #y(price: number): number {
    return this.#series?.priceToCoordinate(price) ?? NaN;
  }

  #drawRibbon(context: CanvasRenderingContext2D): void {
    for (const part of this.#parts()) {
      const upper = part.map((p): [number, number] => [this.#x(p.time), this.#y(p.upper)]);
      const lower = part.map((p): [number, number] => [this.#x(p.time), this.#y(p.lower)]);
      context.fillStyle = this.colours.ribbon;
      context.fill(path([...upper, ...lower.reverse()], true));
      context.lineWidth = 1;
      context.strokeStyle = this.colours.edge;
      context.stroke(path(upper));
      context.stroke(path(lower));
    }
    context.fillStyle = this.colours.miss;
    for (const point of this.ribbon) {
      if (point.missedAt === undefined) continue;
      context.beginPath();
      context.arc(this.#x(point.time), this.#y(point.missedAt), 2.25, 0, 7);
      context.fill();
    }
  }

  /** The ribbon, cut where no forecast was made for more than a few bars. */
  #parts(): RibbonPoint[][] {
    const parts: RibbonPoint[][] = [];
    let last = -Infinity;
    for (const point of this.ribbon) {
      if (point.time - last > 5 * this.bars.step) parts.push([]);
      parts.at(-1)!.push(point);
      last = point.time;
    }
    return parts;
  }

  #drawFan(context: CanvasRenderingContext2D): void {
    const { levels, points } = this.fan;
    if (points.length < 2) return;
    const line = (place: number) => points.map((p): [number, number] => [this.#x(p.time), this.#y(p.prices[place]!)]);
    context.fillStyle = this.colours.fan;
    for (let place = 0; place < Math.floor(levels.length / 2); place += 1) {
      context.fill(path([...line(place), ...line(levels.length - 1 - place).reverse()], true));
    }
    const middle = levels.findIndex((level) => level === 0.5);
    context.strokeStyle = this.colours.line;
    context.lineWidth = 2;
    if (middle >= 0) context.stroke(path(line(middle)));
    context.fillStyle = this.colours.line;
    for (const point of points.slice(1)) {
      context.beginPath();
      context.arc(this.#x(point.time), this.#y(point.prices[middle] ?? point.prices[0]!), 3, 0, 7);
      context.fill();
    }
    const now = this.#x(points[0]!.time);
    context.setLineDash([3, 4]);
    context.lineWidth = 1;
    context.stroke(path([[now, 0], [now, context.canvas.height]]));
    context.setLineDash([]);
  }
}

function view(zOrder: PrimitivePaneViewZOrder, draw: (context: CanvasRenderingContext2D) => void): IPrimitivePaneView {
  const renderer: IPrimitivePaneRenderer = {
    draw: (target: Target) => target.useMediaCoordinateSpace(({ context }) => {
      context.save();
      draw(context);
      context.restore();
    }),
  };
  return { zOrder: () => zOrder, renderer: () => renderer };
}

function path(points: [number, number][], closed = false): Path2D {
  const drawn = new Path2D();
  points.forEach(([x, y], place) => (place ? drawn.lineTo(x, y) : drawn.moveTo(x, y)));
  if (closed) drawn.closePath();
  return drawn;
}
