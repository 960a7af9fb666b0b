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
  const type = TYPES[dtype];
  if (!type) throw new Error(`numbers of the type ${dtype} cannot be given here`);
  if (values.length !== size(shape)) throw new Error(`expected ${size(shape)} numbers for the shape ${written(shape)}, found ${values.length}`);
  if (dtype === "float32") return { dtype, shape, data: Float32Array.from(values) };
  const data = new type(values.length), big = data instanceof BigInt64Array || data instanceof BigUint64Array;
  for (let place = 0; place < values.length; place++) (data as { [place: number]: unknown })[place] = big ? BigInt(Math.round(values[place])) : values[place];
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

/** The array in a file of numpy, in the order of C. */
export function readNpy(buffer: ArrayBuffer): Tensor {
  const bytes = new Uint8Array(buffer), view = new DataView(buffer);
  if (bytes.length < 12 || String.fromCharCode(...bytes.subarray(1, 6)) !== "NUMPY") throw new Error("this is no .npy file");
  const start = bytes[6] >= 2 ? 12 : 10, length = bytes[6] >= 2 ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder().decode(bytes.subarray(start, start + length));
  const kind = /'descr':\s*'([<|])([a-z])(\d)'/.exec(header), shape = /'shape':\s*\(([^)]*)\)/.exec(header);
  const name = kind && { f: "float", i: "int", u: "uint", b: "bool" }[kind[2] as string];
  if (!kind || !name || !shape || /'fortran_order':\s*True/.test(header)) throw new Error(`this .npy file has ${header.trim()}, and plain numbers in rows are needed`);
  const dtype = name === "bool" ? "bool" : `${name}${8 * Number(kind[3])}`;
  return fromBytes(buffer.slice(start + length), dtype, (shape[1] as string).split(",").filter((each) => each.trim()).map(Number));
}

/** A .npy file of an array. */
export function writeNpy({ dtype, shape, data }: Tensor): Blob {
  const kind = dtype === "bool" ? "|b1" : `${data.BYTES_PER_ELEMENT === 1 ? "|" : "<"}${dtype[0]}${data.BYTES_PER_ELEMENT}`;
  const text = `{'descr': '${kind}', 'fortran_order': False, 'shape': ${written(shape)}, }`;
  const header = text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11) + "\n", start = new Uint8Array([0x93, 78, 85, 77, 80, 89, 1, 0, header.length & 255, header.length >> 8]);
  return new Blob([start, header, data as Float32Array<ArrayBuffer>]);
}
