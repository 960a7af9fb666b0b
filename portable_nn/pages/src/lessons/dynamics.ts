// What Python's adversarial.simulate, update_operator, spectrum and stability_limit compute, in the browser.

import { type Complex, eigenvalues, modulus } from "./eigenvalues";
import { compiled, type Program } from "./program";
import { Generator, Normals } from "./random";

export interface OptionData {
  name: string;
  meaning: string;
  /** null: the learning rate. */
  default: number | null;
  low: number | null;
  high: number | null;
  whole: boolean;
}

export interface MethodProgram {
  begin: Program;
  step: Program;
  vectors: number;
  ticks: number;
  /** How many calls of F the begin and the step have, for each of which something may be random. */
  calls: [number, number];
}

export interface MethodData {
  name: string;
  title: string;
  source: string;
  /** Gradients a step. */
  cost: number;
  /** A step solves an equation. */
  implicit: boolean;
  options: OptionData[];
  /** The values of options that are part of the step. */
  fixed: Record<string, number>;
  program: MethodProgram;
  /** On the linearised game; null where a step is no matrix that recurs. */
  local: MethodProgram | null;
  /** What a step does, and its factor on x·y, as formulas. */
  formula: string | null;
}

export type Options = Readonly<Record<string, number | null>>;
export type Point = readonly number[];

interface Clock {
  /** The numbers of a method that depend on the step alone, counted from 0. */
  ticks(step: number, options: Record<string, number>): number[];
  /** After how many steps they recur; 1 for a method without a clock. */
  period?(options: Record<string, number>): number;
}

function corrections(step: number, { beta1, beta2 }: Record<string, number>): number[] {
  return [1 - beta1 ** (step + 1), 1 - beta2 ** (step + 1)];
}

const ADAM: Clock = { ticks: corrections };
const ANCHORED: Clock = { ticks: (step) => [1 / (step + 2)] };

/** The clocks of adversarial/methods/table.py. */
const CLOCKS: Readonly<Record<string, Clock>> = {
  slingshot: { ticks: (step) => [step % 2 ? -1 : 1], period: () => 2 },
  lookahead: { ticks: (step, { k }) => [(step + 1) % k ? 0 : 1], period: ({ k }) => k },
  anchored: ANCHORED,
  "anchored-popov": ANCHORED,
  "varying-anchored": { ticks: (step) => [1 / (step + 2), 1 / ((step + 1) * (step + 3))] },
  "fast-extragradient": { ticks: (step) => [1 / (step + 1)] },
  adam: ADAM,
  "alternating-adam": ADAM,
  "optimistic-adam": ADAM,
  "extra-adam": {
    ticks: (step, options) => [...corrections(2 * step, options), ...corrections(2 * step + 1, options)],
  },
};

const NO_CLOCK: Clock = { ticks: () => [] };

function clockOf(method: MethodData): Clock {
  return CLOCKS[method.name] ?? NO_CLOCK;
}

/** All options: those given, and defaults; the learning rate where that is the default. */
export function filled(method: MethodData, rate: number, given: Options = {}): Record<string, number> {
  return Object.fromEntries(method.options.map((option) => [option.name, given[option.name] ?? option.default ?? rate]));
}

/** One learning rate, or that of x and that of y. */
export type Rate = number | readonly [number, number];

export function pairOf(rate: Rate): readonly [number, number] {
  return typeof rate === "number" ? [rate, rate] : rate;
}

/** Both rates times a factor. */
export function scaledRate(rate: Rate, factor: number): Rate {
  return typeof rate === "number" ? rate * factor : [rate[0] * factor, rate[1] * factor];
}

/** What is random about a run. */
export interface Chance {
  /** The standard deviation of what is added to each number of each gradient. */
  noise: number;
  seed: number;
  /** The matrices, row by row, of which each gradient is that of one. */
  samples: readonly (readonly number[])[] | null;
}

export const NO_CHANCE: Chance = { noise: 0, seed: 0, samples: null };

let latest = new Normals(0);

/** What is random about so many calls, as numpy draws it; 0 where nothing is. */
function drawer({ noise, seed, samples }: Chance, size: number): (calls: number) => number[] {
  if (samples) {
    const generator = new Generator(seed);
    const call = () => [
      ...samples[generator.below(samples.length)],
      ...Array.from({ length: size }, () => (noise ? noise * generator.normal() : 0)),
    ];
    return (calls) => Array.from({ length: calls }, call).flat();
  }
  if (!noise) return (calls) => Array<number>(calls * size).fill(0);
  if (latest.seed !== seed) latest = new Normals(seed);
  const normals = latest;
  let place = 0;
  return (calls) => Array.from({ length: calls * size }, () => noise * normals.at(place++));
}

/** The options as a step takes them: two numbers where they are learning rates. */
function optionInputs(method: MethodData, rate: Rate, given: Options): number[] {
  return method.options.flatMap((option) => {
    const value = given[option.name] ?? option.default;
    if (option.default !== null) return [value as number];
    return value === null ? pairOf(rate) : [value, value];
  });
}

/** One method, ready to step at any learning rate. */
function stepper(method: MethodData, program: MethodProgram, rate: Rate, given: Options, draw = drawer(NO_CHANCE, 0)) {
  const run = compiled(program.step);
  const clock = clockOf(method);
  const options = filled(method, pairOf(rate)[0], given);
  let inputs = [...pairOf(rate), ...optionInputs(method, rate, given)];
  let now = rate;
  return (state: number[], step: number, wanted = rate) => {
    if (wanted !== now) [inputs, now] = [[...pairOf(wanted), ...optionInputs(method, wanted, given)], wanted];
    return run([...state, inputs[0], inputs[1], ...clock.ticks(step, options), ...inputs.slice(2), ...draw(program.calls[1])]);
  };
}

/** The points of a run, one after the other, of as many numbers each as the start; `decay` is a factor of the rate at step t = 1, 2, … */
export function simulate(
  method: MethodData,
  start: Point,
  rate: Rate,
  steps: number,
  given: Options = {},
  decay: Program | null = null,
  chance: Chance = NO_CHANCE,
): Float64Array {
  const size = start.length;
  const draw = drawer(chance, size);
  const step = stepper(method, method.program, rate, given, draw);
  const factor = decay && compiled(decay);
  const points = new Float64Array(size * (steps + 1));
  let state = compiled(method.program.begin)([...start, ...draw(method.program.calls[0])]);
  points.set(start);
  for (let place = 0; place < steps; place++) {
    state = step(state, place, factor ? scaledRate(rate, factor([place + 1, 0])[0]) : rate);
    for (let number = 0; number < size; number++) points[size * (place + 1) + number] = state[number];
  }
  return points;
}

/** Two of the `size` numbers of each point. */
export function seen(points: Float64Array, size: number, [across, up]: readonly [number, number]): Float64Array {
  return Float64Array.from({ length: (2 * points.length) / size }, (_, place) => points[size * (place >> 1) + (place & 1 ? up : across)]);
}

/** Where the players may come to rest: the points with F = 0, and what projects on the directions in which a distance from there counts. */
export interface Places {
  points: readonly Point[];
  /** Row by row; null where all directions count. */
  directions: readonly Point[] | null;
}

/** The distance of each point to the nearest equilibrium. */
export function distances(points: Float64Array, { points: places, directions }: Places): Float64Array {
  const size = places[0].length;
  return Float64Array.from({ length: points.length / size }, (_, step) => {
    const lengths = places.map((place) => {
      const offset = place.map((value, number) => points[size * step + number] - value);
      return Math.hypot(...(directions?.map((row) => dot(row, offset)) ?? offset));
    });
    return lengths.reduce((least, length) => (length >= least ? least : length));
  });
}

export function dot(one: ArrayLike<number>, other: ArrayLike<number>): number {
  let sum = 0;
  for (let place = 0; place < one.length; place++) sum += one[place] * other[place];
  return sum;
}

export interface Spectrum {
  /** What a step, or a period of steps, multiplies the method's state by, row by row. */
  operator: number[][];
  /** By falling modulus. */
  values: Complex[];
  /** Steps of a period. */
  period: number;
  /** The largest modulus, for one step: the factor by which a step multiplies the distance in the end. */
  radius: number;
  /** Steps for one rotation; null without one. */
  turn: number | null;
}

/** Angles below this are rounding errors, which a double eigenvalue magnifies to their square root. */
const STILL = 1e-6;

/** The update near the equilibrium as a matrix; null where a step is no matrix that recurs. */
export function spectrum(method: MethodData, rate: Rate, given: Options = {}): Spectrum | null {
  if (method.local === null) return null;
  const options = filled(method, pairOf(rate)[0], given);
  const step = stepper(method, method.local, rate, given);
  const period = clockOf(method).period?.(options) ?? 1;
  const size = method.local.step.outputs.length;
  const columns = Array.from({ length: size }, (_, column) => {
    let state = Array.from({ length: size }, (_, row) => Number(row === column));
    for (let place = 0; place < period; place++) state = step(state, place);
    return state;
  });
  const operator = columns.map((_, row) => columns.map((column) => column[row]));
  const values = eigenvalues(operator);
  const angle = Math.abs(Math.atan2(values[0].im, values[0].re));
  const turns = period === 1 && angle > STILL && angle < Math.PI - STILL;
  return {
    operator,
    values,
    period,
    radius: modulus(values[0]) ** (1 / period),
    turn: turns ? (2 * Math.PI) / angle : null,
  };
}

/** How far from 1 a spectral radius may be by rounding. */
export const STABLE = 1e-9;

/** The geometric grid, times `scale`, in which a stability limit is bracketed. */
const [SMALLEST, LARGEST, RATIO] = [1e-3, 1e6, 1.05];

/**
 * The largest rate of the stable range that begins at 0: 0 if there is none, Infinity if it has no end, null as above.
 *
 * `scale` is the norm of J at the equilibrium.
 */
export function stabilityLimit(method: MethodData, given: Options = {}, scale = 1): number | null {
  if (method.local === null) return null;
  const unstable = (rate: number) => !((spectrum(method, rate, given)?.radius ?? Number.NaN) <= 1 + STABLE);
  let low = 0;
  let high = SMALLEST / scale;
  while (!unstable(high)) {
    [low, high] = [high, high * RATIO];
    if (high > LARGEST / scale) return Number.POSITIVE_INFINITY;
  }
  if (low === 0) return 0;
  while (high - low > 1e-12 * high) {
    const middle = (low + high) / 2;
    if (unstable(middle)) high = middle;
    else low = middle;
  }
  return low;
}
