// Pillow's `resize`: convolution with a filter that is widened to shrink, along rows and along columns.

import { clip, f, picture, type Picture } from "./picture";

export type Method = "nearest" | "box" | "bilinear" | "bicubic" | "lanczos";

interface Filter {
  readonly support: number;
  readonly weight: (x: number) => number;
}

const FILTERS: Record<Exclude<Method, "nearest">, Filter> = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: (x) => cubic(Math.abs(x)) },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** What the Pillow of `predict` does: from version 13 on, columns come first where the height loses far more pixels. */
export const pillow = { columnsFirst: false };

const BITS = 22; // Of the fraction of the weights for whole levels.

function cubic(x: number, a = -0.5): number {
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** Scale to `height` × `width`; whole levels stay whole, and others are cut off at 0 and 255. */
export function resize(source: Picture, height: number, width: number, method: Method = "bilinear"): Picture {
  if (source.height === height && source.width === width) return source;
  if (method === "nearest") return nearest(source, height, width);
  const scaled = resample(source, height, width, method, [0, 0, source.width, source.height]);
  if (!source.whole) scaled.data.forEach((value, place) => { scaled.data[place] = clip(value); });
  return scaled;
}

/** The part of a picture within `box` (left, top, right, bottom; may be fractions) at another size. */
export function resample(
  source: Picture, height: number, width: number, method: Exclude<Method, "nearest">, box: readonly number[],
): Picture {
  const [left, top, right, bottom] = box.map(f) as [number, number, number, number]; // Floats in C.
  const rows = (given: Picture) => width === source.width && left === 0 && right === width
    ? given : along(given, weights(source.width, left, right, width, FILTERS[method]), true);
  const columns = (given: Picture) => height === source.height && top === 0 && bottom === height
    ? given : along(given, weights(source.height, top, bottom, height, FILTERS[method]), false);
  const lost = source.height - height;
  return pillow.columnsFirst && lost > Math.max(0, 2 * (source.width - width)) ? rows(columns(source)) : columns(rows(source));
}

interface Weights {
  readonly start: number;
  readonly values: number[];
}

/** For each place of the result, the first place that it is made of, and the weights of those from there on. */
function weights(size: number, from: number, to: number, count: number, filter: Filter): Weights[] {
  const scale = f(to - from) / count, widened = Math.max(scale, 1), support = filter.support * widened;
  return Array.from({ length: count }, (_, place) => {
    const centre = from + (place + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const stop = Math.min(size, Math.trunc(centre + support + 0.5));
    const values: number[] = [];
    let sum = 0;
    for (let x = start; x < stop; x++) {
      const weight = filter.weight((x - centre + 0.5) * (1 / widened));
      values.push(weight);
      sum += weight;
    }
    return { start, values: sum === 0 ? values : values.map((weight) => weight / sum) };
  });
}

function along(source: Picture, found: Weights[], isRow: boolean): Picture {
  const { channels, whole } = source;
  const height = isRow ? source.height : found.length, width = isRow ? found.length : source.width;
  const result = picture(new Float32Array(height * width * channels), height, width, channels, whole);
  const step = isRow ? channels : source.width * channels;
  const used = whole ? found.map((each) => ({ ...each, values: each.values.map(fixed) })) : found;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const { start, values } = used[isRow ? x : y];
      const first = (isRow ? y * source.width + start : start * source.width + x) * channels;
      for (let channel = 0; channel < channels; channel++) {
        let sum = whole ? 2 ** (BITS - 1) : 0;
        for (let k = 0, place = first + channel; k < values.length; k++, place += step) sum += source.data[place] * values[k];
        result.data[(y * width + x) * channels + channel] = whole ? clip(Math.floor(sum / 2 ** BITS)) : sum;
      }
    }
  }
  return result;
}

function fixed(weight: number): number {
  return Math.trunc(weight * 2 ** BITS + (weight < 0 ? -0.5 : 0.5));
}

function nearest(source: Picture, height: number, width: number): Picture {
  const rows = places(source.height, height), columns = places(source.width, width), { channels } = source;
  const result = picture(new Float32Array(height * width * channels), height, width, channels, source.whole);
  let place = 0;
  for (const y of rows) {
    for (const x of columns) {
      for (let channel = 0; channel < channels; channel++) result.data[place++] = source.data[(y * source.width + x) * channels + channel];
    }
  }
  return result;
}

/** The pixel that each of `count` is taken from; the sum is built up as Pillow does. */
function places(size: number, count: number): number[] {
  const scale = size / count;
  let at = scale * 0.5;
  return Array.from({ length: count }, () => {
    const place = Math.min(size - 1, Math.trunc(at));
    at += scale;
    return place;
  });
}
