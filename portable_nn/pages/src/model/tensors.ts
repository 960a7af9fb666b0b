// Arrays of numbers by the names that ONNX and numpy have for their types.

import { decoded } from "../shared/dom";
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

const TYPES: Record<string, ArrayType> = {
  float32: Float32Array, float64: Float64Array, int8: Int8Array, uint8: Uint8Array, bool: Uint8Array, int16: Int16Array,
  uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array, int64: BigInt64Array, uint64: BigUint64Array,
};

export function size(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** Numbers as an array of a type. Raises an error where they do not fit into the shape. */
export function tensor(values: ArrayLike<number>, shape: readonly number[], dtype = "float32"): Tensor {
  if (dtype === "float32" && values.length === size(shape)) return { dtype, shape, data: Float32Array.from(values) };
  const isBig = dtype.endsWith("int64");
  return filled(Array.from(values, (value) => (isBig ? BigInt(Math.round(value)) : value)), shape, dtype);
}

/** Numbers that this type holds as an array of it. */
export function filled(values: readonly (number | bigint)[], shape: readonly number[], dtype: string): Tensor {
  const type = TYPES[dtype];
  if (!type) throw new Error(`numbers of the type ${dtype} cannot be given here`);
  if (values.length !== size(shape)) throw new Error(`expected ${size(shape)} numbers for the shape ${written(shape)}, found ${values.length}`);
  const data = new type(values.length), isBig = data instanceof BigInt64Array || data instanceof BigUint64Array;
  values.forEach((value, place) => { (data as { [place: number]: unknown })[place] = isBig ? BigInt(value) : Number(value); });
  return { dtype, shape, data };
}

export function unpacked({ dtype, shape, data }: Packed): Tensor {
  return fromBytes(decoded(data).buffer, dtype, shape);
}

export function fromBytes(buffer: ArrayBuffer, dtype: string, shape: readonly number[]): Tensor {
  const type = TYPES[dtype];
  if (!type) throw new Error(`arrays of the type ${dtype} cannot be read here`);
  return { dtype, shape, data: new type(buffer) };
}

/** The numbers as JavaScript has them; large integers lose digits. */
export function numbers({ data }: Tensor): Float64Array {
  return Float64Array.from(data as ArrayLike<number>, Number);
}

export function written(shape: readonly (number | string)[]): string {
  return `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
}
