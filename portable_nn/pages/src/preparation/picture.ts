// Pictures as 32-bit numbers, 0 (black) to 255 (white): portable_nn/preprocessing/pixels.py in JavaScript.
//
// Numpy rounds after each operation on float32; so does `f` here, wherever a decision may depend on it.

import { resize } from "./resize";

/** `data` row by row, and for each pixel one number, or three: red, green and blue. */
export interface Picture {
  readonly data: Float32Array;
  readonly height: number;
  readonly width: number;
  readonly channels: 1 | 3;
  /** Whether the levels are whole numbers and stay so, as Pillow's pictures of 8 bits. */
  readonly whole: boolean;
}

/** What a canvas or a decoded file has: red, green, blue and opacity, from 0 to 255. */
export interface Rgba {
  readonly data: Uint8ClampedArray | Uint8Array | Float32Array;
  readonly height: number;
  readonly width: number;
  /** Whether the file has one number for the three colours. */
  readonly grey?: boolean;
}

export type Ink = "light" | "dark";

export const WHITE = 255;
export const f = Math.fround;

const LUMA = [f(0.299), f(0.587), f(0.114)] as const;

/** Why a picture cannot be prepared; the message is for people. */
export class Unusable extends Error {}

const MOST = 64e6; // Pixels: as numbers of 32 bits they take a gigabyte.

/** A size, unless it is none or more than a browser has memory for. */
export function sized(width: number, height: number): { width: number; height: number } {
  if (width * height === 0) throw new Unusable("the picture has no pixels");
  if (width * height > MOST) throw new Unusable(`expected at most ${MOST / 1e6} megapixels, found ${width} × ${height}: make it smaller`);
  return { width, height };
}

export function picture(data: Float32Array, height: number, width: number, channels: 1 | 3 = 1, whole = false): Picture {
  return { data, height, width, channels, whole };
}

/** A picture of one channel whose pixels are computed one by one. */
export function mapped(source: Picture, pixel: (value: number, place: number) => number): Picture {
  const data = new Float32Array(source.data.length);
  for (let place = 0; place < data.length; place++) data[place] = pixel(source.data[place], place);
  return { ...source, data };
}

/** On white, where transparent: red, green and blue. */
export function colour(source: Rgba): Picture {
  const pixels = source.height * source.width, data = new Float32Array(3 * pixels);
  for (let place = 0; place < pixels; place++) {
    const opacity = f(source.data[4 * place + 3] / WHITE);
    for (let channel = 0; channel < 3; channel++) {
      const level = source.data[4 * place + channel];
      data[3 * place + channel] = opacity === 1 ? level : WHITE + f((level - WHITE) * opacity);
    }
  }
  return picture(data, source.height, source.width, 3);
}

/** On white, where transparent: brightness. */
export function greyscale(source: Rgba): Picture {
  const all = colour(source);
  if (!source.grey) return luminance(all);
  return picture(Float32Array.from({ length: all.height * all.width }, (_, place) => all.data[3 * place]), all.height, all.width);
}

export function luminance(source: Picture): Picture {
  if (source.channels === 1) return source;
  const data = new Float32Array(source.height * source.width);
  for (let place = 0; place < data.length; place++) {
    const [red, green, blue] = [source.data[3 * place], source.data[3 * place + 1], source.data[3 * place + 2]];
    data[place] = f(f(red * LUMA[0]) + f(green * LUMA[1])) + f(blue * LUMA[2]);
  }
  return picture(data, source.height, source.width);
}

/** A part of a picture. */
export function cut(source: Picture, top: number, left: number, height: number, width: number): Picture {
  const row = width * source.channels, data = new Float32Array(height * row);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * source.width + left) * source.channels;
    data.set(source.data.subarray(start, start + row), y * row);
  }
  return { ...source, data, height, width };
}

/** On `height` × `width` levels `fill`, its upper left corner at `top` and `left`. */
export function framed(source: Picture, top: number, left: number, height: number, width: number, fill: number): Picture {
  const row = source.width * source.channels, data = new Float32Array(height * width * source.channels).fill(fill);
  for (let y = 0; y < source.height; y++) {
    data.set(source.data.subarray(y * row, (y + 1) * row), ((top + y) * width + left) * source.channels);
  }
  return { ...source, data, height, width };
}

export function transposed(source: Picture): Picture {
  const data = new Float32Array(source.data.length);
  for (let y = 0; y < source.height; y++) {
    for (let x = 0; x < source.width; x++) data[x * source.height + y] = source.data[y * source.width + x];
  }
  return { ...source, data, height: source.width, width: source.height };
}

/** Shrink by averaging to at most `longest` pixels a side. */
export function shrink(source: Picture, longest: number): Picture {
  const ratio = longest / Math.max(source.height, source.width);
  if (ratio >= 1) return source;
  const [height, width] = [source.height, source.width].map((side) => Math.max(1, roundEven(side * ratio)));
  return resize(source, height, width, "box");
}

/** The pixels of a frame, a twentieth of the shorter side wide: presumably paper. */
export function border(source: Picture): Float32Array {
  const { height, width } = source, thickness = Math.max(1, Math.floor(Math.min(height, width) / 20));
  const found: number[] = [];
  for (let y = 0; y < height; y++) {
    const inRows = y >= thickness && y < height - thickness;
    for (let x = 0; x < width; x++) {
      if (!(inRows && x >= thickness && x < width - thickness)) found.push(source.data[y * width + x]);
    }
  }
  return Float32Array.from(found);
}

/** Whether the drawing is lighter or darker than its paper, judged by the border. */
export function guessInk(source: Picture): Ink {
  const grey = shrink(luminance(source), 128);
  const [low, high] = extremes(grey.data);
  const middle = f(low + high) / 2;
  return median(border(grey)) > middle ? "dark" : "light";
}

export function extremes(data: Float32Array): [number, number] {
  let low = Infinity, high = -Infinity;
  for (const value of data) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

export function median(data: Float32Array): number {
  const sorted = data.slice().sort(), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : f(f(sorted[middle - 1] + sorted[middle]) / 2);
}

/** The value below which the share `q` lies, interpolated as numpy's `quantile` does. */
export function quantile(data: Float32Array, q: number): number {
  const sorted = data.slice().sort(), place = (sorted.length - 1) * q, below = Math.floor(place), share = place - below;
  const low = sorted[below], high = sorted[Math.min(below + 1, sorted.length - 1)], gap = f(high - low);
  return share >= 0.5 ? high - gap * (1 - share) : low + gap * share;
}

/** To the nearest whole number, halves to the even one. */
export function roundEven(value: number): number {
  const below = Math.floor(value), rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below;
}

export function clip(value: number, low = 0, high = WHITE): number {
  return value < low ? low : value > high ? high : value;
}
