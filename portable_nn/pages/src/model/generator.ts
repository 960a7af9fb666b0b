// The page of a generator: noise to pictures, and the way from one to another.

import { field, h } from "../shared/dom";
import { counted, rounded } from "../shared/text";
import { isUsable, NO_ANSWER } from "./answers";
import { insidePanel, renew } from "./inside";
import { download, pixelCanvas, refusal } from "./parts";
import type { Model } from "./session";
import { numbers, tensor, type Tensor } from "./tensors";
import type { Subject } from "./types";

const SHEET = 24;

export function generator(subject: Subject, model: Promise<Model>): HTMLElement {
  const [input] = subject.inputs as [Subject["inputs"][0]], [output] = subject.outputs as [Subject["outputs"][0]];
  const count = Number(input.shape[1]), chosen = subject.chosen ?? 0;
  const place = h("div", { class: "generated" }), ends = h("div", { class: "row ends" }), sheet = h("div", { class: "row tight maps" });
  let noise = normal(count, 3), from = noise, to = normal(count, 5), seed = 2, current = 0, digit: number | undefined;

  const feeds = (rows: Float32Array, length: number) => ({ [input.name]: tensor(rows, [length, count], { input: input.name, dtype: input.dtype }) });
  /** Where the model gives no pictures, the page says so, and shows none that are no longer meant. */
  const shown = (...parts: Promise<void>[]) => void Promise.all(parts).catch((error: unknown) => {
    place.replaceChildren(refusal(error as Error));
    ends.replaceChildren();
    sheet.replaceChildren();
  });
  const sample = async (rows: readonly Float32Array[]): Promise<{ pixels: Float64Array; shape: readonly number[] }> => {
    const joined = new Float32Array(count * rows.length);
    rows.forEach((row, k) => joined.set(row, k * count));
    const found = (await (await model).run(feeds(joined, rows.length)))[output.name] as Tensor, pixels = numbers(found);
    if (!isUsable(pixels)) throw new Error(NO_ANSWER);
    return { pixels, shape: found.shape };
  };
  const drawn = ({ pixels, shape }: { pixels: Float64Array; shape: readonly number[] }, k: number) => {
    const [, channels, height, width] = shape as [number, number, number, number], size = channels * height * width, own = pixels.subarray(k * size, (k + 1) * size);
    const values = channels === 1 ? own : Float64Array.from(own, (_, at) => own[(at % 3) * height * width + Math.floor(at / 3)] as number);
    return pixelCanvas(values, height, width, channels, 0, 1);
  };
  const show = async () => {
    const mine = ++current, found = await sample([noise]);
    if (mine !== current) return;
    const canvas = drawn(found, 0);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", digit === undefined ? "The picture that the network makes" : `A ${digit} that the network makes`);
    place.replaceChildren(canvas);
    sliders.forEach((slider, k) => { slider.value = String(noise[k]); });
    renew(look);
  };
  const showEnds = async () => {
    const found = await sample([from, to]);
    ends.replaceChildren(...["from", "to"].map((name, k) => h("figure", {}, labelled(drawn(found, k), `The picture at the ${k ? "end" : "beginning"} of the way`), h("figcaption", {}, name))));
  };
  const showSheet = async () => {
    const found = await sample(Array.from({ length: SHEET }, () => classed(normal(count, ++seed), digit)));
    sheet.replaceChildren(...Array.from({ length: SHEET }, (_, k) => labelled(drawn(found, k), `Sample ${k + 1}`)));
  };
  const classed = (row: Float32Array, wanted: number | undefined): Float32Array => {
    if (wanted === undefined || !chosen) return row;
    const first = row.subarray(0, chosen), largest = first.indexOf(Math.max(...first)), swapped = row.slice();
    [swapped[largest], swapped[wanted]] = [swapped[wanted] as number, swapped[largest] as number];
    return swapped;
  };
  const another = () => {
    noise = from = classed(normal(count, ++seed), digit);
    to = classed(normal(count, ++seed), digit);
    way.value = "0";
    shown(show(), showEnds());
  };
  // Between x and y, cos(a)·x + sin(a)·y has the distribution of both.
  const way = h("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0 });
  way.addEventListener("input", () => {
    const angle = (Number(way.value) * Math.PI) / 2;
    noise = from.map((value, k) => Math.cos(angle) * value + Math.sin(angle) * (to[k] as number));
    shown(show());
  });
  const sliders = Array.from({ length: count }, (_, k) => {
    const slider = h("input", { type: "range", min: -3, max: 3, step: 0.05, value: noise[k] as number, "aria-label": `Number ${k + 1} of the noise` });
    slider.addEventListener("input", () => {
      noise = noise.slice();
      noise[k] = Number(slider.value);
      slider.title = rounded(Number(slider.value), 3);
      shown(show());
    });
    return slider;
  });
  const classes = h("div", { class: "row tight", role: "group", "aria-label": "Class" }, ...["any", ...Array.from({ length: chosen }, (_, k) => String(k))].map((name, k) => {
    const button = h("button", { type: "button", "aria-pressed": String(k === 0), onclick: () => {
      digit = k ? k - 1 : undefined;
      [...classes.children].forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
      if (digit !== undefined) [from, to] = [classed(from, digit), classed(to, digit)];
      noise = from;
      way.value = "0";
      shown(show(), showEnds(), showSheet());
    } }, name);
    return button;
  }));
  const look = insidePanel(subject, model, () => feeds(noise, 1));
  const save = () => place.querySelector("canvas")?.toBlob((blob) => { if (blob) download("sample.png", blob); });
  shown(show(), showEnds(), showSheet());
  return h("div", {},
    h("div", { class: "columns" },
      h("section", { class: "panel stack", "aria-label": "Picture" }, h("h2", {}, "Picture"), h("div", { "aria-live": "polite" }, place),
        h("div", { class: "row" }, h("button", { type: "button", class: "main", onclick: another }, "Another one"), h("button", { type: "button", onclick: save }, "Save as PNG"))),
      h("section", { class: "panel stack", "aria-label": "Noise" }, h("h2", {}, "Noise"),
        chosen ? h("div", {}, h("p", { class: "small muted" }, "Digit"), classes) : undefined,
        field("The way from one picture to another", way), ends,
        h("details", {}, h("summary", {}, `All ${counted(count, "number")} of the noise`), h("div", { class: "fields sliders" }, ...sliders)))),
    h("section", { class: "panel stack", "aria-label": "Samples" }, h("h2", {}, "Samples"), sheet, h("div", { class: "row" }, h("button", { type: "button", onclick: () => shown(showSheet()) }, "Other samples"))),
    look);
}

function labelled(canvas: HTMLCanvasElement, words: string): HTMLCanvasElement {
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", words);
  return canvas;
}

/** Numbers with a standard normal distribution, by Box and Muller, that follow from a seed. */
export function normal(count: number, seed: number): Float32Array {
  let state = Math.imul(seed, 0x9e3779b1) >>> 0;
  const uniform = () => { // A generator of 32 bits, by counting and mixing.
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return Float32Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));
}
