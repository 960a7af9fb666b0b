// What the page of a game says and draws of a run: the verdict, the numbers, the eigenvalues, the distances.

import { h } from "../shared/dom";
import { rounded } from "../shared/text";
import { chart } from "./chart";
import { facts, factor } from "./controls";
import {
  type Chance,
  dot,
  type MethodData,
  type Options,
  pairOf,
  type Places,
  type Point,
  type Rate,
  spectrum,
  type Spectrum,
  STABLE,
  stabilityLimit,
} from "./dynamics";
import type { Complex } from "./eigenvalues";
import { type Modes, modes } from "./modes";
import { circlePicture } from "./plane";

/** The points that the players may come to, where F = 0. */
export interface Rest extends Places {
  /** The first of them. */
  at: Point;
  /** "the equilibrium", or "the point where F = 0" if a player gains by leaving it. */
  name: string;
  /** What kind of point the first is, in words. */
  kind: string;
  isEquilibrium: boolean;
  /** F is linear, so that the eigenvalues say what happens everywhere. */
  linear: boolean;
  /** Unit vectors of the numbers that the local games of methods have; null for all as they are. */
  coordinates: readonly Point[] | null;
  /** The norm of J there. */
  size: number;
  /** The local games of methods have other coordinates than the game. */
  isTurned: boolean;
}

export interface Reading {
  method: MethodData;
  rate: Rate;
  /** The name of what the rate is multiplied by at each step: "constant", one that Python knows, or a formula. */
  decay: string;
  options: Options;
  steps: number;
  start: Point;
  chance: Chance;
  rest: Rest;
  /** The distance from there after each step. */
  far: Float64Array;
  /** The points, all numbers of each after each step. */
  path: Float64Array;
  /** null where a step of the method is no one matrix. */
  found: Spectrum | null;
}

/** The learning rates whose eigenvalues are shown as small dots. */
const RATES = Array.from({ length: 60 }, (_, place) => 0.002 * 1000 ** (place / 59));

/** A distance below this was not about to overflow. */
const HUGE = 1e50;

/** The last step before one that is not defined, as where f leaves its domain; null where all are. */
function undefinedAfter({ far, method }: Reading): number | null {
  const place = far.findIndex((distance) => !Number.isFinite(distance));
  return place > 0 && (Number.isNaN(far[place]) || method.implicit) && far[place - 1] < HUGE ? place - 1 : null;
}

/** By what a step multiplies the distance on average, as far as steps are defined. */
function measured(reading: Reading): number {
  const { far } = reading, steps = undefinedAfter(reading) ?? reading.steps;
  return (far[steps] / far[0]) ** (1 / steps);
}

/** What a verdict rests on, as Python's has it. */
const [PROVED, LOCAL, SEEN] = [" Proved, by the eigenvalues.", " Local: by the eigenvalues there.", " Seen in this run alone."];

/** The verdict in a sentence with what it rests on, and whether it is "good" or "bad". */
export function judgement(reading: Reading): [string, string] {
  const { found, rest, far, steps, rate, chance, path, start } = reading;
  const isRandom = chance.noise > 0 || chance.samples !== null;
  if (!Math.max(...pairOf(rate))) return ["Nobody moves: the learning rates are 0.", ""];
  if (rest.directions?.every((row) => row.every((entry) => entry === 0))) return ["Every point is an equilibrium: nobody is ever away from one.", ""];
  if (far[0] === 0 && !chance.noise) return ["Where they start, nobody moves.", ""];
  const last = undefinedAfter(reading);
  if (last !== null) {
    const point = Array.from(path.subarray(start.length * last, start.length * (last + 1)), (value) => rounded(value, 4)).join(", ");
    const why = reading.method.implicit ? "f, a gradient or the solution of its equation is no number" : "f or a gradient is no number";
    return [`Step ${(last + 1).toLocaleString("en")}, from (${point}), is not defined: ${why} there.`, "bad"];
  }
  const each = measured(reading);
  if (!Number.isFinite(far[steps])) return ["The players are thrown beyond all numbers.", "bad"];
  const run = `this run goes from a distance of ${rounded(far[0], 4)} to ${rounded(far[steps], 4)}`;
  if (chance.samples || (!found && isRandom)) {
    const what = chance.samples ? "Each gradient is that of a random matrix" : "Noise is added to each gradient";
    const mean = chance.samples && found ? ` With the mean of the matrices each step would multiply the distance by ${factor(found.radius)} in the end.` : "";
    return [`${what}: ${run}.${SEEN}${mean}`, ""];
  }
  if (!found) return [`Over these steps each multiplies the distance by ${factor(each)} on average.${SEEN}`, each < 1 ? "good" : "bad"];
  if (rest.linear && rest.directions && !rest.coordinates) return [`The equilibria are a line, along which the players may go on; ${run}.${SEEN}`, ""];
  if (!rest.linear) {
    const besides = isRandom ? ", were it not for the noise" : "";
    return [`Near ${nearest(rest)} each step multiplies the distance by ${factor(found.radius)}${besides}.${LOCAL} And ${run}.`, ""];
  }
  const offset = start.map((value, place) => value - rest.at[place]);
  const beside = rest.coordinates?.map((row) => dot(row, offset)) ?? offset;
  const fates = modes(reading.method, beside, found);
  if (!fates) return [`The update is no matrix of finite numbers; ${run}.`, "bad"];
  const [words, kind] = isRandom ? noisy(reading, fates.all) : still(rest, fates.own, fates.all);
  return [`${words}${PROVED}`, kind];
}

/** The point whose eigenvalues are shown. */
function nearest(rest: Rest): string {
  return rest.points.length > 1 ? `(${rest.at.map((value) => rounded(value, 4)).join(", ")}), where F = 0,` : rest.name;
}

/** What becomes of a run on a linear game, and of those from other starts where it is something else. */
function still(rest: Rest, own: Modes, all: Modes): [string, string] {
  const elsewhere = all.fate === own.fate && Math.abs(all.factor - own.factor) < STABLE ? "" : " From almost any other start it is otherwise, as the largest eigenvalue says.";
  const by = `in the end each step multiplies their distance by ${factor(own.factor)}`;
  if (own.fate === "grows") {
    const slowly = "as the number of steps: the largest eigenvalue, 1, is a double one";
    return [`The players move away: ${own.factor === 1 ? `in the end their distance grows ${slowly}` : by}.${elsewhere}`, "bad"];
  }
  if (own.fate === "shrinks") {
    const leaving = rest.isEquilibrium ? "" : ", which is no equilibrium";
    return [`The players come to ${rest.name}${leaving}: ${by}.${elsewhere}`, rest.isEquilibrium ? "good" : ""];
  }
  const words = own.fate === "turns" ? "The players go round for ever: in the end no step takes them nearer." : "The players come to rest elsewhere: in the end no step takes them nearer.";
  return [`${words}${elsewhere}`, ""];
}

/** The same with noise, which has a part in all directions. */
function noisy({ far, steps, rest }: Reading, { fate, factor: by }: Modes): [string, string] {
  if (fate === "grows") return [`The players move away: besides the noise, in the end each step multiplies their distance by ${factor(by)}.`, "bad"];
  if (fate !== "shrinks") return ["The noise adds up: without it no step takes the players nearer, with it they stray, about as the square root of the number of steps.", "bad"];
  const late = far.subarray(Math.floor(steps / 2));
  const bounds = [Math.min, Math.max].map((most) => rounded(late.reduce((a, b) => most(a, b)), 4)).join(" and ");
  return [`The noise keeps the players away from ${rest.name}: without it each step multiplies the distance by ${factor(by)} in the end. In the second half of this run it is between ${bounds}.`, ""];
}

/** A function of a method, its options and more, which is computed again only when one of them changes. */
function remembered<M, T>(compute: (method: MethodData, options: Options, more: M) => T): (method: MethodData, options: Options, more: M) => T {
  let known: { key: string; value: T } | null = null;
  return (method, options, more) => {
    const key = JSON.stringify([method.name, options, more]);
    if (known?.key !== key) known = { key, value: compute(method, options, more) };
    return known.value;
  };
}

const limitOf = remembered(stabilityLimit);

/** The eigenvalues at other learning rates, whose ratio is that of a pair. */
const locusOf = remembered((method, options, own: Rate): Complex[] => {
  const [first, second] = pairOf(own), larger = Math.max(first, second) || 1;
  return RATES.flatMap((rate) => spectrum(method, [(rate * first) / larger, (rate * second) / larger], options)?.values ?? []);
});

/** The numbers of a run, by name. */
export function numbersOf(reading: Reading): HTMLElement {
  const { method, found, far, steps, rest } = reading;
  const [first, second] = pairOf(reading.rate);
  const isConstant = reading.decay === "constant" && first === second;
  const limit = isConstant ? limitOf(method, reading.options, rest.size) : null, last = undefinedAfter(reading) ?? steps;
  const end = Number.isFinite(far[last]) ? rounded(far[last]) : "beyond the largest number";
  const whole = last === steps ? "" : ` in ${last.toLocaleString("en")} ${last === 1 ? "step" : "steps"}`;
  const factors = last > 0 && Number.isFinite(far[last]) ? `${factor(measured(reading))} per step, ` : "";
  const limits: Record<string, string> = { "0": "0: not even small ones", Infinity: "any" };
  return facts([
    ["largest eigenvalue", found ? factor(found.radius) : ""],
    ["measured", far[0] > 0 || reading.chance.noise ? `${far[0] > 0 ? factors : ""}from ${rounded(far[0])} to ${end}${whole}` : ""],
    ["formula", (isConstant && method.formula) || ""],
    ["stable up to a rate of", limit === null ? "" : (limits[limit] ?? rounded(limit, 7))],
    ["the same as one rate of", oneRate(reading)],
    ["one turn", found?.turn ? `${found.turn.toFixed(2)} steps` : ""],
    ["gradients", (Math.min(steps, last + 1) * method.cost).toLocaleString("en")],
    ["F = 0 at", rest.linear ? "" : rest.points.map((point) => `(${point.map((value) => rounded(value)).join(", ")})`).join(", ") + (rest.points.length > 1 ? "" : `: ${rest.kind}`)],
  ]);
}

/** The learning rate that does to both players what their own two do on x·y, if the method has it. */
function oneRate({ method, rate, options, found }: Reading): string {
  const [first, second] = pairOf(rate), one = Math.sqrt(first * second);
  if (!method.formula || !found || first === second) return "";
  const radius = spectrum(method, one, options)?.radius ?? Number.NaN;
  return Math.abs(radius - found.radius) < 1e-12 ? `√(${rounded(first)} · ${rounded(second)}) = ${rounded(one)}` : "";
}

function complexText({ re, im }: Complex): string {
  const least = 1e-12 * Math.max(1, Math.abs(re));
  if (Math.abs(im) < least) return rounded(re);
  if (Math.abs(re) < least) return `${im < 0 ? "−" : ""}${rounded(Math.abs(im))}i`;
  return `${rounded(re)} ${im < 0 ? "−" : "+"} ${rounded(Math.abs(im))}i`;
}

/** The eigenvalues beside the unit circle, and the matrix that they are of. */
export function eigenvaluesOf({ method, options, found, decay, rate: own, rest }: Reading): HTMLElement[] {
  if (!found) {
    const why = decay !== "constant" ? "its learning rate changes from step to step" : "it depends on which step it is, or on where the players are";
    return [h("p", { class: "muted" }, `A step of this method is no one matrix, so that it has no eigenvalues: ${why}.`)];
  }
  const locus = locusOf(method, options, own);
  const each = found.values.map(complexText);
  const texts = [...new Set(each)].map((text) => [text, each.filter((other) => other === text).length] as const)
    .map(([text, count]) => (count > 1 ? `${text} (${count} times)` : text)).join(", ");
  const together = found.period > 1 ? `Of ${found.period} steps together: ` : "";
  const rows = found.operator.map((row) => h("tr", {}, ...row.map((entry) => h("td", { class: "number" }, rounded(entry, 5)))));
  const along = rest.isTurned ? ", along the singular vectors of the players' coupling" : "";
  const title = `The matrix of ${found.period > 1 ? `${found.period} steps` : "a step"}${along}`;
  const table = h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": title }, h("table", {}, h("tbody", {}, ...rows)));
  return [
    h("div", {}, circlePicture(found, locus, `The eigenvalues ${texts} beside the unit circle`)),
    h("p", { class: "small" }, `${together}${texts}`),
    h("details", {}, h("summary", {}, title), table),
  ];
}

/** The distance after each step. */
export function distanceChart(reading: Reading, width: number): SVGSVGElement {
  const { far, rest } = reading, last = undefinedAfter(reading) ?? reading.steps;
  const points = Array.from(far, (distance, step): [number, number] => [step, distance]);
  return chart({
    label: `The distance from ${rest.name}, ${rounded(far[0])} at the start and ${rounded(far[last])} after ${last} steps`,
    width,
    x: "step",
    y: "distance",
    logarithmic: true,
    series: [{ name: "distance", class: "path", points: points.filter(([, distance]) => distance > 1e-300) }],
  });
}

/** By what each step multiplies the distance. */
export function factorChart(reading: Reading, width: number): SVGSVGElement {
  const { far, found } = reading;
  const end = (undefinedAfter(reading) ?? reading.steps) + 1;
  const each = Array.from(far.subarray(1, end), (distance, step): [number, number] => [step + 1, distance / far[step]]);
  const radius = found && Math.abs(found.radius - 1) > 1e-6 ? found.radius : null;
  return chart({
    label: `By what each step multiplies the distance, ${factor(measured(reading))} on average`,
    width,
    x: "step",
    y: "factor of the step",
    series: [{ name: "factor", class: "path", points: each }],
    levels: [
      { value: 1, name: "1: as far as before", class: "" },
      ...(radius === null ? [] : [{ value: radius, name: "largest eigenvalue", class: radius > 1 ? "bad" : "good" }]),
    ],
  });
}

/** The command that makes the same run; `called` chooses the game; Python knows a decay that is `named`. */
export function commandLine({ method, rate, decay, start, steps, options, chance }: Reading, called: string, named: boolean): string {
  const [first, second] = pairOf(rate), isOne = first === second;
  const scheduled = first === 1 ? decay : `${first}*(${decay})`;
  const both = isOne ? String(first) : `${first},${second}`;
  if (!isOne && decay !== "constant" && !named) return "# The command line takes a formula of t for both players alike.";
  const rates = decay === "constant" ? [`--rate ${both}`] : named ? [`--rate '${both}:${decay}'`] : [`--rate '${scheduled}'`];
  const given = method.options.map(({ name, default: usual }): [string, number | null, number | null] => [name, method.fixed[name] ?? options[name] ?? usual, usual]);
  return [
    `portable-nn simulate run ${called && `${called} `}--method ${method.name}`,
    ...rates,
    `--start ${start.map((value) => rounded(value)).join(",")} --steps ${steps}`,
    ...given.filter(([, value, usual]) => value !== usual).map(([name, value]) => `--set ${name}=${value}`),
    ...(chance.noise ? [`--noise ${chance.noise}`] : []),
    ...((chance.noise || chance.samples) && chance.seed ? [`--seed ${chance.seed}`] : []),
  ].join(" ");
}
