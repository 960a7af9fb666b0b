// What Python's `describing.as_data` says of a model.

import type { Step } from "../preparation/steps";

export interface Value {
  name: string;
  dtype: string;
  shape: (number | string)[];
}

export interface Packed {
  dtype: string;
  shape: number[];
  data: string;
}

export interface Column {
  name: string;
  unit?: string;
  categories?: string[];
  unknown?: "refuse" | "other";
  missing?: "refuse" | "mean" | "median" | "indicator";
  statistics?: { minimum: number; maximum: number; mean: number; std: number };
}

/** The output that answers are read from, and its input. */
export interface Answer {
  input: string;
  dtype: string;
  example: number[];
  batch: number | null;
  output: string;
  kind: "logits" | "binary_logits" | "probabilities" | "values" | "gaussian";
  labels: string[];
  units: string[];
  target: string;
  temperature: number;
  threshold: number;
  context: number;
  /** Whether the model says what the numbers are: it has labels, units or a target. */
  meant: boolean;
}

export interface Layer {
  value: string;
  operator: string;
  /** The axis along which examples lie; null where that is unknown. */
  batch: number | null;
}

export interface Subject {
  title: string;
  version: string;
  runtime: string;
  /** That of the runtime, in paragraphs. */
  licence: string;
  facts: [string, string][];
  kind: "picture" | "table" | "generator" | "series" | "numbers";
  inputs: Value[];
  outputs: Value[];
  steps: Step[];
  /** The steps in words. */
  prepared: string[];
  /** How Pillow scales tall pictures where Python ran: see `preparation/resize`. */
  columnsFirst: boolean;
  /** What is assumed of numbers that the model does not describe. */
  assumed: string[];
  samples: { name: string; url?: string; rows?: Packed }[];
  chosen?: number;
  answer?: Answer;
  columns?: Column[];
  check: { feeds: Record<string, Packed>; outputs: Record<string, Packed> } | null;
  layers: Layer[];
}
