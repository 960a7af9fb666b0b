// What becomes of a run on a linear game, by the eigenvalues of the part of the update that its start has.

import { dot, type MethodData, type Point, type Spectrum } from "./dynamics";
import { eigenvalues, modulus } from "./eigenvalues";
import { compiled } from "./program";

/** Less than this of a new direction is a rounding error. */
const UNSEEN = 1e-13;
/** Changes of a matrix by so much, in times of its largest entry, say how far rounding errors move its eigenvalues. */
const [ROUNDING, TRIALS] = [1e-14, 4];
/** Steps, as powers of 2, after which a state that is larger than ever before grows for ever. */
const [EARLY, LATE, LARGER] = [12, 22, 30];

export type Fate = "grows" | "shrinks" | "turns" | "stays";

export interface Modes {
  fate: Fate;
  /** By which a step multiplies the distance in the end. */
  factor: number;
}

/** The largest modulus of the eigenvalues, and how far rounding errors may have moved it. */
function radius(matrix: number[][]): [number, number] {
  const largest = (rows: number[][]) => modulus(eigenvalues(rows)[0]);
  const found = largest(matrix), size = Math.max(...matrix.flat().map(Math.abs), 1);
  let seed = 1;
  const change = () => ((seed = (seed * 48271) % 2147483647) / 2147483647 - 0.5) * 2 * ROUNDING * size;
  const others = Array.from({ length: TRIALS }, () => largest(matrix.map((row) => row.map((entry) => entry + change()))));
  return [found, 3 * Math.max(ROUNDING / 3, ...others.map((other) => Math.abs(other - found)))];
}

/** The matrix on the space of a state and all that follows it, by Arnoldi's method, with the state as the first unit vector. */
function restricted(matrix: number[][], state: number[]): number[][] {
  // The directions are those of the matrix less 1, whose entries are small where the learning rate is.
  const moves = matrix.map((row, place) => row.map((entry, column) => entry - Number(place === column)));
  const size = Math.max(...moves.flat().map(Math.abs));
  const length = Math.hypot(...state);
  const basis = [state.map((value) => value / length)], columns: number[][] = [];
  while (columns.length < basis.length) {
    const from = basis[columns.length];
    let next = moves.map((row) => dot(row, from));
    const column = basis.map(() => 0);
    for (let again = 0; again < 2; again++) {
      basis.forEach((vector, place) => {
        const share = dot(vector, next);
        column[place] += share;
        next = next.map((value, number) => value - share * vector[number]);
      });
    }
    const rest = Math.hypot(...next);
    if (rest > UNSEEN * size && basis.length < matrix.length) {
      basis.push(next.map((value) => value / rest));
      column.push(rest);
    }
    columns.push(column);
  }
  return basis.map((_, row) => columns.map((column, place) => (column[row] ?? 0) + Number(row === place)));
}

function product(one: number[][], other: number[][]): number[][] {
  return one.map((row) => row.map((_, column) => row.reduce((sum, entry, place) => sum + entry * other[place][column], 0)));
}

/** Whether powers of a matrix grow though its eigenvalues do not, as those of a Jordan block. */
function creeps(matrix: number[][]): boolean {
  let power = matrix, most = 1;
  for (let doubling = 1; doubling <= LATE; doubling++) {
    power = product(power, power);
    const length = Math.hypot(...power.map((row) => row[0]));
    if (doubling <= EARLY) most = Math.max(most, length);
    else if (doubling === LATE) return length > LARGER * most;
  }
  return false;
}

/** What becomes of a matrix's powers, of a period of steps each. */
function judged(matrix: number[][], period: number): Modes {
  const [largest, error] = radius(matrix);
  const factor = largest ** (1 / period);
  if (largest > 1 + error) return { fate: "grows", factor };
  if (largest < 1 - error) return { fate: "shrinks", factor };
  if (creeps(matrix)) return { fate: "grows", factor: 1 };
  const turns = eigenvalues(matrix).some((value) => modulus(value) > 1 - error && Math.abs(Math.atan2(value.im, value.re)) > error);
  return { fate: turns ? "turns" : "stays", factor: 1 };
}

/** What becomes of a run from `offset` beside the equilibrium, and of those from elsewhere; null where a step is no matrix. */
export function modes(method: MethodData, offset: Point, found: Spectrum | null): { own: Modes; all: Modes } | null {
  if (!method.local || !found || !found.operator.flat().every(Number.isFinite)) return null;
  const state = compiled(method.local.begin)(offset);
  return { own: judged(restricted(found.operator, state), found.period), all: judged(found.operator, found.period) };
}
