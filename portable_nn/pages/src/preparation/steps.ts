// The closed list of preprocessing steps: portable_nn/preprocessing/steps.py and framing.py in JavaScript.

import { fitDigit } from "./digit";
import type { Box } from "./morphology";
import {
  clip, colour, cut, f, framed, greyscale, guessInk, mapped, roundEven, shrink, Unusable, WHITE, type Ink, type Picture, type Rgba,
} from "./picture";
import { resize, type Method } from "./resize";
import { findInk, guessInkOf, keepSheet, removeLines, separate, withoutEdges, type Drawing } from "./sheet";

/** A step as it stands in a manifest; those that it leaves out have their usual values. */
export type Step =
  | { step: "greyscale" } | { step: "colour" } | { step: "levels" } | { step: "bgr" } | { step: "lines" }
  | { step: "polarity"; ink: Ink; found: Ink | "auto" }
  | { step: "ink"; found: Ink | "auto" }
  | { step: "sheet"; longest: number }
  | { step: "fit_digit"; size: number; box: number }
  | { step: "drawings"; size: number; box: number }
  | { step: "resize"; height: number; width: number; method: Method }
  | { step: "centre_crop"; height: number; width: number }
  | { step: "shorter_side"; size: number; method: Method; crop: [number, number] | null }
  | { step: "letterbox"; height: number; width: number; fill: number; method: Method }
  | { step: "scale"; factor: number; offset: number }
  | { step: "normalise"; mean: number[]; std: number[]; axis: number }
  | { step: "transpose"; axes: number[] }
  | { step: "reshape"; shape: number[] };

/** An example: numbers in the order of its shape, the picture that they were made of, and its box where it is a part. */
export interface Example {
  readonly data: Float32Array;
  readonly shape: readonly number[];
  readonly seen: Picture;
  readonly box?: Box;
}

/** One decoded picture → its examples: one, or with the step `drawings` one or more, in the order of reading. */
export function prepare(steps: readonly Step[], source: Rgba): Example[] {
  let pixels: Picture | undefined, lit: Picture | undefined, outer: Picture | undefined, ink: Ink = "dark", drawings: Drawing[] = [];
  for (const step of steps) {
    if (step.step === "greyscale") pixels = greyscale(source);
    else if (step.step === "colour") pixels = colour(source);
    else if (step.step === "drawings") {
      const drawn = pixels as Picture, found = separate(drawn, step.size, step.box);
      const isAsLarge = lit?.height === drawn.height && lit.width === drawn.width;
      drawings = lit && isAsLarge ? withoutEdges(found, drawn, lit, ink) : found;
    } else {
      const before = pixels as Picture;
      if (step.step === "ink") ink = step.found === "auto" ? guessInkOf(before) : step.found;
      pixels = applied(step, before);
      if (step.step === "sheet") {
        lit = shrink(before, step.longest);
        outer = pixels;
      }
    }
  }
  const whole = pixels as Picture;
  if (drawings.length === 0) return [finished(steps, whole)];
  const { width, height } = lit ?? whole, { width: across, height: down } = outer ?? whole;
  const x = (edge: number) => ((edge * across) / whole.width - (across - width) / 2) * (source.width / width);
  const y = (edge: number) => ((edge * down) / whole.height - (down - height) / 2) * (source.height / height);
  return drawings.map(({ pixels: seen, box: [left, top, right, bottom] }) => ({
    ...finished(steps, seen), box: [Math.floor(x(left)), Math.floor(y(top)), Math.ceil(x(right)), Math.ceil(y(bottom))],
  }));
}

/** A picture after the steps for pictures, as an example: the steps of arithmetic. */
export function finished(steps: readonly Step[], seen: Picture): Example {
  const shape = [seen.height, seen.width, ...(seen.channels === 3 ? [3] : [])];
  return { seen, ...steps.reduce(arithmetic, { data: seen.data, shape }) };
}

function applied(step: Step, source: Picture): Picture {
  switch (step.step) {
    case "polarity": {
      const found = step.found === "auto" ? guessInk(source) : step.found;
      return found === step.ink ? source : mapped(source, (value) => f(WHITE - value));
    }
    case "ink": return findInk(source, step.found === "auto" ? guessInkOf(source) : step.found);
    case "sheet": return keepSheet(source, step.longest);
    case "lines": return removeLines(source);
    case "fit_digit": return fitDigit(source, step.size, step.box);
    case "levels": return { ...mapped(source, (value) => clip(roundEven(value))), whole: true };
    case "bgr": return reversed(source);
    case "resize": return resize(source, step.height, step.width, step.method);
    case "shorter_side": return shorterSide(source, step.size, step.method, step.crop);
    case "letterbox": return letterbox(source, step);
    case "centre_crop":
      if (source.height < step.height || source.width < step.width) {
        const needed = `${step.height}x${step.width}`;
        throw new Unusable(`expected at least ${needed} pixels to crop, found ${source.height}x${source.width}`);
      }
      return cut(source, (source.height - step.height) >> 1, (source.width - step.width) >> 1, step.height, step.width);
    default: return source;
  }
}

function reversed(source: Picture): Picture {
  const data = new Float32Array(source.data.length);
  for (let place = 0; place < data.length; place++) data[place] = source.data[place + 2 - 2 * (place % 3)];
  return { ...source, data };
}

function shorterSide(source: Picture, size: number, method: Method, crop: [number, number] | null): Picture {
  const { height, width } = source, longer = Math.trunc((size * Math.max(height, width)) / Math.min(height, width));
  const scaled = height <= width ? resize(source, size, longer, method) : resize(source, longer, size, method);
  if (!crop) return scaled;
  const [top, left] = [(scaled.height - crop[0]) / 2, (scaled.width - crop[1]) / 2].map(roundEven) as [number, number];
  return cut(scaled, top, left, crop[0], crop[1]);
}

function letterbox(source: Picture, step: Extract<Step, { step: "letterbox" }>): Picture {
  const ratio = Math.min(step.height / source.height, step.width / source.width);
  const [height, width] = [source.height, source.width].map((side) => Math.max(1, roundEven(side * ratio))) as [number, number];
  const top = (step.height - height) >> 1, left = (step.width - width) >> 1, scaled = resize(source, height, width, step.method);
  return framed(scaled, top, left, step.height, step.width, step.fill);
}

interface Numbers {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** Whether a step computes with numbers, and no longer with levels of light. */
export function isArithmetic({ step }: Step): boolean {
  return ["scale", "normalise", "transpose", "reshape"].includes(step);
}

function arithmetic({ data, shape }: Numbers, step: Step): Numbers {
  switch (step.step) {
    case "scale": {
      const [factor, offset] = [f(step.factor), f(step.offset)];
      return { data: data.map((value) => f(value * factor) + offset), shape };
    }
    case "normalise": {
      const inner = shape.slice(step.axis + 1).reduce((a, b) => a * b, 1), count = step.mean.length;
      const [mean, std] = [step.mean.map(f), step.std.map(f)];
      const channel = (place: number) => Math.floor(place / inner) % count;
      return { data: data.map((value, place) => f(value - mean[channel(place)]) / std[channel(place)]), shape };
    }
    case "transpose": return reordered(data, shape, step.axes);
    case "reshape": return { data, shape: step.shape };
    default: return { data, shape };
  }
}

function reordered(data: Float32Array, shape: readonly number[], axes: readonly number[]): Numbers {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  const sizes = axes.map((axis) => shape[axis]), steps = axes.map((axis) => strides[axis]);
  const found = new Float32Array(data.length), places = sizes.map(() => 0);
  for (let place = 0; place < found.length; place++) {
    found[place] = data[places.reduce((sum, each, axis) => sum + each * steps[axis], 0)];
    for (let axis = sizes.length - 1; axis >= 0 && ++places[axis] === sizes[axis]; axis--) places[axis] = 0;
  }
  return { data: found, shape: sizes };
}
