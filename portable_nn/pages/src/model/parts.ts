// Parts that several pages show: bars of probabilities, numbers, choices of files, pictures of arrays.

import type { Line } from "../shared/chart";
import { Unusable } from "../preparation/picture";
import { h } from "../shared/dom";
import { percent, plain } from "../shared/text";
import { classNames, decided, isLost, isOfNumbers, isUsable, likeliest, NO_ANSWER, quantities, sentence } from "./answers";
import { Refused } from "./session";
import type { Answer } from "./types";

/** A row of outputs for people: a sentence, and a table of probabilities or numbers; `colours` are those of classes. */
export function answerView(row: readonly number[], answer: Answer, colours?: Colours): HTMLElement {
  if (!isUsable(row)) return h("p", { class: "bad" }, NO_ANSWER);
  if (isOfNumbers(answer)) return numbersView(row, answer);
  const decision = decided(row, answer), names = classNames(answer, decision.shares.length);
  const [said, rest] = sentence(decision, names, answer);
  return h("div", { class: "stack" },
    h("div", {}, h("p", { class: isLong(said) ? "answer long-answer" : "answer" }, said), h("p", { class: "muted" }, rest)),
    bars(names, decision.shares, decision.best, colours));
}

/** Whether a name needs several lines beside a bar. */
function isLong(name: string): boolean {
  return name.length > 20;
}

/** Bars of probabilities, in the order of the classes; of many, the likeliest first. */
export function bars(names: readonly string[], shares: readonly number[], best: number, colours?: Colours, most = 12): HTMLElement {
  const rows = likeliest(shares, most).map((place) => {
    const share = shares[place] as number, bar = h("i");
    bar.style.width = `${100 * share}%`;
    if (colours) bar.style.background = colours.get(place) ?? "var(--edge)";
    return h("tr", { class: best < 0 ? "" : place === best ? "best" : "other" },
      h("th", { scope: "row" }, names[place]), h("td", { class: "wide" }, h("div", { class: "bar", "aria-hidden": "true" }, bar)), h("td", { class: "number" }, percent(share)));
  });
  const isShort = !names.some(isLong), rest = names.length - rows.length;
  return h("div", {}, h("table", { class: isShort ? "bars short" : "bars" }, h("caption", { class: "hidden-text" }, "Probabilities"),
    h("thead", { class: "hidden-text" }, h("tr", {}, h("th", { scope: "col" }, "class"), h("td"), h("th", { scope: "col" }, "probability"))), h("tbody", {}, ...rows)),
    rest ? h("p", { class: "muted small" }, `The ${rows.length} likeliest of ${names.length.toLocaleString("en")} classes`) : undefined);
}

function numbersView(row: readonly number[], answer: Answer): HTMLElement {
  const found = quantities(row, answer);
  const lost = isLost(row, answer) ? h("p", { class: "bad" }, `Unsure: the standard deviation of ${found[0]?.name} is above ${answer.threshold} ${found[0]?.unit ?? ""}`) : undefined;
  return h("div", { class: "stack" }, lost, ...found.map(({ name, unit, value, spread }) =>
    h("div", {},
      h("p", { class: "muted" }, name),
      h("p", { class: found.length > 3 ? "" : "answer" }, lost ? "?" : `${spread ? asExact(value, spread) : plain(value, 5)}${unit && ` ${unit}`}`),
      spread === undefined ? undefined : h("p", { class: "muted" }, `± ${asExact(spread, spread)}${unit && ` ${unit}`} (one standard deviation)`))));
}

/** A number to the place of the second digit of its standard deviation. */
function asExact(value: number, spread: number): string {
  const places = 1 - Math.floor(Math.log10(spread));
  return places >= 0 && places <= 12 ? value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places }) : plain(value, 5);
}

/** Why there is no answer; the words of the runtime are for who asks for them. */
export function refusal(error: Error, name = ""): HTMLElement {
  const words = h("p", { class: error instanceof Unusable ? "muted" : "bad" }, name + error.message);
  return error instanceof Refused ? h("div", {}, words, h("details", {}, h("summary", {}, "What the runtime says"), h("pre", { class: "numbers" }, error.raw))) : words;
}

/** The colours of lines in a chart, in their order. */
export const COLOURS = ["var(--accent)", "var(--warm)", "var(--good)", "var(--violet)", "var(--bad)", "var(--muted)"];

export type Colours = ReadonlyMap<number, string>;

/** Gives the classes that are drawn a colour each. A class keeps its own as long as it is drawn. */
export function palette(): (drawn: readonly number[]) => Colours {
  let kept = new Map<number, string>();
  return (drawn) => {
    const next = new Map([...kept].filter(([place]) => drawn.includes(place))), free = COLOURS.filter((each) => ![...next.values()].includes(each));
    for (const place of drawn) if (!next.has(place)) next.set(place, free.shift() ?? "var(--edge)");
    return (kept = next);
  };
}

/** The lines of classes in a chart, and their names below it: those in `colours`, of which `best` is the answer. */
export function classLines(x: readonly number[], shares: readonly (readonly number[])[], names: readonly string[], colours: Colours, best: number): { lines: Line[]; key: HTMLElement } {
  const drawn = [...colours.keys()].sort((a, b) => a - b);
  const lines = drawn.map((place) => ({ x, y: shares.map((each) => each[place] as number), colour: colours.get(place) as string, strong: place === best }));
  const key = h("ul", { class: "row legend" }, ...drawn.map((place) => {
    const mark = h("i");
    mark.style.background = colours.get(place) as string;
    return h("li", { class: place === best ? "best" : "" }, mark, names[place]);
  }), drawn.length < names.length ? h("li", { class: "muted" }, `${drawn.length} of ${names.length} classes, the likeliest`) : undefined);
  return { lines, key };
}

/** A button that opens a choice of files. */
export function fileButton(name: string, accept: string, take: (files: File[]) => void): HTMLElement {
  const input = h("input", { type: "file", accept, multiple: true, hidden: true });
  input.addEventListener("change", () => {
    take([...(input.files ?? [])]);
    input.value = "";
  });
  return h("span", {}, h("button", { type: "button", onclick: () => input.click() }, name), input);
}

/** Files that are dropped on the page or pasted into it. */
export function onFiles(place: HTMLElement, take: (files: File[]) => void): void {
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    place.classList.add("dropping");
  });
  document.addEventListener("dragleave", () => place.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("dropping");
    take([...(event.dataTransfer?.files ?? [])]);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) take(files);
  });
}

/** A picture of pixels, one number or three each, from `low` to `high`, drawn `zoom` times as large. */
export function pixelCanvas(data: ArrayLike<number>, height: number, width: number, channels: number, low = 0, high = 255): HTMLCanvasElement {
  const canvas = h("canvas", { width, height, class: "pixels" }), context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const image = context.createImageData(width, height), factor = 255 / (high - low || 1);
  for (let place = 0; place < height * width; place++) {
    for (let channel = 0; channel < 3; channel++) {
      image.data[4 * place + channel] = ((data[channels * place + (channels === 3 ? channel : 0)] as number) - low) * factor;
    }
    image.data[4 * place + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** The colour of a signed share, -1 to 1: blue, black, orange. */
export function diverging(share: number): [number, number, number] {
  const amount = Math.min(1, Math.abs(share));
  return share >= 0 ? [255 * amount, 150 * amount, 50 * amount] : [60 * amount, 150 * amount, 255 * amount];
}

/** A canvas whose pixels have a colour each. */
export function colourCanvas(height: number, width: number, colour: (place: number) => readonly number[]): HTMLCanvasElement {
  const canvas = h("canvas", { width, height, class: "pixels" }), context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const image = context.createImageData(width, height);
  for (let place = 0; place < height * width; place++) image.data.set([...colour(place), 255], 4 * place);
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Offer bytes as a file. */
export function download(name: string, content: Blob): void {
  const address = URL.createObjectURL(content);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
