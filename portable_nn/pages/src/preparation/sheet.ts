// Photographs of sheets: portable_nn/preprocessing/sheets.py in JavaScript.

import { aboveNoise, layOut, nothingFound, paperOf, trimmed } from "./digit";
import {
  along, asPicture, closed, components, highest, lowest, mask, maskOf, runLengths, type Box, type Components, type Mask,
} from "./morphology";
import {
  border, cut, extremes, f, framed, mapped, median, picture, quantile, shrink, transposed, Unusable, WHITE, type Ink, type Picture,
} from "./picture";

const TABLE = 0.35;
const AROUND = 0.8;
const CLEAR = 0.8;
const NEAR = 0.05;
const MOST_BORDER = 0.4;
const MOST_INK = 0.65;
const WHOLE = 0.9;
const MIN_INK = 0.1;
const DARKER = 3;
const OWN = 0.9;
const MOST = 100;

export interface Drawing {
  readonly pixels: Picture;
  readonly box: Box;
}

function reachOf({ height, width }: Picture): number {
  return Math.ceil(Math.max(height, width) / 10) + 2;
}

/** Shrunk to `longest`, with a margin where there is none; the paper goes on over a dark table around it. */
export function keepSheet(source: Picture, longest: number): Picture {
  const shrunk = withMargin(shrink(source, longest)), { light, dark, bright } = lightPart(shrunk);
  if (dark > AROUND * bright) return shrunk;
  const parts = components(light), best = parts.areas.indexOf(parts.areas.reduce((a, b) => Math.max(a, b)));
  const largest = asPicture(maskOf(light, (place) => parts.labels[place] === best)), reach = reachOf(shrunk);
  if (extremes(lowest(largest, reach).data)[1] <= 0) return shrunk;
  const around = components(mask(closed(largest, reach), (value) => value === 0));
  const atEdges = around.boxes.map((box) => touched(box, shrunk).some(Boolean));
  const isTable = (place: number) => around.labels[place] >= 0 && atEdges[around.labels[place]] === true;
  const table = maskOf(light, isTable);
  if (!(goesAround(table) || (table.data.some(Boolean) && dark <= TABLE * bright))) return shrunk;
  const outside = asPicture(maskOf(light, (place) => !table.data[place]));
  const inner = mask(lowest(outside, Math.ceil(Math.max(shrunk.height, shrunk.width) / 100)), (value) => value > 0);
  const paper = continued(closed(shrunk, reach), inner);
  return mapped(shrunk, (value, place) => (inner.data[place] ? value : paper.data[place]));
}

/** With paper around it, where one drawing fills the picture. */
function withMargin(source: Picture): Picture {
  const { light, dark, bright } = lightPart(source), { data, height, width } = source, near = NEAR * Math.max(height, width);
  const share = mean(light.data);
  if (share * (1 - share) * (bright - dark) ** 2 <= CLEAR * variance(data)) return source;
  for (const isLight of [0, 1]) {
    const ink = maskOf(light, (place) => light.data[place] === isLight), { labels, boxes, areas } = components(ink);
    const area = areas.reduce((a, b) => Math.max(a, b)), largest = areas.indexOf(area), [left, top, right, bottom] = boxes[largest];
    const covered = mean(ink.data), isOne = area >= WHOLE * covered * data.length;
    const fills = Math.max(left, top, width - right, height - bottom) <= near && covered <= MOST_INK;
    if (!fills || !isOne || mean(border(asPicture(maskOf(ink, (place) => labels[place] === largest)))) > MOST_BORDER) continue;
    const margin = Math.ceil(Math.max(height, width) / 4);
    return framed(source, margin, margin, height + 2 * margin, width + 2 * margin, isLight ? dark : bright);
  }
  return source;
}

function mean(data: Uint8Array | Float32Array): number {
  let sum = 0;
  for (const value of data) sum += value;
  return sum / data.length;
}

function variance(data: Float32Array): number {
  const middle = mean(data);
  let sum = 0;
  for (const value of data) sum += (value - middle) ** 2;
  return sum / data.length;
}

/** Whether a mask holds all pixels at the edges. */
function goesAround({ data, height, width }: Mask): boolean {
  return data.every((value, place) => {
    const row = Math.floor(place / width), column = place % width;
    return value !== 0 || (row > 0 && row < height - 1 && column > 0 && column < width - 1);
  });
}

/** Whether a box touches the left, the top, the right and the bottom edge. */
function touched([left, top, right, bottom]: Box, { height, width }: { height: number; width: number }): boolean[] {
  return [left === 0, top === 0, right === width, bottom === height];
}

/** Each row continued from its nearest inner pixels, and rows without any from the nearest that has. */
function continued(paper: Picture, inner: Mask): Picture {
  const { height, width } = paper, found = new Float32Array(paper.data.length);
  const rows = new Uint8Array(height);
  for (let y = 0; y < height; y++) {
    const row = inner.data.subarray(y * width, (y + 1) * width), places = nearestPlaces(row);
    rows[y] = row.some(Boolean) ? 1 : 0;
    for (let x = 0; x < width; x++) found[y * width + x] = paper.data[y * width + places[x]];
  }
  const from = nearestPlaces(rows), result = new Float32Array(found.length);
  for (let y = 0; y < height; y++) result.set(found.subarray(from[y] * width, (from[y] + 1) * width), y * width);
  return picture(result, height, width);
}

/** The place nearest to each that is marked; the left one of two, and 0 where there is none. */
function nearestPlaces(marked: Uint8Array): Int32Array {
  const count = marked.length, found = new Int32Array(count);
  if (!marked.some(Boolean)) return found;
  let before = -count;
  for (let place = 0; place < count; place++) found[place] = before = marked[place] ? place : before;
  let after = 3 * count;
  for (let place = count - 1; place >= 0; place--) {
    if (marked[place]) after = place;
    if (place - found[place] > after - place) found[place] = after;
  }
  return found;
}

/** What is lighter than Otsu's threshold, and the brightness of the rest and its own; 1 for both without any rest. */
function lightPart(source: Picture): { light: Mask; dark: number; bright: number } {
  const counts = new Float64Array(256);
  let total = 0;
  for (const value of source.data) {
    counts[Math.floor(value)]++;
    total += Math.floor(value);
  }
  let below = 0, sum = 0, best = 0, most = 0, dark = 1, bright = 1;
  for (let level = 0; level < 255; level++) {
    below += counts[level];
    sum += counts[level] * level;
    const above = source.data.length - below, lower = sum / below, upper = (total - sum) / above;
    const between = below * above * (upper - lower) ** 2;
    if (between > most) [most, best, dark, bright] = [between, level, lower, upper];
  }
  return { light: mask(source, (value) => Math.floor(value) > best), dark, bright };
}

/** How much of the paper's light the ink takes: 0 for paper with its noise, 255 for the strongest ink. */
export function findInk(source: Picture, ink: Ink): Picture {
  const dark = ink === "dark" ? source : mapped(source, (value) => f(WHITE - value));
  const taken = takenFrom(dark, reachOf(dark));
  const { usual, noise } = paperOf(taken.data), highestValue = extremes(taken.data)[1];
  const strongest = f(highestValue - usual), needed = Math.max(MIN_INK, f(6 * noise));
  if (strongest < needed) {
    throw nothingFound(strongest, needed > MIN_INK);
  }
  return aboveNoise(taken, usual, noise, highestValue);
}

/** The share that is missing from the light of the paper in windows of this reach. */
function takenFrom(dark: Picture, reach: number): Picture {
  const paper = closed(dark, reach);
  return mapped(dark, (value, place) => f(1 - f(value / Math.max(paper.data[place], 1))));
}

/** Several drawings without the edges of shadows and sheets among them, unless all are such. */
export function withoutEdges(drawings: Drawing[], drawn: Picture, source: Picture, ink: Ink): Drawing[] {
  if (drawings.length < 2) return drawings;
  const dark = ink === "dark" ? source : mapped(source, (value) => f(WHITE - value));
  const taken = takenFrom(dark, reachOf(dark));
  const own = drawings.filter(({ box: [left, top, right, bottom] }) => {
    const reach = Math.ceil(0.3 * Math.max(right - left, bottom - top));
    const up = Math.max(0, top - 2 * reach), back = Math.max(0, left - 2 * reach);
    const height = Math.min(dark.height, bottom + 2 * reach) - up, width = Math.min(dark.width, right + 2 * reach) - back;
    const near = takenFrom(cut(dark, up, back, height, width), reach);
    let kept = 0, all = 0;
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        if (drawn.data[y * drawn.width + x] <= WHITE / 4) continue;
        kept += near.data[(y - up) * width + x - back];
        all += taken.data[y * dark.width + x];
      }
    }
    return kept >= OWN * all;
  });
  return own.length ? own : drawings;
}

/** Whether the ink is darker or lighter than the paper: how far it goes beyond the border. */
export function guessInkOf(source: Picture): Ink {
  const coarse = shrink(source, 128), frame = border(coarse), [low, high] = extremes(coarse.data);
  return quantile(frame, 0.05) - low >= high - quantile(frame, 0.95) ? "dark" : "light";
}

/** Without thin straight lines through half of the picture: those of ruled and squared paper. */
export function removeLines(ink: Picture): Picture {
  return transposed(withoutRows(transposed(withoutRows(ink))));
}

function withoutRows(ink: Picture): Picture {
  const { height, width } = ink, longest = Math.max(height, width), thickest = Math.floor(longest / 80);
  const strong = mask(ink, (value) => value > WHITE / 8), lengths = runLengths(strong);
  const thin = maskOf(strong, (place) => strong.data[place] === 1 && lengths[place] <= thickest);
  if (!thin.data.some(Boolean)) return ink;
  const thickened = mask(highest(asPicture(strong), 1), (value) => value > 0);
  const parts = components(along(thickened, Math.ceil(longest / 12), 8, 1 / 32));
  const spanning = parts.boxes.map((box) => {
    const [left, top, right, bottom] = touched(box, ink);
    return box[2] - box[0] >= width / 2 || ((left || right) && (top || bottom));
  });
  const line = maskOf(strong, (place) => thin.data[place] === 1 && parts.labels[place] >= 0 && spanning[parts.labels[place]] === true);
  if (!line.data.some(Boolean)) return ink;
  const medians = mediansOf(ink, line, parts);
  const darkest = highest(mapped(ink, (_, place) => (line.data[place] ? f(DARKER * medians[parts.labels[place]]) : 0)), 1);
  const dark = mask(darkest, (value) => value > 0), runs = runLengths(dark);
  const wide = maskOf(dark, (place) => dark.data[place] === 1 && runs[place] <= thickest + 2 && ink.data[place] <= darkest.data[place]);
  const [above, below] = [nearest(ink, wide, 1), nearest(ink, wide, -1)];
  return mapped(ink, (value, place) => (wide.data[place] ? Math.min(above[place], below[place]) : value));
}

/** The median ink of each part, of its pixels in a line. */
function mediansOf(ink: Picture, line: Mask, parts: Components): number[] {
  const values: number[][] = parts.boxes.map(() => []);
  ink.data.forEach((value, place) => { if (line.data[place]) values[parts.labels[place]].push(value); });
  return values.map((each) => (each.length ? median(Float32Array.from(each)) : 0));
}

/** For each pixel the ink of the nearest one above it (or, for -1, below it) that is in no line, or 0. */
function nearest(ink: Picture, line: Mask, direction: 1 | -1): Float32Array {
  const { height, width } = ink, found = new Float32Array(ink.data.length);
  for (let x = 0; x < width; x++) {
    let last = 0;
    for (let k = 0; k < height; k++) {
      const place = (direction === 1 ? k : height - 1 - k) * width + x;
      if (!line.data[place]) last = ink.data[place];
      found[place] = last;
    }
  }
  return found;
}

/** The drawings in the order of reading, each laid out as MNIST is. */
export function separate(ink: Picture, size: number, box: number): Drawing[] {
  const parts = components(mask(ink, (value) => value > WHITE / 4));
  const least = Math.max(3, Math.floor(ink.data.length / 40_000));
  const big = parts.areas.flatMap((area, place) => (area >= least ? [place] : []));
  if (big.length === 0) throw new Unusable("no drawing found: there are only specks, no strokes");
  const groups = merged(parts.boxes, big), boxes = groups.map((group) => around(group.map((place) => parts.boxes[place])));
  const kept = keptOf(boxes, ink);
  const drawings = kept.map((place) => drawing(ink, parts.labels, groups[place], boxes[place], size, box));
  return readingOrder(kept.map((place) => boxes[place])).map((place) => drawings[place]);
}

/** The parts that make one drawing: those that lie over each other, and small ones close by. */
function merged(boxes: readonly Box[], places: readonly number[]): number[][] {
  let groups = [...places].sort((a, b) => side(boxes[b]) - side(boxes[a])).slice(0, 4 * MOST).map((place) => [place]);
  for (let at = 0; at < groups.length; ) {
    const box = around(groups[at].map((place) => boxes[place]));
    const near = groups.map((group, k) => k !== at && belong(box, around(group.map((place) => boxes[place]))));
    if (!near.some(Boolean)) {
      at++;
      continue;
    }
    groups[at] = [...groups[at], ...groups.filter((_, k) => near[k]).flat()];
    groups = groups.filter((_, k) => !near[k]);
    at = 0;
  }
  return groups;
}

function belong(a: Box, b: Box): boolean {
  const widths = [a[2] - a[0], b[2] - b[0]], heights = [a[3] - a[1], b[3] - b[1]], large = Math.max(...widths, ...heights);
  const gap = [Math.max(a[0], b[0]) - Math.min(a[2], b[2]), Math.max(a[1], b[1]) - Math.min(a[3], b[3])] as const;
  const over = -gap[0] >= 0.25 * Math.min(...widths) && gap[1] <= 0.25 * large;
  return over || (2 * Math.min(...heights) <= large && gap[0] <= 0.12 * large && gap[1] <= 0.12 * large);
}

function around(boxes: readonly Box[]): Box {
  return boxes.reduce((a, b) => [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])]);
}

function side([left, top, right, bottom]: Box): number {
  return Math.max(right - left, bottom - top);
}

/** The drawings that are no dirt: no rest of a line, not cut off by the edge, not much smaller than others. */
function keptOf(boxes: readonly Box[], ink: Picture): number[] {
  const longest = Math.max(ink.height, ink.width), thickest = Math.floor(longest / 80);
  const lying = boxes.map(([left, top, right, bottom]) => bottom - top <= thickest && right - left > 2 * (bottom - top));
  const allLie = lying.every(Boolean);
  const inside = boxes.map((box, k) => !touched(box, ink).some(Boolean) && (!lying[k] || allLie));
  const thin = boxes.map(([left, top, right, bottom]) => Math.min(right - left, bottom - top) <= thickest);
  const hasLarge = boxes.some((box, k) => inside[k] && side(box) >= 0.05 * longest);
  const allowed = hasLarge ? inside : inside.map((each, k) => each || !thin[k]);
  const sides = boxes.map(side), most = Math.max(-1, ...sides.filter((_, k) => allowed[k]));
  if (most < 0) throw new Unusable("no drawing found: there are only lines at the edge");
  const large = sides.flatMap((each, k) => (allowed[k] && each >= 0.3 * most ? [k] : []));
  return large.sort((a, b) => sides[b] - sides[a]).slice(0, MOST);
}

/** From left to right in each line; a drawing is in a line where its middle is within the line's first drawing. */
function readingOrder(boxes: readonly Box[]): number[] {
  let left = boxes.map((_, k) => k).sort((a, b) => boxes[a][1] - boxes[b][1] || boxes[a][0] - boxes[b][0]);
  const order: number[] = [];
  while (left.length) {
    const [first] = left as [number], [, top, , bottom] = boxes[first];
    const isIn = (k: number) => k === first || (top <= (boxes[k][1] + boxes[k][3]) / 2 && (boxes[k][1] + boxes[k][3]) / 2 < bottom);
    order.push(...left.filter(isIn).sort((a, b) => boxes[a][0] - boxes[b][0]));
    left = left.filter((k) => !isIn(k));
  }
  return order;
}

/** One drawing alone, with its faint edges, the strongest ink 255. */
function drawing(ink: Picture, labels: Int32Array, group: readonly number[], box: Box, size: number, within: number): Drawing {
  const top = Math.max(0, box[1] - 2), left = Math.max(0, box[0] - 2), members = new Set(group);
  const height = Math.min(ink.height, box[3] + 2) - top, width = Math.min(ink.width, box[2] + 2) - left;
  const part = cut(ink, top, left, height, width);
  const own = mapped(part, (_, place) => {
    const y = top + Math.floor(place / width), x = left + (place % width);
    return members.has(labels[y * ink.width + x]) ? 1 : 0;
  });
  const near = highest(own, 2), alone = trimmed(mapped(part, (value, place) => (near.data[place] > 0 ? value : 0)));
  const factor = f(WHITE / extremes(alone.data)[1]);
  return { pixels: layOut(mapped(alone, (value) => f(value * factor)), size, within), box };
}
