// Files of numpy: arrays of real numbers, in whatever order of axes and bytes numpy wrote them.

import { toHalves } from "./halves";
import { fromBytes, size, written, type Numbers, type Tensor } from "./tensors";

/** The types of real numbers by numpy's names for them, without the order of their bytes. */
const TYPES: Record<string, string> = {
  f2: "float16", f4: "float32", f8: "float64", i1: "int8", i2: "int16", i4: "int32", i8: "int64",
  u1: "uint8", u2: "uint16", u4: "uint32", u8: "uint64", b1: "bool",
};

/** The array in a file of numpy, in the order of C; float16 becomes float32, which holds all of its numbers. */
export function readNpy(buffer: ArrayBuffer): Tensor {
  const bytes = new Uint8Array(buffer), view = new DataView(buffer);
  if (bytes.length < 12 || bytes[0] !== 0x93 || String.fromCharCode(...bytes.subarray(1, 6)) !== "NUMPY") throw new Error("expected an array of numpy (.npy), found another kind of file");
  const start = (bytes[6] as number) >= 2 ? 12 : 10, length = (bytes[6] as number) >= 2 ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder().decode(bytes.subarray(start, start + length));
  const [, order, kind = ""] = /'descr':\s*'([<>|=]?)(\w+)'/.exec(header) ?? [], dims = /'shape':\s*\(([^)]*)\)/.exec(header);
  const dtype = Object.hasOwn(TYPES, kind) ? TYPES[kind] : undefined, width = Number(kind.slice(1));
  if (!dims || !dtype) throw new Error(`expected an array of real numbers, found one of ${/'descr':\s*(.*?),\s*'fortran/.exec(header)?.[1] ?? header.trim()}`);
  const shape = (dims[1] as string).split(",").filter((each) => each.trim()).map(Number), count = size(shape), end = start + length + count * width;
  if (bytes.length < end) throw new Error(`expected ${count * width} bytes of numbers for the shape ${written(shape)}, found ${bytes.length - start - length}`);
  const content = new Uint8Array(buffer.slice(start + length, end));
  if (order === ">") for (let place = 0; place < content.length; place += width) content.subarray(place, place + width).reverse();
  const read = fromBytes(content.buffer, dtype, shape), found = dtype === "float16" ? { ...read, dtype: "float32" } : read;
  return /'fortran_order':\s*True/.test(header) ? rowsFirst(found) : found;
}

/** The numbers of an array whose first axis runs fastest in memory (Fortran), with the last one running fastest (C). */
function rowsFirst({ dtype, shape, data }: Tensor): Tensor {
  const found = data.slice() as Numbers, places = shape.map(() => 0), steps = shape.map((_, axis) => size(shape.slice(0, axis)));
  for (let place = 0; place < data.length; place++) {
    found[place] = data[places.reduce((sum, each, axis) => sum + each * (steps[axis] as number), 0)] as never;
    for (let axis = shape.length - 1; axis >= 0 && ++(places[axis] as number) === shape[axis]; axis--) places[axis] = 0;
  }
  return { dtype, shape, data: found };
}

/** A .npy file of an array. */
export function writeNpy({ dtype, shape, data }: Tensor): Blob {
  const stored = dtype === "float16" ? toHalves(data as Float32Array) : data, bytes = stored.BYTES_PER_ELEMENT;
  const kind = dtype === "bool" ? "|b1" : `${bytes === 1 ? "|" : "<"}${dtype[0]}${bytes}`;
  const text = `{'descr': '${kind}', 'fortran_order': False, 'shape': ${written(shape)}, }`;
  const header = text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11) + "\n", start = new Uint8Array([0x93, 78, 85, 77, 80, 89, 1, 0, header.length & 255, header.length >> 8]);
  return new Blob([start, header, stored as Float32Array<ArrayBuffer>]);
}
