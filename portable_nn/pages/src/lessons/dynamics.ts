// What Python's adversarial.simulate, update_operator, spectrum and stability_limit compute, in the browser.

import { type Complex, eigenvalues, modulus } from "./eigenvalues";
import { compiled, type Program } from "./program";

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
}

export interface MethodData {
  name: string;
  title: string;
  source: string;
  /** Gradients a step. */
  cost: number;
  options: OptionData[];
  program: MethodProgram;
  /** On the linearised game; null where a step is no matrix that recurs. */
  local: MethodProgram | null;
  /** What a step does, and its factor on x·y, as formulas. */
  formula: string | null;
}

export type Options = Readonly<Record<string, number | null>>;
export type Point = readonly [number, number];

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

/** One method, ready to step at any learning rate. */
function stepper(method: MethodData, program: MethodProgram, rate: number, given: Options) {
  const run = compiled(program.step);
  const clock = clockOf(method);
  let options = filled(method, rate, given), now = rate;
  return (state: number[], step: number, wanted = rate) => {
    if (wanted !== now) [options, now] = [filled(method, wanted, given), wanted];
    return run([...state, now, ...clock.ticks(step, options), ...Object.values(options)]);
  };
}

/** The points (x, y) of a run, one after the other: 2·(steps + 1) numbers; `decay` is a factor of the rate at step t = 1, 2, … */
export function simulate(
  method: MethodData,
  start: Point,
  rate: number,
  steps: number,
  given: Options = {},
  decay: Program | null = null,
): Float64Array {
  const step = stepper(method, method.program, rate, given);
  const factor = decay && compiled(decay);
  const points = new Float64Array(2 * (steps + 1));
  let state = compiled(method.program.begin)(start);
  points.set(start);
  for (let place = 0; place < steps; place++) {
    state = step(state, place, factor ? rate * factor([place + 1, 0])[0] : rate);
    points[2 * place + 2] = state[0];
    points[2 * place + 3] = state[1];
  }
  return points;
}

/** The distance of each point to an equilibrium. */
export function distances(points: Float64Array, [x, y]: Point = [0, 0]): Float64Array {
  return Float64Array.from({ length: points.length / 2 }, (_, place) =>
    Math.hypot(points[2 * place] - x, points[2 * place + 1] - y),
  );
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
export function spectrum(method: MethodData, rate: number, given: Options = {}): Spectrum | null {
  if (method.local === null) return null;
  const options = filled(method, rate, given);
  const step = stepper(method, method.local, rate, given);
  const period = clockOf(method).period?.(options) ?? 1;
  const size = 2 * method.local.vectors;
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

/** The geometric grid in which a stability limit is bracketed. */
const [SMALLEST, LARGEST, RATIO] = [1e-3, 1e6, 1.05];

/** The largest rate of the stable range that begins at 0: 0 if there is none, Infinity if it has no end, null as above. */
export function stabilityLimit(method: MethodData, given: Options = {}): number | null {
  if (method.local === null) return null;
  const unstable = (rate: number) => !((spectrum(method, rate, given)?.radius ?? Number.NaN) <= 1 + STABLE);
  let low = 0;
  let high = SMALLEST;
  while (!unstable(high)) {
    [low, high] = [high, high * RATIO];
    if (high > LARGEST) return Number.POSITIVE_INFINITY;
  }
  if (low === 0) return 0;
  while (high - low > 1e-12 * high) {
    const middle = (low + high) / 2;
    if (unstable(middle)) high = middle;
    else low = middle;
  }
  return low;
}
