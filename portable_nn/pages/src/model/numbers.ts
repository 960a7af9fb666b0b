// The page of any other model: arrays in, arrays out.

import { field, h } from "../shared/dom";
import { counted } from "../shared/text";
import { insidePanel } from "./inside";
import { readNpy, writeNpy } from "./npy";
import { answerView, download, fileButton, refusal } from "./parts";
import type { Model } from "./session";
import { numbers, size, unpacked, written, type Tensor } from "./tensors";
import { cast, mismatch, parsed, range, spelled } from "./typed";
import type { Answer, Packed, Subject, Value } from "./types";

const SHOWN = 2000; // Numbers that are written out.
const ANSWERS = 12; // Answers that are shown beside the numbers.

interface Field {
  readonly element: HTMLElement;
  read(): Tensor;
}

export function arrays(subject: Subject, model: Promise<Model>): HTMLElement {
  const answer = subject.answer?.meant ? subject.answer : undefined, { inputs, check } = subject;
  const result = h("div", { class: "stack", "aria-live": "polite" }, h("p", { class: "muted" }, "Press “Run” for the outputs."));
  const fields = inputs.map((value) => input(value, check?.feeds[value.name]));
  const feeds = () => {
    const given = Object.fromEntries(inputs.map(({ name }, k) => [name, (fields[k] as Field).read()])), fault = mismatch(inputs, given);
    if (fault) throw new Error(fault);
    return given;
  };
  const run = async () => {
    try {
      const given = feeds(), started = performance.now(), found = await (await model).run(given), took = performance.now() - started;
      result.replaceChildren(h("p", { class: "muted small" }, `Computed in ${took.toFixed(0)} ms`),
        ...(answer ? answersView(found[answer.output] as Tensor, answer) : []), ...subject.outputs.map(({ name }) => output(name, found[name] as Tensor)));
    } catch (error) {
      result.replaceChildren(refusal(error as Error));
    }
  };
  const about = answer ? "This model takes arrays: as JSON or as .npy files, an example in each step of the first axis."
    : "Nothing in this model says what its numbers mean: they go in as they are, as JSON or as .npy files.";
  return h("div", {},
    h("div", { class: "columns" },
      h("section", { class: "panel stack", "aria-label": "Inputs" }, h("h2", {}, "Inputs"), h("p", { class: "muted small" }, about),
        ...fields.map(({ element }) => element), h("button", { type: "button", class: "main", onclick: () => void run() }, "Run")),
      h("section", { class: "panel stack", "aria-label": "Outputs" }, h("h2", {}, "Outputs"), result)),
    insidePanel(subject, model, feeds));
}

function input(value: Value, example: Packed | undefined): Field {
  const { name, dtype, shape } = value, text = h("textarea", { spellcheck: "false", rows: 6 }), fault = h("p", { class: "small bad", "aria-live": "polite" });
  let kept: Tensor | undefined;
  const set = (given: Tensor) => {
    const isLong = size(given.shape) > SHOWN;
    kept = isLong ? given : undefined;
    text.value = isLong ? `${written(given.shape)}: ${counted(size(given.shape), "number")}` : spelled(given);
    fault.textContent = "";
  };
  if (example) set(unpacked(example));
  text.addEventListener("input", () => { kept = undefined; });
  const file = fileButton("From a .npy file…", ".npy", async ([chosen]) => {
    try {
      if (chosen) set(cast(readNpy(await chosen.arrayBuffer()), value));
    } catch (error) {
      fault.textContent = `${chosen?.name}: ${(error as Error).message}`;
    }
  });
  return {
    element: h("div", { class: "stack" }, field(`${name}: ${dtype} ${written(shape)}`, text), file, fault),
    read() {
      fault.textContent = "";
      if (kept) return kept;
      try {
        return parsed(text.value, dtype);
      } catch (error) {
        throw new Error(`${name}: ${(error as Error).message}`);
      }
    },
  };
}

/** The answers to the first examples. */
function answersView(found: Tensor, answer: Answer): HTMLElement[] {
  const count = found.shape[0] as number, rows = numbers(found), width = rows.length / count;
  return Array.from({ length: Math.min(count, ANSWERS) }, (_, k) => h("div", { class: "stack" },
    count > 1 ? h("p", { class: "muted small" }, `Example ${k}${count > ANSWERS && k === 0 ? `, of ${count}; the first ${ANSWERS} are shown` : ""}`) : undefined,
    answerView([...rows.subarray(k * width, (k + 1) * width)], answer)));
}

function output(name: string, found: Tensor): HTMLElement {
  const isLong = size(found.shape) > SHOWN;
  return h("div", { class: "stack" }, h("p", {}, h("strong", {}, name), ` ${found.dtype} ${written(found.shape)}, ${range(found)}${isLong ? `; the first ${SHOWN}:` : ""}`),
    h("pre", { tabindex: 0, "aria-label": `Numbers of ${name}`, class: "numbers" }, spelled(found, SHOWN)),
    h("button", { type: "button", onclick: () => download(`${name}.npy`, writeNpy(found)) }, "Save as .npy"));
}
