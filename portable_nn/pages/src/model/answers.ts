// What outputs mean: portable_nn/evaluation/probabilities.py in JavaScript.

import { percent } from "../shared/text";
import type { Answer } from "./types";

const LEAST = 2 ** -52;

/** As `predict` says of an answer that means nothing. */
export const NO_ANSWER = "the model gives NaN or infinity";

export function isUsable(row: ArrayLike<number>): boolean {
  return Array.prototype.every.call(row, Number.isFinite);
}

/** One row of outputs as probabilities of the classes. */
export function probabilities(row: readonly number[], kind: Answer["kind"], temperature = 1): number[] {
  let [values, meaning] = [row, kind];
  if (temperature !== 1 && kind === "probabilities") {
    const clipped = row.map((value) => Math.min(1 - LEAST, Math.max(LEAST, value)));
    meaning = row.length === 1 ? "binary_logits" : "logits";
    values = clipped.map((value) => (row.length === 1 ? Math.log(value) - Math.log1p(-value) : Math.log(value)) / temperature);
  } else if (temperature !== 1) values = row.map((value) => value / temperature);
  if (meaning === "logits") {
    const most = Math.max(...values), powers = values.map((value) => Math.exp(value - most)), sum = powers.reduce((a, b) => a + b, 0);
    values = powers.map((power) => power / sum);
  } else if (meaning === "binary_logits") values = values.map((value) => (1 + Math.tanh(value / 2)) / 2);
  return values.length === 1 ? [1 - (values[0] as number), values[0] as number] : [...values];
}

/** The names of the classes of an answer with so many probabilities. */
export function classNames({ labels }: Answer, count: number): string[] {
  if (labels.length === count) return labels;
  return labels.length === 1 && count === 2 ? [`not ${labels[0]}`, labels[0] as string] : Array.from({ length: count }, (_, place) => String(place));
}

/** Whether answers are numbers, and no classes. */
export function isOfNumbers({ kind }: Answer): boolean {
  return kind === "values" || kind === "gaussian";
}

export interface Decision {
  /** The place of the most likely class, the first among equals. */
  readonly best: number;
  /** Whether it is less likely than the model's threshold asks. */
  readonly unsure: boolean;
  readonly shares: number[];
}

export function decided(row: readonly number[], { kind, temperature, threshold }: Answer): Decision {
  const shares = probabilities(row, kind, temperature), best = shares.indexOf(Math.max(...shares));
  return { best, unsure: (shares[best] as number) < threshold, shares };
}

/** The answer, and what is said below it. A column such as `fraud`, bare before a number, would read as a class. */
export function sentence({ best, unsure, shares }: Decision, names: readonly string[], { target, threshold }: Answer): [string, string] {
  const name = names[best] as string, share = percent(shares[best] as number);
  if (unsure) return ["unsure", `${name} is the likeliest, at ${share}: less than the ${percent(threshold)} that this model asks for`];
  return [name, `${target ? `${target} is ${name}: ` : ""}probability ${share}`];
}

/** The places of the classes that fit into a drawing: all, or the likeliest, the answer first. */
export function likeliest(shares: readonly number[], most: number): number[] {
  const order = shares.map((_, place) => place);
  return order.length <= most ? order : order.sort((a, b) => (shares[b] as number) - (shares[a] as number)).slice(0, most);
}

export interface Quantity {
  readonly name: string;
  readonly unit: string;
  readonly value: number;
  /** The standard deviation that the model gives, if it does. */
  readonly spread?: number;
}

/** Whether the standard deviation of the first number is above the model's threshold: then no number means anything. */
export function isLost(row: readonly number[], { kind, threshold }: Answer): boolean {
  return kind === "gaussian" && threshold > 0 && Math.exp((row[row.length / 2] as number) / 2) > threshold;
}

/** The numbers of an answer, with their names; `gaussian` has means, NaN where the model is unsure, and then logarithms of variances. */
export function quantities(row: readonly number[], answer: Answer): Quantity[] {
  const { kind, labels, units, target } = answer, count = kind === "gaussian" ? row.length / 2 : row.length, lost = isLost(row, answer);
  return row.slice(0, count).map((value, place) => ({
    name: labels[place] ?? (count === 1 ? target || "value" : `value ${place + 1}`),
    unit: units[place] ?? "",
    value: lost ? NaN : value,
    ...(kind === "gaussian" ? { spread: Math.exp((row[count + place] as number) / 2) } : {}),
  }));
}
