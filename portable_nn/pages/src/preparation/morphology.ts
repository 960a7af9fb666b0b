// Morphology: portable_nn/preprocessing/morphology.py in JavaScript. Beyond the edges of a picture there is nothing.

import { picture, roundEven, type Picture } from "./picture";

/** 1 where something is, row by row. */
export interface Mask {
  readonly data: Uint8Array;
  readonly height: number;
  readonly width: number;
}

export type Box = [left: number, top: number, right: number, bottom: number];

/** The connected parts of a mask, in the order of their first pixels; `labels` is -1 where there is none. */
export interface Components {
  readonly labels: Int32Array;
  readonly boxes: Box[];
  readonly areas: number[];
}

export function mask(source: Picture, is: (value: number, place: number) => boolean): Mask {
  const data = new Uint8Array(source.data.length);
  for (let place = 0; place < data.length; place++) data[place] = is(source.data[place], place) ? 1 : 0;
  return { data, height: source.height, width: source.width };
}

export function maskOf(like: Mask, is: (place: number) => boolean): Mask {
  const data = new Uint8Array(like.data.length);
  for (let place = 0; place < data.length; place++) data[place] = is(place) ? 1 : 0;
  return { ...like, data };
}

export function asPicture({ data, height, width }: Mask): Picture {
  return picture(Float32Array.from(data), height, width);
}

/** The largest value within `reach` pixels in each direction. */
export function highest(source: Picture, reach: number): Picture {
  return windows(source, reach, reach);
}

/** The smallest value within `reach` pixels in each direction. */
export function lowest(source: Picture, reach: number): Picture {
  return negative(highest(negative(source), reach));
}

/** The closing by a square of side 2·reach + 1: what is dark and does not hold it is filled from around. */
export function closed(source: Picture, reach: number): Picture {
  return negative(windows(negative(windows(source, reach, 2 * reach)), reach, 0));
}

function negative(source: Picture): Picture {
  return { ...source, data: source.data.map((value) => -value) };
}

/** The largest value in the squares of side 2·reach + 1; beyond each edge, `margin` pixels of -∞ are added. */
function windows(source: Picture, reach: number, margin: number): Picture {
  const size = 2 * reach + 1, width = source.width + 2 * margin - 2 * reach, height = source.height + 2 * margin - 2 * reach;
  const across = new Float32Array(source.height * width), found = new Float32Array(height * width);
  for (let y = 0; y < source.height; y++) {
    const row = source.data.subarray(y * source.width, (y + 1) * source.width);
    largest(row, 1, across, y * width, 1, width, size, margin);
  }
  for (let x = 0; x < width; x++) {
    largest(across.subarray(x), width, found, x, width, height, size, margin, source.height);
  }
  return picture(found, height, width);
}

/** The largest of `size` values from each on, of a line with `margin` values of -∞ around it. */
function largest(
  line: Float32Array, step: number, found: Float32Array, at: number, stride: number, count: number, size: number,
  margin: number, length = line.length,
): void {
  const queue = new Int32Array(length); // Places whose values fall; the first is the largest of the window.
  let head = 0, tail = 0, next = 0;
  for (let place = 0; place < count; place++) {
    const start = place - margin, stop = Math.min(length, start + size);
    for (; next < stop; next++) {
      const value = line[next * step];
      while (tail > head && line[queue[tail - 1] * step] <= value) tail--;
      queue[tail++] = next;
    }
    while (head < tail && queue[head] < start) head++;
    found[at + place * stride] = head < tail ? line[queue[head] * step] : -Infinity;
  }
}

/** The parts whose pixels touch, at an edge or at a corner. */
export function components({ data, height, width }: Mask): Components {
  const roots = new Int32Array(data.length).fill(-1);
  const rootOf = (place: number): number => {
    while (roots[place] !== place) place = roots[place] = roots[roots[place]];
    return place;
  };
  for (let y = 0, place = 0; y < height; y++) {
    for (let x = 0; x < width; x++, place++) {
      if (!data[place]) continue;
      roots[place] = place;
      for (const [dy, dx] of NEIGHBOURS) {
        const other = place + dy * width + dx;
        if (y + dy < 0 || x + dx < 0 || x + dx >= width || !data[other]) continue;
        const [a, b] = [rootOf(other), rootOf(place)];
        roots[Math.max(a, b)] = Math.min(a, b);
      }
    }
  }
  const labels = new Int32Array(data.length).fill(-1), boxes: Box[] = [], areas: number[] = [];
  for (let y = 0, place = 0; y < height; y++) {
    for (let x = 0; x < width; x++, place++) {
      if (!data[place]) continue;
      const root = rootOf(place); // The first pixel of its part.
      if (root === place) {
        labels[place] = boxes.length;
        boxes.push([x, y, x + 1, y + 1]);
        areas.push(0);
      }
      const label = (labels[place] = labels[root]), box = boxes[label];
      areas[label]++;
      box[0] = Math.min(box[0], x);
      box[2] = Math.max(box[2], x + 1);
      box[3] = y + 1;
    }
  }
  return { labels, boxes, areas };
}

const NEIGHBOURS = [[-1, -1], [-1, 0], [-1, 1], [0, -1]] as const;

/** For each pixel, how many are there in a row with it, upwards and downwards; 0 elsewhere. */
export function runLengths({ data, height, width }: Mask): Int32Array {
  const found = new Int32Array(data.length);
  for (let x = 0; x < width; x++) {
    for (let start = 0; start < height; ) {
      let stop = start;
      while (stop < height && data[stop * width + x]) stop++;
      for (let y = start; y < stop; y++) found[y * width + x] = stop - start;
      start = stop + 1;
    }
  }
  return found;
}

/** The pixels on a straight run of `length` columns within the mask, at slopes of `step` times -slopes to slopes. */
export function along(source: Mask, length: number, slopes: number, step: number): Mask {
  const { data, height, width } = source, found = new Uint8Array(data.length);
  if (length > width) return { ...source, data: found };
  for (let slope = -slopes; slope <= slopes; slope++) {
    const shifts = Array.from({ length: width }, (_, x) => roundEven(slope * step * x));
    const reach = Math.max(...shifts.map(Math.abs));
    for (let line = -reach; line < height + reach; line++) {
      for (let start = 0; start < width; ) {
        let stop = start;
        for (let y = line + shifts[stop]; stop < width && y >= 0 && y < height && data[y * width + stop]; y = line + shifts[stop]) stop++;
        if (stop - start >= length) for (let x = start; x < stop; x++) found[(line + shifts[x]) * width + x] = 1;
        start = stop + 1;
      }
    }
  }
  return { ...source, data: found };
}
