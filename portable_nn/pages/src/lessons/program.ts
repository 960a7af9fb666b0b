// Programs: lists of operations on numbers, as Python records the steps of methods (adversarial/methods/tape.py).

export interface Program {
  inputs: number;
  constants: number[];
  operations: [string, number, number?][];
  outputs: number[];
}

function softplus(value: number): number {
  return Math.max(value, 0) + Math.log1p(Math.exp(-Math.abs(value)));
}

function sigmoid(value: number): number {
  const small = Math.exp(-Math.abs(value));
  return value >= 0 ? 1 / (1 + small) : small / (1 + small);
}

/** The functions of operators/scalars.py, by the name of the operator in ONNX. */
const FUNCTIONS: Readonly<Record<string, (a: number, b: number) => number>> = {
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

export type Evaluate = (inputs: ArrayLike<number>) => number[];

/** A function of the inputs that returns the outputs. */
export function compiled(program: Program): Evaluate {
  const { inputs, constants, operations, outputs } = program;
  const first = inputs + constants.length;
  const values = new Float64Array(first + operations.length);
  values.set(constants, inputs);
  const steps = operations.map(([name, a, b]) => ({ apply: FUNCTIONS[name], a, b: b ?? a }));
  return (given) => {
    for (let place = 0; place < inputs; place++) values[place] = given[place];
    steps.forEach(({ apply, a, b }, place) => {
      values[first + place] = apply(values[a], values[b]);
    });
    return outputs.map((place) => values[place]);
  };
}

/** The outputs of a program for some inputs. */
export function evaluate(program: Program, inputs: ArrayLike<number>): number[] {
  return compiled(program)(inputs);
}
