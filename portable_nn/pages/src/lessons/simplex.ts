// Mixed strategies of three actions as points of a triangle, as SVG.

import { svg } from "../shared/dom";
import { line, thinned } from "./chart";
import type { Point } from "./dynamics";

const [SIDE, TOP, LEFT] = [320, 34, 40];
const HEIGHT = (SIDE * Math.sqrt(3)) / 2;
const MOST_POINTS = 3000;
const CORNERS: readonly Point[] = [[LEFT + SIDE / 2, TOP], [LEFT, TOP + HEIGHT], [LEFT + SIDE, TOP + HEIGHT]];

/** Probabilities of all actions, from logits against the last. */
export function softmax(logits: readonly number[]): number[] {
  const all = [...logits, 0];
  const most = all.reduce((a, b) => Math.max(a, b));
  const weights = all.map((logit) => Math.exp(logit - most));
  const total = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / total);
}

/** The logits, against the last, of three probabilities. */
export function logits(shares: readonly number[]): number[] {
  return shares.slice(0, -1).map((share) => Math.log(share / (shares.at(-1) as number)));
}

function place(shares: readonly number[]): [number, number] {
  return [0, 1].map((axis) => shares.reduce((sum, share, corner) => sum + share * CORNERS[corner][axis], 0)) as [number, number];
}

/** The probabilities at a place of the picture, which are kept above 0. */
export function sharesAt(across: number, down: number): number[] {
  const first = 1 - (down - TOP) / HEIGHT;
  const last = (across - LEFT) / SIDE - first / 2;
  const kept = [first, 1 - first - last, last].map((share) => Math.max(share, 0.001));
  const total = kept.reduce((a, b) => a + b);
  return kept.map((share) => share / total);
}

export interface Walk {
  name: string;
  class: string;
  /** The logits at each step. */
  points: Point[];
}

/** The triangle with the way of each player; elements with the class "handle" are the starts, by `data-player`. */
export function trianglePicture(walks: Walk[], actions: readonly string[], label: string): SVGSVGElement {
  const picture = svg("svg", { class: "plane", viewBox: `0 0 ${SIDE + 2 * LEFT} ${Math.round(HEIGHT + TOP + 34)}` });
  const drawing = svg("g", { role: "img", "aria-label": label });
  const corner = (share: number, of: number) => actions.map((_, action) => (action === of ? share : (1 - share) / 2));
  drawing.append(svg("path", { class: "triangle", d: `${line(CORNERS.map(([x, y]): [number, number] => [x, y]))}Z` }));
  for (const height of [0.25, 0.5, 0.75]) {
    for (const of of [0, 1, 2]) {
      const ends = [1, 2].map((other) => place(actions.map((_, action) => (action === of ? height : action === (of + other) % 3 ? 1 - height : 0))));
      drawing.append(svg("path", { class: "grid", d: line(ends) }));
    }
  }
  actions.forEach((action, number) => {
    const [x, y] = place(corner(1, number));
    drawing.append(svg("text", { class: "axis", x, y: number ? y + 20 : y - 10, "text-anchor": "middle" }, action));
  });
  const [x, y] = place([1 / 3, 1 / 3, 1 / 3]);
  drawing.append(svg("circle", { class: "rest", cx: x, cy: y, r: 3.5 }));
  for (const { points, class: kind } of walks) {
    const places = thinned(points.filter((point) => point.every(Number.isFinite)), MOST_POINTS).map((point) => place(softmax(point)));
    drawing.append(svg("path", { class: `line ${kind}`, d: line(places) }));
    const end = places.at(-1);
    if (end) drawing.append(svg("circle", { class: `end ${kind}`, cx: end[0], cy: end[1], r: 4.5 }));
  }
  picture.append(drawing);
  walks.forEach(({ points, class: kind, name }, player) => {
    const [startX, startY] = place(softmax(points[0]));
    picture.append(
      svg("circle", { class: `handle ${kind}`, "data-player": player, cx: startX, cy: startY, r: 9 }),
      svg("text", { class: "on-handle", x: startX, y: startY + 4, "text-anchor": "middle" }, name),
    );
  });
  return picture;
}
