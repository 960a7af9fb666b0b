// The plane from above, and the eigenvalues on the unit circle, as SVG.

import { svg } from "../shared/dom";
import { rounded } from "../shared/text";
import { line, thinned, ticks } from "./chart";
import type { Point, Spectrum } from "./dynamics";
import type { Complex } from "./eigenvalues";

/** The side of a picture, and the part of it that shows the plane, from its middle. */
const SIDE = 400;
const HALF = 170;
/** Points of a track of a race. */
const MOST_OF_TRACK = 600;

export interface Plane {
  /** Pairs, one after the other. */
  path: Float64Array;
  reach: number;
  names: readonly [string, string];
  /** Where the players move at a point, as long as they like. */
  field: (x: number, y: number) => Point;
  equilibrium: Point | null;
  /** Half of the width and of the height of an ellipse around it through the start. */
  orbit: Point | null;
}

function toX(x: number, reach: number): number {
  return SIDE / 2 + (HALF * x) / reach;
}

function toY(y: number, reach: number): number {
  return SIDE / 2 - (HALF * y) / reach;
}

/** The point of the plane at a place of the picture. */
export function planePoint(across: number, down: number, reach: number): Point {
  return [((across - SIDE / 2) / HALF) * reach, ((SIDE / 2 - down) / HALF) * reach];
}

function axes(reach: number, names: readonly [string, string]): SVGElement[] {
  const marks = ticks(-reach, reach, 6).filter((mark) => mark !== 0);
  const [first, last] = [SIDE / 2 - HALF, SIDE / 2 + HALF];
  return [
    svg("line", { class: "zero", x1: first, x2: last, y1: SIDE / 2, y2: SIDE / 2 }),
    svg("line", { class: "zero", x1: SIDE / 2, x2: SIDE / 2, y1: first, y2: last }),
    ...marks.flatMap((mark) => [
      svg("text", { class: "tick", x: toX(mark, reach), y: last + 16, "text-anchor": "middle" }, rounded(mark)),
      svg("text", { class: "tick", x: first - 4, y: toY(mark, reach) + 4, "text-anchor": "end" }, rounded(mark)),
    ]),
    svg("text", { class: "axis", x: last, y: SIDE / 2 - 7, "text-anchor": "end" }, names[0]),
    svg("text", { class: "axis", x: SIDE / 2, y: first - 8, "text-anchor": "middle" }, names[1]),
  ];
}

/** Arrows along which the players are drawn, all of about the same length. */
function arrows({ field, reach }: Plane): SVGElement {
  const places = Array.from({ length: 9 }, (_, place) => ((place - 4) / 4.4) * reach);
  const shafts = places.flatMap((x) =>
    places.map((y) => {
      const [right, up] = field(x, y);
      const size = Math.hypot(right, up);
      if (!(size > 0) || !Number.isFinite(size)) return "";
      const [u, v] = [right / size, -up / size];
      const [fromX, fromY] = [toX(x, reach) - 7 * u, toY(y, reach) - 7 * v];
      const [endX, endY] = [fromX + 14 * u, fromY + 14 * v];
      const wing = (side: number) => `M${endX} ${endY}l${-5 * u + side * 3 * v} ${-5 * v - side * 3 * u}`;
      return `M${fromX} ${fromY}L${endX} ${endY}${wing(1)}${wing(-1)}`;
    }),
  );
  return svg("path", { class: "arrows", d: shafts.join("") });
}

/** The plane; the element with the class "handle" is the start. */
export function planePicture(plane: Plane, label: string): SVGSVGElement {
  const { path, reach, equilibrium } = plane;
  const at = (place: number): [number, number] => [toX(path[2 * place], reach), toY(path[2 * place + 1], reach)];
  const count = path.length / 2;
  const points = thinned(Array.from({ length: count }, (_, place) => at(place)), 4000);
  const clip = svg("clipPath", { id: "inside" }, svg("rect", { x: SIDE / 2 - HALF, y: SIDE / 2 - HALF, width: 2 * HALF, height: 2 * HALF }));
  const picture = svg("svg", { class: "plane", viewBox: `0 0 ${SIDE} ${SIDE}` }, clip);
  const drawing = svg("g", { role: "img", "aria-label": label });
  const inside = svg("g", { "clip-path": "url(#inside)" });
  drawing.append(arrows(plane), ...axes(reach, plane.names), inside);
  if (equilibrium && path.length) {
    const [x, y] = [toX(equilibrium[0], reach), toY(equilibrium[1], reach)];
    const scale = HALF / reach;
    if (plane.orbit) inside.append(svg("ellipse", { class: "orbit", cx: x, cy: y, rx: plane.orbit[0] * scale, ry: plane.orbit[1] * scale }));
    inside.append(svg("circle", { class: "rest", cx: x, cy: y, r: 3.5 }));
  }
  inside.append(svg("path", { class: "line halo", d: line(points) }), svg("path", { class: "line path", d: line(points) }));
  const [endX, endY] = at(count - 1);
  if (Math.hypot(endX, endY) < 2 * SIDE) inside.append(svg("circle", { class: "end path", cx: endX, cy: endY, r: 4.5 }));
  const [x, y] = at(0);
  picture.append(drawing, svg("circle", { class: "handle", cx: x, cy: y, r: 9 }));
  return picture;
}

/** A runner of a race: its path as points one after the other, how many of them it has come to, and its colour. */
export interface Track {
  path: Float64Array;
  until: number;
  class: string;
}

/** Several paths from one start, as far as they have come. */
export function tracksPicture(tracks: Track[], reach: number, rest: Point, names: readonly [string, string], label: string): SVGSVGElement {
  const picture = svg("svg", { class: "plane", viewBox: `0 0 ${SIDE} ${SIDE}`, role: "img", "aria-label": label });
  const [first, size] = [SIDE / 2 - HALF, 2 * HALF];
  const clip = svg("clipPath", { id: "inside-race" }, svg("rect", { x: first, y: first, width: size, height: size }));
  const inside = svg("g", { "clip-path": "url(#inside-race)" });
  picture.append(clip, ...axes(reach, names), inside);
  inside.append(svg("circle", { class: "rest", cx: toX(rest[0], reach), cy: toY(rest[1], reach), r: 3.5 }));
  for (const { path, until, class: kind } of tracks) {
    const points = Array.from({ length: until }, (_, place): [number, number] => [
      toX(path[2 * place], reach),
      toY(path[2 * place + 1], reach),
    ]);
    inside.append(svg("path", { class: `line thin ${kind}`, d: line(thinned(points, MOST_OF_TRACK)) }));
    const end = points.at(-1);
    if (end && Math.hypot(...end) < 2 * SIDE) inside.append(svg("circle", { class: `end ${kind}`, cx: end[0], cy: end[1], r: 5 }));
  }
  return picture;
}

/** The eigenvalues beside the unit circle, with where they are at other learning rates. */
export function circlePicture(spectrum: Spectrum, locus: Complex[], label: string): SVGSVGElement {
  const largest = Math.max(1, ...spectrum.values.map(({ re, im }) => Math.max(Math.abs(re), Math.abs(im))).filter(Number.isFinite));
  const reach = 1.22 * Math.min(largest, 1e6);
  const picture = svg("svg", { class: "plane", viewBox: `0 0 ${SIDE} ${SIDE}`, role: "img", "aria-label": label });
  picture.append(svg("circle", { class: "inside", cx: SIDE / 2, cy: SIDE / 2, r: HALF / reach }), ...axes(reach, ["real", "imaginary"]));
  for (const { re, im } of locus) {
    if (Math.max(Math.abs(re), Math.abs(im)) > reach) continue;
    picture.append(svg("circle", { class: "locus", cx: toX(re, reach), cy: toY(im, reach), r: 1.6 }));
  }
  const outside = spectrum.radius > 1 + 1e-9;
  for (const { re, im } of spectrum.values) {
    if (!Number.isFinite(re + im)) continue;
    picture.append(svg("circle", { class: outside ? "value outside" : "value", cx: toX(re, reach), cy: toY(im, reach), r: 6 }));
  }
  return picture;
}
