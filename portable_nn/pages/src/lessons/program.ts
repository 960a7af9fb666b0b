// Programs: lists of operations on numbers, as Python records the steps of methods (adversarial/methods/tape.py).

export interface Program {
  inputs: number;
  constants: number[];
  operations: [string, ...number[]][];
  outputs: number[];
}

function softplus(value: number): number {
  return Math.max(value, 0) + Math.log1p(Math.exp(-Math.abs(value)));
}

function sigmoid(value: number): number {
  const small = Math.exp(-Math.abs(value));
  return value >= 0 ? 1 / (1 + small) : small / (1 + small);
}

/** The functions of operators/scalars.py, by the name of the operator in ONNX; beside them, a program may have Solve. */
const FUNCTIONS: Readonly<Record<string, ((a: number, b: number) => number) | undefined>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
  Neg: (a) => -a,
  Pow: Math.pow,
  Exp: Math.exp,
  Log: Math.log,
  Sqrt: Math.sqrt,
  Sin: Math.sin,
  Cos: Math.cos,
  Tanh: Math.tanh,
  Abs: Math.abs,
  Sign: Math.sign,
  Softplus: softplus,
  Sigmoid: sigmoid,
};

/** The w with M·w = v by Gaussian elimination with pivoting; `given` are M, row by row, and v. NaN where M is singular. */
function solved(given: number[]): number[] {
  const size = (Math.sqrt(4 * given.length + 1) - 1) / 2;
  const rows = Array.from({ length: size }, (_, row) => [...given.slice(row * size, (row + 1) * size), given[size * size + row]]);
  for (let place = 0; place < size; place++) {
    let pivot = place;
    for (let row = place + 1; row < size; row++) if (Math.abs(rows[row][place]) > Math.abs(rows[pivot][place])) pivot = row;
    [rows[place], rows[pivot]] = [rows[pivot], rows[place]];
    if (rows[place][place] === 0) return Array<number>(size).fill(Number.NaN);
    for (const row of rows.slice(place + 1)) {
      const share = row[place] / rows[place][place];
      if (share) for (let column = place + 1; column <= size; column++) row[column] -= share * rows[place][column];
    }
  }
  const found = Array<number>(size).fill(0);
  for (let place = size - 1; place >= 0; place--) {
    let rest = rows[place][size];
    for (let column = place + 1; column < size; column++) rest -= rows[place][column] * found[column];
    found[place] = rest / rows[place][place];
  }
  return found;
}

export type Evaluate = (inputs: ArrayLike<number>) => number[];

/** A function of the inputs that returns the outputs. */
export function compiled(program: Program): Evaluate {
  const { inputs, constants, operations, outputs } = program;
  const first = inputs + constants.length;
  let length = first;
  const steps = operations.map(([name, a, b, ...more]) => {
    const step = { apply: FUNCTIONS[name], a, b: b ?? a, all: [a, b ?? a, ...more], to: length };
    length += name === "Solve" ? (Math.sqrt(4 * step.all.length + 1) - 1) / 2 : 1;
    return step;
  });
  const values = new Float64Array(length);
  values.set(constants, inputs);
  return (given) => {
    for (let place = 0; place < inputs; place++) values[place] = given[place];
    for (const { apply, a, b, all, to } of steps) {
      if (apply) values[to] = apply(values[a], values[b]);
      else values.set(solved(all.map((place) => values[place])), to);
    }
    return outputs.map((place) => values[place]);
  };
}

/** The outputs of a program for some inputs. */
export function evaluate(program: Program, inputs: ArrayLike<number>): number[] {
  return compiled(program)(inputs);
}
