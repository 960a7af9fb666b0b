// Line charts as SVG: linear or logarithmic, with as many series as are given.

import { svg } from "../shared/dom";
import { rounded } from "../shared/text";

export interface Series {
  name: string;
  /** Pairs (x, y); what is not finite is left out. */
  points: (readonly [number, number])[];
  /** Its classes in lessons.css, for colour and dashes. */
  class: string;
}

export interface ChartOptions {
  /** What the chart shows, for those who do not see it. */
  label: string;
  /** The width of the place for it, in pixels. */
  width: number;
  /** By default as much as a chart of that width needs. */
  height?: number;
  x: string;
  y: string;
  series: Series[];
  /** Horizontal lines. */
  levels?: { value: number; name: string; class: string }[];
  logarithmic?: boolean;
  /** The range of x, if it is not that of the points. */
  range?: readonly [number, number];
  /** The range of y, if it is not that of the points. */
  span?: readonly [number, number];
}

const [NARROWEST, WIDEST] = [300, 1000];
const MARGIN = { left: 56, right: 12, top: 24, bottom: 40 };
/** The height of a line of words. */
const LABEL = 15;
/** The most points of a line: more are not seen. */
const MOST_POINTS = 1500;

/** About `count` round numbers from low to high. */
export function ticks(low: number, high: number, count = 5): number[] {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(span)) return [low];
  const power = 10 ** Math.floor(Math.log10(span / count));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => span / size <= count) ?? 10 * power;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, place) => Number(((first + place) * step).toPrecision(12)));
}

/** The smallest and the largest of the finite numbers, apart by at least a little. */
export function range(values: number[]): [number, number] {
  const finite = values.filter(Number.isFinite);
  if (!finite.length) return [0, 1];
  const low = finite.reduce((a, b) => Math.min(a, b));
  const high = finite.reduce((a, b) => Math.max(a, b));
  const least = 1e-9 * Math.max(Math.abs(low), Math.abs(high), 1e-300);
  return high - low > least ? [low, high] : [low - Math.max(0.5 * Math.abs(low), least), high + Math.max(0.5 * Math.abs(high), least)];
}

/** Browsers draw nothing much farther away, in pixels. */
const FARTHEST = 1e5;

/** A path through points, broken where they are not finite. */
export function line(points: (readonly [number, number])[]): string {
  let open = false;
  return points
    .map(([x, y]) => {
      if (!Number.isFinite(x) || !Number.isFinite(y)) {
        open = false;
        return "";
      }
      const command = open ? "L" : "M";
      open = true;
      const far = Math.max(1, Math.abs(x) / FARTHEST, Math.abs(y) / FARTHEST);
      return `${command}${(x / far).toFixed(2)} ${(y / far).toFixed(2)}`;
    })
    .join("");
}

/** At most so many of the points, the first and the last among them. */
export function thinned<T>(points: T[], most = MOST_POINTS): T[] {
  const step = Math.ceil(points.length / most);
  return step <= 1 ? points : points.filter((_, place) => place % step === 0 || place === points.length - 1);
}

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

function powerOfTen(exponent: number): string {
  if (Math.abs(exponent) < 3) return rounded(10 ** exponent);
  return `10${exponent < 0 ? "⁻" : ""}${[...String(Math.abs(exponent))].map((digit) => SUPERSCRIPTS[Number(digit)]).join("")}`;
}

/** Places along a line moved apart, in their order, until each has `least` to the next; within a range, as far as it goes. */
export function apart(places: number[], least: number, [low, high]: readonly [number, number]): number[] {
  const order = places.map((_, k) => k).sort((a, b) => places[a] - places[b]);
  const found = [...places];
  order.forEach((k, rank) => {
    found[k] = Math.max(found[k], rank ? found[order[rank - 1]] + least : low);
  });
  order.reverse().forEach((k, rank) => {
    found[k] = Math.min(found[k], rank ? found[order[rank - 1]] - least : high);
  });
  return found;
}

export function chart(options: ChartOptions): SVGSVGElement {
  const { series, levels = [], logarithmic = false } = options;
  const width = Math.max(NARROWEST, Math.min(WIDEST, options.width));
  const height = options.height ?? (width > 640 ? 340 : 260);
  const scaled = (value: number) => (logarithmic ? Math.log10(value) : value);
  const drawn = series.map((one) => ({
    ...one,
    points: thinned(one.points).map(([x, y]): [number, number] => [x, scaled(y)]),
  }));
  const [left, right] = options.range ?? range(drawn.flatMap((one) => one.points.map(([x]) => x)));
  const heights = drawn.flatMap((one) => one.points.map(([, y]) => y));
  let [low, high] = range([...(options.span?.map(scaled) ?? heights), ...levels.map(({ value }) => scaled(value))]);
  const room = 0.06 * (high - low);
  [low, high] = [low - room, high + room];
  const atX = (x: number) => MARGIN.left + ((x - left) / (right - left || 1)) * (width - MARGIN.left - MARGIN.right);
  const atY = (y: number) => MARGIN.top + ((high - y) / (high - low)) * (height - MARGIN.top - MARGIN.bottom);
  const picture = svg("svg", { class: "graph", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": options.label });
  for (const x of ticks(left, right)) {
    picture.append(
      svg("line", { class: "grid", x1: atX(x), x2: atX(x), y1: MARGIN.top, y2: height - MARGIN.bottom }),
      svg("text", { class: "tick", x: atX(x), y: height - MARGIN.bottom + 15, "text-anchor": atX(x) > width - 30 ? "end" : "middle" }, x.toLocaleString("en")),
    );
  }
  const powers = ticks(low, high).filter(Number.isInteger);
  const marks = !logarithmic ? ticks(low, high) : powers.length > 1 ? powers : ticks(10 ** low, 10 ** high).filter((value) => value > 0).map(Math.log10);
  for (const y of marks) {
    const text = !logarithmic ? rounded(y, 7) : Number.isInteger(y) ? powerOfTen(y) : rounded(10 ** y);
    picture.append(
      svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: atY(y), y2: atY(y) }),
      svg("text", { class: "tick", x: MARGIN.left - 6, y: atY(y) + 4, "text-anchor": "end" }, text),
    );
  }
  const heightsOfLevels = levels.map(({ value }) => atY(scaled(value)));
  const places = apart(heightsOfLevels.map((y) => y - 5), LABEL, [MARGIN.top - 5, height - MARGIN.bottom - 3]);
  levels.forEach(({ class: kind }, place) => {
    const y = heightsOfLevels[place];
    picture.append(svg("line", { class: `level ${kind}`, x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y }));
  });
  for (const one of drawn) {
    const points = one.points.map(([x, y]): [number, number] => [atX(x), atY(y)]);
    picture.append(svg("path", { class: `line ${one.class}`, d: line(points) }));
    const last = points.filter(([, y]) => Number.isFinite(y)).at(-1);
    if (last) picture.append(svg("circle", { class: `end ${one.class}`, cx: last[0], cy: last[1], r: 3.5 }));
  }
  levels.forEach(({ name, class: kind }, place) => {
    picture.append(svg("text", { class: `tick named ${kind}`, x: width - MARGIN.right - 4, y: places[place], "text-anchor": "end" }, name));
  });
  picture.append(
    svg("text", { class: "axis", x: width - MARGIN.right, y: height - 6, "text-anchor": "end" }, options.x),
    svg("text", { class: "axis", x: 4, y: 11 }, options.y),
  );
  return picture;
}
