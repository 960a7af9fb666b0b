// Arrays as JSON, to the last digit: what does not fit into the type of an input is refused.

import { rounded } from "../shared/text";
import { half } from "./halves";
import { filled, numbers, size, written, type Tensor } from "./tensors";
import type { Value } from "./types";

type List = string | List[];

const TOKEN = /[[\],]|[^\s[\],]+/g;
const NUMBER = /^-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?$/;
const NOT_FINITE = new Map([["NaN", NaN], ["Infinity", Infinity], ["-Infinity", -Infinity]]);
const BOOL = new Map([["true", 1], ["false", 0], ["1", 1], ["0", 0]]);

/** The array in a JSON text, as an input of this type. Raises an error that says what was expected, and what was found. */
export function parsed(text: string, dtype: string): Tensor {
  const list = listOf(text), shape = shapeOf(list);
  return filled((([list] as unknown[]).flat(Infinity) as string[]).map((word) => read(word, dtype)), shape, dtype);
}

function listOf(text: string): List {
  const tokens = text.match(TOKEN) ?? [];
  let place = 0;
  const value = (): List => {
    const token = tokens[place++];
    if (token === undefined || token === "]" || token === ",") throw new Error(`expected a number or a list in brackets, found ${token === undefined ? "the end" : `'${token}'`}`);
    if (token !== "[") return token;
    const found: List[] = [];
    while (tokens[place] !== "]") {
      if (found.length && tokens[place++] !== ",") throw new Error("expected a comma or ] after each number of a list");
      found.push(value());
    }
    place++;
    return found;
  };
  const found = value();
  if (place < tokens.length) throw new Error(`expected one array, found '${tokens[place]}' after it`);
  return found;
}

function shapeOf(list: List): number[] {
  if (typeof list === "string") return [];
  const [first, ...others] = list.map(shapeOf), other = others.find((each) => String(each) !== String(first));
  if (other) throw new Error(`expected lists of one length, found ${written(first as number[])} and ${written(other)} beside each other`);
  return [list.length, ...(first ?? [])];
}

function read(word: string, dtype: string): number | bigint {
  if (dtype === "bool") {
    const found = BOOL.get(word);
    if (found === undefined) throw new Error(`expected true or false, found ${word}`);
    return found;
  }
  const value = NOT_FINITE.has(word) ? NOT_FINITE.get(word) : NUMBER.test(word) ? Number(word) : undefined;
  if (value === undefined) throw new Error(`expected a number, found ${word}`);
  if (!NOT_FINITE.has(word) && dtype.startsWith("float")) return float(value, dtype);
  return fitting(/^-?\d+$/.test(word) ? BigInt(word) : value, dtype, word);
}

/** To the nearest number of this type. */
function rounding(dtype: string): (value: number) => number {
  return dtype === "float16" ? half : dtype === "float32" ? Math.fround : (value) => value;
}

/** A finite number as one of this type. */
function float(value: number, dtype: string): number {
  if (!Number.isFinite(rounding(dtype)(value))) throw new Error(`${rounded(value)} does not fit into a ${dtype}`);
  return value;
}

/** A number as one of this type. Raises an error where that would be another number. */
function fitting(value: number | bigint, dtype: string, word = String(value)): number | bigint {
  if (dtype.startsWith("float")) return Number.isFinite(Number(value)) ? float(Number(value), dtype) : Number(value);
  if (dtype === "bool" ? value != 0 && value != 1 : typeof value === "number" && !Number.isInteger(value)) throw new Error(`expected ${dtype}, found ${word}`);
  const whole = BigInt(value), bits = BigInt(dtype.replace(/\D/g, "") || 1), isSigned = dtype.startsWith("int");
  if (whole !== (isSigned ? BigInt.asIntN : BigInt.asUintN)(Number(bits), whole)) throw new Error(`${word} does not fit into ${dtype}`);
  return whole;
}

/** An array of another type as one for an input. Raises an error where that would make other numbers of whole ones. */
export function cast(given: Tensor, { name, dtype }: Value): Tensor {
  if (given.dtype === dtype) return given;
  try {
    return filled(Array.from(given.data as ArrayLike<number | bigint>, (value) => fitting(value, dtype)), given.shape, dtype);
  } catch (error) {
    throw new Error(`expected ${dtype}, as input '${name}' takes, found ${given.dtype} with other numbers: ${(error as Error).message}`);
  }
}

/** An array as JSON, in as many digits as tell its numbers from all others of their type. */
export function spelled(given: Tensor, most = Infinity): string {
  const { dtype, data, shape } = given;
  const words = Array.from((data as Float64Array).subarray(0, most) as ArrayLike<number | bigint>, (value) =>
    (typeof value === "bigint" ? String(value) : dtype === "bool" ? String(value !== 0) : shortest(value, rounding(dtype))));
  return nested(words, words.length < data.length ? [words.length] : shape);
}

function nested(words: readonly string[], shape: readonly number[]): string {
  if (shape.length === 0) return words[0] as string;
  if (shape.length === 1) return `[${words.join(",")}]`;
  const step = size(shape.slice(1));
  return `[${Array.from({ length: shape[0] as number }, (_, k) => nested(words.slice(k * step, (k + 1) * step), shape.slice(1))).join(",")}]`;
}

/** The fewest digits that mean this number of 16, 32 or 64 bits. */
function shortest(value: number, round: (value: number) => number): string {
  for (let digits = 3; digits < 10 && Number.isFinite(value); digits++) {
    const found = Number(value.toPrecision(digits));
    if (round(found) === value) return String(found);
  }
  return String(value);
}

/** Why arrays cannot be the inputs of a model, as Python says it: a size with a name must be the same in all of them. */
export function mismatch(inputs: readonly Value[], given: Readonly<Record<string, Tensor>>): string | undefined {
  const bound = new Map<string, { size: number; by: string }>();
  for (const { name, shape } of inputs) {
    const found = (given[name] as Tensor).shape;
    const fits = found.length === shape.length && shape.every((dim, axis) => {
      if (typeof dim === "string" && !bound.has(dim)) bound.set(dim, { size: found[axis] as number, by: name });
      return found[axis] === (typeof dim === "string" ? bound.get(dim)?.size : dim);
    });
    if (fits) continue;
    const known = shape.flatMap((dim) => {
      const one = typeof dim === "string" ? bound.get(dim) : undefined;
      return one && one.by !== name ? [`${dim} is ${one.size} by '${one.by}'`] : [];
    });
    return `input '${name}' needs ${written(shape)}${known.length ? ` where ${known.join(", ")}` : ""}, not ${written(found)}`;
  }
  return undefined;
}

/** The least and the largest number, as people read them. */
export function range(given: Tensor): string {
  const values = numbers(given), low = values.reduce((a, b) => Math.min(a, b), Infinity), high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return values.length ? `from ${rounded(low, 5)} to ${rounded(high, 5)}` : "empty";
}
