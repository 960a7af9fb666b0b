// Charts of lines and bands, drawn as SVG; their axes end at round numbers.

import { svg } from "./dom";
import { plain } from "./text";

export interface Line {
  readonly x: ArrayLike<number>;
  readonly y: ArrayLike<number>;
  readonly colour?: string;
  /** A thicker line. */
  readonly strong?: boolean;
  /** Half of the width of a band around the line. */
  readonly spread?: ArrayLike<number>;
}

export interface Chart {
  readonly label: string;
  readonly xName?: string;
  readonly yName?: string;
  readonly height?: number;
  /** Where the screen is wide; on narrow ones charts are as wide as that. */
  readonly width?: number;
  /** A vertical line at this x. */
  readonly mark?: number;
  readonly low?: number;
  readonly high?: number;
}


/** A drawing of lines; NaN makes a gap. */
export function chart(lines: readonly Line[], { label, xName = "", yName = "", height = 240, width: wide = 720, mark, low, high }: Chart): SVGSVGElement {
  // As wide as it is shown, so that its letters keep their size.
  const width = matchMedia("(max-width: 52rem)").matches ? Math.min(wide, innerWidth - 64) : wide;
  const edges = { left: 56, right: 12, top: yName ? 26 : 10, bottom: 36 };
  const xs = extent(lines.flatMap(({ x }) => [x[0] as number, x[x.length - 1] as number])), ys = extent(lines.flatMap(({ y, spread }) =>
    Array.from(y, (value, k) => [value - ((spread?.[k] as number | undefined) ?? 0), value + ((spread?.[k] as number | undefined) ?? 0)]).flat()));
  const yTicks = ticks(low ?? ys[0], high ?? ys[1], Math.max(2, Math.round(height / 60))), xTicks = ticks(xs[0], xs[1], width / 110).filter((tick) => tick >= xs[0] && tick <= xs[1]);
  const [bottom, top] = [Math.min(low ?? ys[0], yTicks[0] as number), Math.max(high ?? ys[1], yTicks[yTicks.length - 1] as number)];
  const atX = (x: number) => edges.left + ((x - xs[0]) / (xs[1] - xs[0] || 1)) * (width - edges.left - edges.right);
  const atY = (y: number) => edges.top + (1 - (y - bottom) / (top - bottom || 1)) * (height - edges.top - edges.bottom);
  const text = (words: string, x: number, y: number, anchor: string) => svg("text", { x, y, "text-anchor": anchor, class: "tick" }, words);
  const grid = yTicks.flatMap((tick) => [svg("line", { x1: edges.left, x2: width - edges.right, y1: atY(tick), y2: atY(tick), class: "grid" }), text(plain(tick, 4), edges.left - 6, atY(tick) + 4, "end")]);
  const below = xTicks.map((tick) => text(plain(tick, 6), atX(tick), height - edges.bottom + 18, "middle"));
  const drawn = lines.flatMap(({ x, y, colour = "var(--accent)", spread, strong }) => [
    ...(spread ? [svg("path", { d: band(x, y, spread, atX, atY), fill: colour, "fill-opacity": 0.22 })] : []),
    svg("path", { d: path(x, y, atX, atY), fill: "none", stroke: colour, "stroke-width": strong ? 3.2 : 1.8, "stroke-linejoin": "round", "stroke-linecap": "round" }),
  ]);
  const marked = mark === undefined ? [] : [svg("line", { x1: atX(mark), x2: atX(mark), y1: edges.top, y2: height - edges.bottom, class: "mark" })];
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "chart" }, ...grid, ...below, ...marked, ...drawn,
    text(shortened(xName, width), width - edges.right, height - 4, "end"), text(shortened(yName, width), 4, 14, "start"));
}

/** A name that fits below a drawing. */
function shortened(name: string, width: number): string {
  const most = Math.floor((width - 20) / 7.5);
  return name.length <= most ? name : `${name.slice(0, most - 1)}…`;
}

function path(x: ArrayLike<number>, y: ArrayLike<number>, atX: (x: number) => number, atY: (y: number) => number): string {
  let found = "", isGap = true;
  for (let k = 0; k < y.length; k++) {
    if (!Number.isFinite(y[k] as number)) isGap = true;
    else {
      const isAlone = isGap && !Number.isFinite(y[k + 1] as number); // Between two gaps: a dash.
      found += `${isGap ? "M" : "L"}${atX(x[k] as number).toFixed(1)},${atY(y[k] as number).toFixed(1)}${isAlone ? "m-4,0h8" : ""}`;
      isGap = false;
    }
  }
  return found;
}

function band(x: ArrayLike<number>, y: ArrayLike<number>, spread: ArrayLike<number>, atX: (x: number) => number, atY: (y: number) => number): string {
  const at = (k: number, sign: number) => `${atX(x[k] as number).toFixed(1)},${atY((y[k] as number) + sign * (spread[k] as number)).toFixed(1)}`;
  const places = Array.from(y, (_, k) => k).filter((k) => Number.isFinite(y[k] as number) && Number.isFinite(spread[k] as number));
  return places.length ? `M${[...places.map((k) => at(k, 1)), ...places.reverse().map((k) => at(k, -1))].join("L")}Z` : "";
}

function extent(values: readonly number[]): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low > high ? [0, 1] : low === high ? [low - 0.5, high + 0.5] : [low, high];
}

/** Round numbers around a range, about `count` of them: steps of 1, 2 or 5 times a power of ten. */
export function ticks(low: number, high: number, count: number): number[] {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) as number) * power;
  const first = Math.floor(low / step + 1e-9), last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, k) => Number(((first + k) * step).toPrecision(12)));
}
