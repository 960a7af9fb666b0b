// What the page of a convolution says of it: cells, remarks, weights, and the command.

import { h } from "../shared/dom";
import { by, facts } from "./controls";
import type { Kind as CellKind } from "./board";
import { fixes } from "./fixes";
import { coverage, extent, type Kind, type Line, type Mode, outputSize, uncoveredText, unevenText, type Window } from "./sizes";

/** The options along one axis, with the size of the input. */
export interface Axis extends Window {
  size: number;
}

export interface Layer {
  kind: Kind;
  /** Rows first. */
  axes: Axis[];
  groups: number;
  channels: readonly [number, number];
  mode: Mode;
  countIncludePad: boolean;
}

/** Whether padding has a part in the output: a pool leaves it out, unless it is an average that counts it. */
export function countsPadding({ kind, mode, countIncludePad }: Layer): boolean {
  return kind !== "pool" || (mode === "average" && countIncludePad);
}

/** The names of the cells along each axis. */
export function namesOf({ axes }: Layer): string[] {
  return axes.length === 2 ? ["rows", "columns"] : ["cells"];
}

/** The kinds of cells in words. */
export function legendOf(layer: Layer): Record<CellKind, string> {
  const { kind } = layer;
  return {
    input: "input",
    output: "output",
    unread: kind === "convt" ? "the bias alone: no tap lands there" : "never read",
    zero: "zeros put between",
    padding: countsPadding(layer) ? "padding: zeros" : "padding, which is not counted",
    beyond: "beyond the edge: ceil lets the last window stand there",
    ring: "rings of zeros around",
    added: "output padding: zeros at the end",
    cut: "taken away by the padding",
  };
}

/** The input cells that make an output cell, along one axis. */
function read(kind: Kind, axis: Axis, position: number): number[] {
  const taps = Array.from({ length: axis.kernel }, (_, tap) => tap * axis.dilation);
  const cells =
    kind !== "convt"
      ? taps.map((tap) => position * axis.stride + tap - axis.padBegin)
      : taps.map((tap) => (position + axis.padBegin - tap) / axis.stride).reverse();
  return cells.filter((cell) => Number.isInteger(cell) && cell >= 0 && cell < axis.size);
}

/** Which cells of the input an output cell reads; `at` is its place along each axis. */
export function readText(layer: Layer, at: number[]): string {
  const words = layer.axes.map((axis, number) => {
    const [cells, name] = [read(layer.kind, axis, at[number]), namesOf(layer)[number]];
    if (!cells.length) return `no ${name}`;
    return `${cells.length === 1 ? name.replace(/s$/, "") : name} ${cells.join(", ")}`;
  });
  const verb = layer.kind === "pool" ? POOLED[layer.mode] : "reads";
  const divisor = layer.kind === "pool" && layer.mode === "average" ? `: their sum, divided by ${divisorOf(layer, at)}` : "";
  return `Output cell ${cellText(at)} ${verb} input ${words.join(" and ")}${divisor}.`;
}

const POOLED: Readonly<Record<Mode, string>> = { max: "is the largest of", average: "is the average of", lp: "is the norm of" };

/** What an average divides by: the cells under the window that are input, or with padding those that are not beyond it. */
export function divisorOf(layer: Layer, at: number[]): number {
  return layer.axes.reduce((product, axis, number) => {
    const padded = { ...axis, size: axis.size + axis.padBegin + axis.padEnd, padBegin: 0 };
    return product * read("pool", layer.countIncludePad ? padded : axis, at[number]).length;
  }, 1);
}

export function cellText(at: number[]): string {
  return at.length === 2 ? `(${at.join(", ")})` : String(at[0]);
}

/** What is wrong with a layer that fits its input, cells that are left out and uneven overlap, and changes that mend it. */
export function remarks(layer: Layer, mend: (windows: Window[]) => void): HTMLElement[] {
  const { kind, axes } = layer;
  const covered = axes.map((axis) => coverage(kind, axis, axis.size));
  const left = covered.map((found, number) => uncoveredText(found, namesOf(layer)[number])).filter(Boolean);
  const uneven = [...new Set(axes.filter((_, number) => covered[number].uneven).map(unevenText))];
  const what = kind === "convt" ? "No tap lands on these cells of the output, which hold the bias alone" : "Never read";
  const said = [
    ...(left.length ? [`${what}: ${left.join("; ")}.`] : []),
    ...(uneven.length ? [`Uneven overlap, which risks checkerboard patterns: ${uneven.join("; ")}.`] : []),
  ];
  const mended = said.length ? fixes(kind, axes, axes.map(({ size }) => size), namesOf(layer)) : [];
  const hints = mended.map(({ windows, text }, place) => {
    const button = h("button", { type: "button", onclick: () => mend(windows) }, place ? "Or this" : "Change it");
    return h("li", { class: "row" }, button, text);
  });
  if (said.length) return [...said.map((text) => h("p", { class: "bad" }, text)), ...(hints.length ? [h("ul", { class: "fixes" }, ...hints)] : [])];
  const good = kind === "convt" ? "Every cell of the output has equally many taps, away from the edges." : "Every cell of the input is read.";
  return [h("p", { class: "good" }, good)];
}

/** The steps of the formula as a table. */
export function formulaTable(title: string, lines: Line[]): HTMLElement {
  const head = ["step", "formula", "numbers", "result"].map((text, place) =>
    h("th", { scope: "col", class: place === 3 ? "number" : "" }, text),
  );
  const rows = lines.map(({ what, formula, numbers, result }) =>
    h("tr", {}, h("td", {}, what), h("td", {}, h("code", {}, formula)), h("td", {}, h("code", {}, numbers)), h("td", { class: "number" }, String(result))),
  );
  const table = h("table", { class: "steps" }, h("caption", {}, title), h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows));
  return h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": `The formula: ${title}` }, table);
}

/** The number of channels that the groups do not divide; undefined where they divide both. */
export function undivided({ channels, groups }: Layer): number | undefined {
  return channels.find((count) => count % groups);
}

/** The weights of a layer, and how much the kernel spans. */
export function weightsOf(layer: Layer): HTMLElement {
  const { kind, axes, groups, channels } = layer;
  const spans: [string, string] = ["the kernel spans", by(axes.map(extent))];
  if (kind === "pool") return facts([spans]);
  const [first, second] = kind === "conv" ? [channels[1], channels[0]] : channels;
  const shape = [first, second / groups, ...axes.map(({ kernel }) => kernel)];
  const count = shape.reduce((a, b) => a * b).toLocaleString("en");
  const text = `${by(shape)} = ${count}, and ${channels[1].toLocaleString("en")} of the bias`;
  return facts([["weights", undivided(layer) ? "" : text], spans]);
}

/** The output size along each axis. */
export function outputsOf({ kind, axes }: Layer): number[] {
  return axes.map((axis) => outputSize(kind, axis, axis.size));
}

/** The command that explains the same layer. */
export function commandLine({ kind, axes, groups, channels, mode, countIncludePad }: Layer): string {
  const one = (values: (number | string)[]) =>
    values.every((value) => value === values[0]) ? String(values[0]) : values.join("x");
  const pads = axes.map(({ padBegin, padEnd }) => (padBegin === padEnd ? String(padBegin) : `${padBegin}:${padEnd}`));
  const channelOptions: [string, string, string][] = [
    ["channels", [...channels, ...(groups === 1 ? [] : [groups])].join(":"), "1:1"],
  ];
  const options: [string, string, string][] = [
    ["in", one(axes.map(({ size }) => size)), ""],
    ["kernel", one(axes.map(({ kernel }) => kernel)), ""],
    ["stride", one(axes.map(({ stride }) => stride)), kind === "pool" ? one(axes.map(({ kernel }) => kernel)) : "1"],
    ["padding", one(pads), "0"],
    ["dilation", one(axes.map(({ dilation }) => dilation)), "1"],
    ["output-padding", one(axes.map(({ outputPadding }) => outputPadding)), "0"],
    ...(kind === "pool" ? [["mode", countIncludePad ? "average-padded" : mode, "max"] as [string, string, string]] : channelOptions),
    ["axes", String(axes.length), "2"],
  ];
  const written = options.filter(([, value, usual]) => value !== usual).map(([name, value]) => `--${name} ${value}`);
  if (axes[0].ceil) written.push("--ceil");
  return `portable-nn size ${kind} ${written.join(" ")}`;
}
