// Numbers of 16 bits (IEEE 754, binary16), which not all browsers of today have: as numbers of 32 bits, which hold all of them.

import { roundEven } from "../preparation/picture";

/** The bits of the nearest number of 16 bits, of two as near the even one. */
function bitsOf(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0, size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | roundEven(size * 2 ** 24);
  let exponent = Math.floor(Math.log2(size));
  if (2 ** exponent > size) exponent--;
  return sign | (((exponent + 15) << 10) + roundEven((size / 2 ** exponent - 1) * 1024));
}

function valueOf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

export function half(value: number): number {
  return valueOf(bitsOf(value));
}

export function toHalves(values: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  return Uint16Array.from(values, bitsOf);
}

export function fromHalves(bits: ArrayLike<number>): Float32Array<ArrayBuffer> {
  return Float32Array.from(bits, valueOf);
}
