// A digit found in a picture and laid out as in MNIST: portable_nn/preprocessing/digits.py in JavaScript.

import { highest, lowest, mask, maskOf, type Mask } from "./morphology";
import { border, clip, cut, extremes, f, mapped, median, picture, roundEven, shrink, Unusable, WHITE, type Picture } from "./picture";
import { resample, resize } from "./resize";

const LONGEST = 512;
const MIN_CONTRAST = 25;
export const SIGMA_PER_MAD = 1.4826;

/** Light ink on dark paper → the drawing, scaled to fit `box` and centred by mass in `size`. */
export function fitDigit(source: Picture, size: number, box: number): Picture {
  return layOut(crop(extractInk(shrink(source, LONGEST))), size, box);
}

/** The median of a frame, and of the distances from it, in standard deviations. */
export function paperOf(values: Float32Array): { usual: number; noise: number } {
  const usual = median(values);
  return { usual, noise: f(f(SIGMA_PER_MAD) * median(values.map((value) => Math.abs(f(value - usual))))) };
}

/** Values above `usual` and its noise, from 0 to 255. */
export function aboveNoise(values: Picture, usual: number, noise: number, highestValue: number): Picture {
  const floor = f(usual + f(3 * noise)), factor = f(WHITE / f(highestValue - floor));
  return mapped(values, (value) => clip(f(f(value - floor) * factor)));
}

function extractInk(source: Picture): Picture {
  const paper = shading(source);
  const flat = mapped(source, (value, place) => {
    const dark = paper.data[place];
    return f(f(value - dark) / Math.max(f(1 - f(dark / WHITE)), 0.25));
  });
  const { usual, noise } = paperOf(border(flat)), strongest = extremes(flat.data)[1];
  const contrast = f(strongest - usual), needed = Math.max(MIN_CONTRAST, f(6 * noise));
  if (contrast < needed) {
    throw nothingFound(contrast / WHITE, needed > MIN_CONTRAST);
  }
  return aboveNoise(flat, usual, noise, strongest);
}

/** The error for a picture in which nothing stands out: its contrast is from 0 to 1, or noise hides everything. */
export function nothingFound(contrast: number, isNoisy: boolean): Unusable {
  return new Unusable(`no drawing found: ${isNoisy ? "the background is too uneven for strokes to stand out from it" : `nothing as thin as a stroke stands out (contrast ${(100 * contrast).toFixed(0)}%)`}`);
}

/** The brightness of the paper: an opening by a square that is wider than any stroke. */
function shading(source: Picture): Picture {
  const coarse = shrink(source, 32), reach = Math.floor(Math.max(coarse.height, coarse.width) / 6);
  // Beyond the edges the edge goes on: the least and the largest value there are those of the pixels inside.
  const opened = highest(lowest(coarse, reach), reach);
  const margins = [coarse.height, coarse.width].map((side) => (side > 4 * reach ? reach : 0)) as [number, number];
  const inner = cut(opened, margins[0], margins[1], opened.height - 2 * margins[0], opened.width - 2 * margins[1]);
  return resize(extended(inner, margins), source.height, source.width);
}

/** The picture continued beyond its edges by its odd reflection: a slope goes on. */
function extended(source: Picture, [rows, columns]: [number, number]): Picture {
  const height = source.height + 2 * rows, width = source.width + 2 * columns;
  const found = picture(new Float32Array(height * width), height, width);
  const inner = (y: number, x: number) => source.data[y * source.width + x];
  for (let y = 0; y < source.height; y++) {
    for (let x = 0; x < source.width; x++) found.data[(y + rows) * width + x + columns] = inner(y, x);
  }
  const at = (y: number, x: number) => found.data[y * width + x];
  for (let x = columns; x < width - columns; x++) {
    for (let k = 1; k <= rows; k++) {
      found.data[(rows - k) * width + x] = 2 * at(rows, x) - at(rows + k, x);
      found.data[(height - 1 - rows + k) * width + x] = 2 * at(height - 1 - rows, x) - at(height - 1 - rows - k, x);
    }
  }
  for (let y = 0; y < height; y++) {
    for (let k = 1; k <= columns; k++) {
      found.data[y * width + columns - k] = 2 * at(y, columns) - at(y, columns + k);
      found.data[y * width + width - 1 - columns + k] = 2 * at(y, width - 1 - columns) - at(y, width - 1 - columns - k);
    }
  }
  return found;
}

/** All pixels above a quarter of the strongest ink, and the faint edge around them. */
function crop(ink: Picture): Picture {
  const strong = mask(ink, (value) => value > WHITE / 4), { height, width } = ink;
  const strokes = maskOf(strong, (place) => {
    if (!strong.data[place]) return false;
    const y = Math.floor(place / width), x = place % width;
    let count = 0;
    for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
      for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) count += strong.data[v * width + u];
    }
    return count >= 3;
  });
  const found = extent(strokes);
  if (!found) throw new Unusable("no drawing found: there are only specks, no strokes");
  const [left, top, right, bottom] = found;
  const [above, before] = [Math.max(0, top - 1), Math.max(0, left - 1)];
  return trimmed(cut(ink, above, before, Math.min(height, bottom + 1) - above, Math.min(width, right + 1) - before));
}

/** Without the rows and columns at the edges that have no ink. */
export function trimmed(ink: Picture): Picture {
  const [left, top, right, bottom] = extent(mask(ink, (value) => value > 0)) as [number, number, number, number];
  return cut(ink, top, left, bottom - top, right - left);
}

function extent({ data, height, width }: Mask): [number, number, number, number] | undefined {
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let y = 0, place = 0; y < height; y++) {
    for (let x = 0; x < width; x++, place++) {
      if (!data[place]) continue;
      [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
      [top, bottom] = [Math.min(top, y), y + 1];
    }
  }
  return right ? [left, top, right, bottom] : undefined;
}

/** The drawing on a black square, its longer side scaled to `box`, unless it has about that size. */
export function layOut(drawing: Picture, size: number, box: number): Picture {
  const longest = Math.max(drawing.height, drawing.width);
  const fits = Math.abs(longest - box) <= box / 10 && longest <= size, side = fits ? size : (size * longest) / box;
  let starts = [start(rowSums(drawing), side, size), start(columnSums(drawing), side, size)] as [number, number];
  if (fits) starts = starts.map(roundEven) as [number, number];
  const [top, left] = starts.map((each) => -Math.floor(each)) as [number, number], edge = Math.ceil(side) + 1;
  const canvas = picture(new Float32Array(edge * edge), edge, edge);
  for (let y = 0; y < drawing.height; y++) {
    canvas.data.set(drawing.data.subarray(y * drawing.width, (y + 1) * drawing.width), (top + y) * edge + left);
  }
  if (fits) return cut(canvas, 0, 0, size, size);
  const [y, x] = [starts[0] + top, starts[1] + left];
  const scaled = resample(canvas, size, size, "lanczos", [x, y, x + side, y + side]);
  const factor = f(WHITE / extremes(scaled.data)[1]);
  return mapped(scaled, (value) => clip(f(value * factor)));
}

/** The start of the square that has the centre of mass in the right place, moved to contain the whole drawing. */
function start(mass: Float32Array, side: number, size: number): number {
  let sum = 0, moment = 0;
  mass.forEach((each, place) => { sum += each; moment += each * place; });
  const wanted = moment / sum + 0.5 - ((size / 2 + 0.5) * side) / size;
  return Math.min(0, Math.max(mass.length - side, wanted));
}

function columnSums({ data, height, width }: Picture): Float32Array {
  const sums = data.slice(0, width);
  for (let y = 1; y < height; y++) for (let x = 0; x < width; x++) sums[x] += data[y * width + x];
  return sums;
}

function rowSums({ data, height, width }: Picture): Float32Array {
  return Float32Array.from({ length: height }, (_, y) => pairwise(data.subarray(y * width, (y + 1) * width)));
}

/** The sum as numpy adds up what lies side by side: eight sums at once, and halves of what is longer than 128. */
function pairwise(values: Float32Array): number {
  const count = values.length;
  if (count > 128) {
    const half = (count >> 1) - ((count >> 1) % 8);
    return f(pairwise(values.subarray(0, half)) + pairwise(values.subarray(half)));
  }
  let place = 0, sum = 0;
  if (count >= 8) {
    const [a, b, c, d, e, g, h, i] = sums(values) as unknown as [number, number, number, number, number, number, number, number];
    sum = f(f(f(a + b) + f(c + d)) + f(f(e + g) + f(h + i)));
    place = count - (count % 8);
  }
  for (; place < count; place++) sum = f(sum + values[place]);
  return sum;
}

function sums(values: Float32Array): Float32Array {
  const found = values.slice(0, 8);
  for (let place = 8; place + 8 <= values.length; place += 8) {
    for (let k = 0; k < 8; k++) found[k] += values[place + k];
  }
  return found;
}

