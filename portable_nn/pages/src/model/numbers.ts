// The page of any other model: arrays in, arrays out.

import { field, h } from "../shared/dom";
import { counted, rounded } from "../shared/text";
import { insideView } from "./inside";
import { download, fileButton } from "./parts";
import type { Model } from "./session";
import { readNpy, writeNpy } from "./npy";
import { numbers, size, tensor, unpacked, written, type Tensor } from "./tensors";
import type { Subject, Value } from "./types";

const SHOWN = 2000; // Numbers that are written out.

interface Field {
  readonly element: HTMLElement;
  read(): Tensor;
}

export function arrays(subject: Subject, model: Promise<Model>): HTMLElement {
  const result = h("div", { class: "stack", "aria-live": "polite" }, h("p", { class: "muted" }, "Press “Run” for the outputs."));
  const fields = subject.inputs.map((value) => input(value, subject.check?.feeds[value.name] && unpacked(subject.check.feeds[value.name] as NonNullable<typeof subject.check>["feeds"][string])));
  const feeds = () => Object.fromEntries(subject.inputs.map(({ name }, k) => [name, (fields[k] as Field).read()]));
  const run = async () => {
    try {
      const given = feeds(), started = performance.now(), found = await (await model).run(given), took = performance.now() - started;
      result.replaceChildren(h("p", { class: "muted small" }, `Computed in ${took.toFixed(0)} ms`), ...subject.outputs.map(({ name }) => output(name, found[name] as Tensor)));
    } catch (error) {
      result.replaceChildren(h("p", { class: "bad" }, (error as Error).message));
    }
  };
  return h("div", {},
    h("div", { class: "columns" },
      h("section", { class: "panel stack", "aria-label": "Inputs" }, h("h2", {}, "Inputs"),
        h("p", { class: "muted small" }, "Nothing in this model says what its numbers mean: they go in as they are, as JSON or as .npy files."),
        ...fields.map(({ element }) => element), h("button", { type: "button", class: "main", onclick: () => void run() }, "Run")),
      h("section", { class: "panel stack", "aria-label": "Outputs" }, h("h2", {}, "Outputs"), result)),
    h("section", { class: "panel stack", "aria-label": "A look inside" }, h("h2", {}, "A look inside"), ...insideView(subject, model, feeds)));
}

function input({ name, dtype, shape }: Value, example: Tensor | undefined): Field {
  const text = h("textarea", { spellcheck: "false", rows: 6 });
  let kept: Tensor | undefined;
  const set = (given: Tensor) => {
    const isLong = size(given.shape) > SHOWN;
    kept = isLong ? given : undefined;
    text.value = isLong ? `${written(given.shape)}: ${counted(size(given.shape), "number")}` : JSON.stringify(nested([...numbers(given)].map((value) => Number(rounded(value, 7))), given.shape));
  };
  if (example) set(example);
  text.addEventListener("input", () => { kept = undefined; });
  const file = fileButton("From a .npy file…", ".npy", async ([chosen]) => {
    try {
      if (chosen) set(readNpy(await chosen.arrayBuffer()));
    } catch (error) {
      text.value = (error as Error).message;
    }
  });
  return {
    element: h("div", { class: "stack" }, field(`${name}: ${dtype} ${written(shape)}`, text), file),
    read() {
      if (kept) return tensor(numbers(kept), kept.shape, dtype);
      let value: unknown;
      try {
        value = JSON.parse(text.value);
      } catch {
        throw new Error(`${name}: expected JSON such as ${JSON.stringify(nested(Array.from({ length: 4 }, (_, k) => k), [2, 2]))}`);
      }
      const dims = shapeOf(value), flat = (Array.isArray(value) ? value.flat(Infinity) : [value]).map(Number);
      if (flat.some(Number.isNaN)) throw new Error(`${name}: expected numbers alone`);
      return tensor(flat, dims, dtype);
    },
  };
}

function output(name: string, found: Tensor): HTMLElement {
  const values = numbers(found), isLong = values.length > SHOWN;
  const [low, high] = [values.reduce((a, b) => Math.min(a, b), Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity)];
  const text = JSON.stringify(nested([...values.subarray(0, isLong ? SHOWN : values.length)].map((value) => Number(rounded(value, 7))), isLong ? [SHOWN] : found.shape));
  return h("div", { class: "stack" }, h("p", {}, h("strong", {}, name), ` ${found.dtype} ${written(found.shape)}, from ${rounded(low, 5)} to ${rounded(high, 5)}${isLong ? `; the first ${SHOWN}:` : ""}`),
    h("pre", { tabindex: 0, "aria-label": `Numbers of ${name}`, class: "numbers" }, text),
    h("button", { type: "button", onclick: () => download(`${name}.npy`, writeNpy(found)) }, "Save as .npy"));
}

function nested(flat: readonly number[], shape: readonly number[]): unknown {
  if (shape.length <= 1) return shape.length ? flat : flat[0];
  const step = flat.length / (shape[0] || 1);
  return Array.from({ length: shape[0] as number }, (_, k) => nested(flat.slice(k * step, (k + 1) * step), shape.slice(1)));
}

function shapeOf(value: unknown): number[] {
  return Array.isArray(value) ? [value.length, ...shapeOf(value[0])].filter((each) => each !== undefined) : [];
}
