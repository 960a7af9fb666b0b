// What the layers of a model make of an example: their outputs as pictures.

import { h } from "../shared/dom";
import { counted, rounded } from "../shared/text";
import { colourCanvas, diverging, refusal } from "./parts";
import type { Model } from "./session";
import { numbers, size, written, type Tensor } from "./tensors";
import type { Subject } from "./types";

const MOST = 64; // Maps of one layer that are drawn.

/** A choice of layers, and below it the chosen one's output; the first choice opens a second session. */
export function insideView(subject: Subject, model: Promise<Model>, feeds: () => Record<string, Tensor>): HTMLElement[] {
  if (subject.layers.length === 0) return [];
  const shown = h("div", { "aria-live": "polite" });
  let current = 0;
  const select = h("select", { "aria-label": "Layer", class: "narrow" }, h("option", { value: "" }, "Show what a layer gives…"),
    ...subject.layers.map(({ value, operator }, place) => h("option", { value: place }, `${place + 1}. ${operator} “${value}”`)));
  select.addEventListener("change", async () => {
    const mine = ++current, layer = select.value ? subject.layers[Number(select.value)] : undefined;
    if (!layer) return shown.replaceChildren();
    try {
      const found = (await (await model).inside(feeds(), [layer.value]))[layer.value] as Tensor;
      if (mine === current) shown.replaceChildren(layerView(found, layer.batch));
    } catch (error) {
      if (mine === current) shown.replaceChildren(refusal(error as Error));
    }
  });
  return [select, shown];
}

/** The same as a part of a page; none for a model without layers to show. */
export function insidePanel(subject: Subject, model: Promise<Model>, feeds: () => Record<string, Tensor>): HTMLElement | undefined {
  const views = insideView(subject, model, feeds);
  return views.length ? h("section", { class: "panel stack", "aria-label": "A look inside" }, h("h2", {}, "A look inside"), ...views) : undefined;
}

/** Shows the same layer of another example. */
export function renew(panel: HTMLElement | undefined): void {
  panel?.querySelector("select")?.dispatchEvent(new Event("change"));
}

/** The part of an output that is the first example's, whose examples lie along the axis `batch`; all of it where there is none. */
export function firstExample({ shape, ...output }: Tensor, batch: number | null): { values: Float64Array; shape: number[] } {
  const all = numbers({ shape, ...output });
  if (batch === null) return { values: all, shape: [...shape] };
  const inner = size(shape.slice(batch + 1)), step = inner * (shape[batch] as number);
  return { values: all.filter((_, place) => place % step < inner), shape: shape.filter((_, axis) => axis !== batch) };
}

/** The first example's part of an output: its maps beside each other, or its numbers as a row of cells. */
export function layerView(output: Tensor, batch: number | null): HTMLElement {
  const { values, shape: own } = firstExample(output, batch), shape = own.filter((length) => length !== 1), length = values.length;
  const most = values.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1, low = values.reduce((a, b) => Math.min(a, b), Infinity), high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const isMaps = shape.length >= 2;
  const [height, width] = isMaps ? (shape.slice(-2) as [number, number]) : [Math.ceil(length / Math.min(length, 40)), Math.min(length, 40)];
  const count = Math.max(1, isMaps ? length / (height * width) : 1), cells = h("div", { class: "row tight maps" });
  for (let map = 0; map < Math.min(count, MOST); map++) {
    const canvas = colourCanvas(height, width, (place) => diverging(((values[map * height * width + place] as number | undefined) ?? 0) / most));
    if (!isMaps) canvas.style.maxWidth = `${Math.min(40, 2.5 * width)}rem`; // A few numbers are no poster.
    cells.append(canvas);
  }
  const words = `${isMaps ? `${counted(count, "map")} of ${height} × ${width}` : counted(length, "number")}, from ${rounded(low, 3)} to ${rounded(high, 3)}`;
  const examples = batch === null ? 1 : (output.shape[batch] as number);
  const rest = `${count > MOST ? `; the first ${MOST} are drawn` : ""}${examples > 1 ? `; the first of ${examples} examples` : ""}`;
  cells.setAttribute("role", "img");
  cells.setAttribute("aria-label", words);
  return h("figure", { class: isMaps ? "" : "cells" }, cells, h("figcaption", {}, `${words}${rest}. Orange is above 0, blue below. Shape ${written(output.shape)}`));
}
