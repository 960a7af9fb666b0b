// Arrays of numbers by the names that ONNX and numpy have for their types.

import { decoded } from "../shared/dom";
import { rounded } from "../shared/text";
import { fromHalves, half } from "./halves";
import type { Packed } from "./types";

export type Numbers =
  | Float32Array | Float64Array | Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array
  | BigInt64Array | BigUint64Array;

export interface Tensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Numbers;
}

interface ArrayType {
  new (length: number): Numbers;
  new (buffer: ArrayBuffer): Numbers;
  readonly BYTES_PER_ELEMENT: number;
}

/** Numbers of 16 bits are kept in 32: see `halves`. */
const TYPES: Record<string, ArrayType> = {
  float16: Float32Array, float32: Float32Array, float64: Float64Array, int8: Int8Array, uint8: Uint8Array, bool: Uint8Array, int16: Int16Array,
  uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array, int64: BigInt64Array, uint64: BigUint64Array,
};

export function size(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** Numbers as an array of the type that an input takes. Raises an error where they do not fit into the shape, or would be others. */
export function tensor(values: ArrayLike<number>, shape: readonly number[], { input, dtype }: { input: string; dtype: string }): Tensor {
  if (dtype === "float32" && values.length === size(shape)) return { dtype, shape, data: Float32Array.from(values) };
  if (dtype.startsWith("float")) return filled(Array.from(values), shape, dtype);
  const found = filled(Array.from(values, (value) => (Number.isFinite(value) ? Math.trunc(value) : 0)), shape, dtype);
  const other = Array.prototype.findIndex.call(values, (value, place) => Number(found.data[place]) !== value || (dtype === "bool" && value > 1));
  if (other >= 0) throw new Error(`input '${input}' takes ${dtype}, and ${rounded(values[other] as number)} is none`);
  return found;
}

/** Numbers that this type holds as an array of it. */
export function filled(values: readonly (number | bigint)[], shape: readonly number[], dtype: string): Tensor {
  const type = TYPES[dtype];
  if (!type) throw new Error(`numbers of the type ${dtype} cannot be given here`);
  if (values.length !== size(shape)) throw new Error(`expected ${size(shape)} numbers for the shape ${written(shape)}, found ${values.length}`);
  const data = new type(values.length), isBig = data instanceof BigInt64Array || data instanceof BigUint64Array;
  const kept = isBig ? BigInt : dtype === "float16" ? (value: number | bigint) => half(Number(value)) : Number;
  values.forEach((value, place) => { (data as { [place: number]: unknown })[place] = kept(value); });
  return { dtype, shape, data };
}

export function unpacked({ dtype, shape, data }: Packed): Tensor {
  return fromBytes(decoded(data).buffer, dtype, shape);
}

export function fromBytes(buffer: ArrayBuffer, dtype: string, shape: readonly number[]): Tensor {
  const type = TYPES[dtype];
  if (!type) throw new Error(`arrays of the type ${dtype} cannot be read here`);
  return { dtype, shape, data: dtype === "float16" ? fromHalves(new Uint16Array(buffer)) : new type(buffer) };
}

/** The numbers as JavaScript has them; large integers lose digits. */
export function numbers({ data }: Tensor): Float64Array {
  return Float64Array.from(data as ArrayLike<number>, Number);
}

export function written(shape: readonly (number | string)[]): string {
  return `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
}
