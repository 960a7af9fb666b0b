// The page of a model that takes pictures: drawn, chosen, dropped or pasted.

import { readPicture } from "../preparation/decoding";
import { clip, roundEven, type Rgba } from "../preparation/picture";
import { finished, isArithmetic, prepare, type Example, type Step } from "../preparation/steps";
import { decoded, h } from "../shared/dom";
import { counted, percent } from "../shared/text";
import { classNames, decided, isOfNumbers, isUsable, NO_ANSWER, quantities } from "./answers";
import { csv } from "./cells";
import { insideView } from "./inside";
import { occlusion } from "./occlusion";
import { pad } from "./pad";
import { answerView, download, fileButton, onFiles, pixelCanvas, refusal } from "./parts";
import type { Model } from "./session";
import { numbers, tensor, type Tensor } from "./tensors";
import type { Answer, Subject } from "./types";

const LARGE = 2 ** 20; // Bytes of a file that takes a while.

export interface Found {
  readonly example: Example;
  readonly row: number[];
}

/** Picks for scripts: what the page itself does with a picture. */
export interface Scripted {
  predict(picture: Blob): Promise<{ label: string; probabilities: number[]; outputs: number[]; box: readonly number[] | null }[]>;
}

export function pictures(subject: Subject, model: Promise<Model>): HTMLElement {
  const answer = subject.answer as Answer, several = subject.steps.some(({ step }) => step === "drawings");
  const drawn = subject.steps.some(({ step }) => step === "fit_digit" || step === "drawings");
  const result = h("div", { class: "stack", "aria-live": "polite" }), looks = h("div", { class: "below" });
  const table = h("div", { class: "below" });
  let current = 0, timer = 0;

  const predict = async (source: Rgba): Promise<Found[]> => {
    const examples = prepare(subject.steps, source);
    const rows = await rowsOf(await model, subject, examples);
    return examples.map((example, place) => ({ example, row: rows[place] as number[] }));
  };
  const show = async (source: () => Rgba) => {
    const mine = ++current;
    try {
      const found = await predict(source());
      if (mine === current) present(found);
    } catch (error) {
      if (mine === current) empty(refusal(error as Error));
    }
  };
  const empty = (words: string | HTMLElement) => {
    result.replaceChildren(typeof words === "string" ? h("p", { class: "muted" }, words) : words);
    looks.replaceChildren();
  };
  const present = (found: readonly Found[]) => {
    const tiles = h("div", { class: "row", role: "group", "aria-label": "What was found" });
    const shown = h("div", { class: "stack" });
    const select = (place: number) => {
      const { example, row } = found[place] as Found;
      shown.replaceChildren(answerView(row, answer));
      looks.replaceChildren(...lookedAt(subject, model, example, row));
      [...tiles.children].forEach((tile, k) => tile.setAttribute("aria-pressed", String(k === place)));
    };
    found.forEach(({ example, row }, place) => {
      const words = inWords(row, answer);
      tiles.append(h("button", { type: "button", class: "tile", onclick: () => select(place), "aria-label": `${words}, number ${place + 1} of ${found.length}` },
        seenView(example), h("span", {}, words)));
    });
    const all = found.map(({ row }) => inWords(row, answer)).join(" ");
    result.replaceChildren(...(found.length > 1 ? [h("p", { class: "answer" }, all), tiles] : []), shown);
    select(0);
  };

  const sheet = pad(several ? 720 : 480, several ? 450 : 480, (settled) => {
    clearTimeout(timer);
    timer = window.setTimeout(() => void show(sheet.pixels), settled ? 0 : 150);
  });
  const take = async (files: readonly File[]) => {
    if (files.length > 1) return void tabulate(files);
    const [file] = files;
    if (!file) return;
    await showFile(file, `${file.name}: `);
  };
  const showFile = async (file: Blob, name = "") => {
    const mine = ++current;
    if (file.size > LARGE) empty("Reading the picture…");
    try {
      const pixels = await readPicture(file);
      if (mine !== current) return;
      sheet.show(pixels);
      await show(() => pixels);
    } catch (error) {
      if (mine !== current) return;
      sheet.clear();
      empty(refusal(error as Error, name));
    }
  };
  const tabulate = async (files: readonly File[]) => {
    const rows: Line[] = [], body = h("tbody"), said = h("p", { class: "muted small" });
    const ofNumbers = isOfNumbers(answer), headings = ["picture", "answer", ...(ofNumbers ? [] : ["probability"])];
    table.replaceChildren(h("section", { class: "panel stack", "aria-label": "Pictures" }, h("h2", {}, "Pictures"), said,
      h("div", { class: "long", tabindex: 0, role: "group", "aria-label": "Answers" },
        h("table", { class: "results" }, h("thead", {}, h("tr", {}, ...headings.map((name, k) => h("th", { scope: "col", class: k === 2 ? "number" : "" }, name)))), body)),
      h("div", {}, h("button", { type: "button", onclick: () => download("answers.csv", new Blob([asCsv(rows, answer)], { type: "text/csv" })) }, "Save as CSV"))));
    for (const [k, file] of files.entries()) {
      said.textContent = `${k + 1} of ${files.length}…`;
      for (const line of await linesOf(file, predict)) {
        rows.push(line);
        body.append(lineView(line, answer));
      }
    }
    said.textContent = counted(files.length, "picture");
  };
  const clear = () => {
    current++;
    sheet.clear();
    table.replaceChildren();
    empty(drawn ? "Draw, or choose a picture: the answer comes at once." : "Choose a picture, drop one here, or paste one.");
  };

  (globalThis as unknown as { portableNN: Scripted }).portableNN = {
    predict: async (picture) => {
      const found = await predict(await readPicture(picture));
      return found.map(({ example, row }) => ({
        label: inWords(row, answer), probabilities: isOfNumbers(answer) ? [] : decided(row, answer).shares, outputs: row, box: example.box ?? null,
      }));
    },
  };
  clear();
  onFiles(sheet.canvas, (files) => void take(files));
  const samples = subject.samples.filter(({ url }) => url).map(({ name, url }) => {
    const use = () => void showFile(new Blob([decoded((url as string).slice((url as string).indexOf(",") + 1))]));
    return h("button", { type: "button", class: "sample", onclick: use, "aria-label": `Sample ${name}` }, h("img", { src: url, alt: "", width: 36, height: 36 }));
  });
  const what = several ? "Draw digits, one or several" : drawn ? "Draw a digit" : "A picture";
  return h("div", {},
    h("div", { class: "columns" },
      h("section", { class: "panel stack", "aria-label": what },
        h("h2", {}, what), h("div", { class: "sheet" }, sheet.canvas),
        h("div", { class: "row" },
          h("button", { type: "button", onclick: clear }, "Clear"),
          fileButton("Choose pictures…", "image/*", (files) => void take(files)),
          h("span", { class: "muted small" }, "or drop or paste some here")),
        samples.length ? h("div", {}, h("p", { class: "muted small" }, "Samples"), h("div", { class: "row tight" }, ...samples)) : undefined),
      h("section", { class: "panel stack", "aria-label": "Answer" }, h("h2", {}, "Answer"), result)),
    looks, table);
}

/** Outputs for examples, in batches. */
export async function rowsOf(model: Model, subject: Subject, examples: readonly { readonly data: Float32Array }[], most = 64): Promise<number[][]> {
  const answer = subject.answer as Answer, rows: number[][] = [], step = answer.batch ?? most;
  for (let start = 0; start < examples.length; start += step) {
    const part = examples.slice(start, start + step), filled = [...part];
    while (answer.batch && filled.length < answer.batch) filled.push(part[part.length - 1] as { data: Float32Array });
    const found = numbers((await model.run(feedsOf(subject, filled), [answer.output]))[answer.output] as Tensor);
    const width = found.length / filled.length;
    part.forEach((_, place) => rows.push([...found.subarray(place * width, (place + 1) * width)]));
  }
  return rows;
}

export function feedsOf({ answer, steps }: Subject, examples: readonly { readonly data: Float32Array; readonly shape?: readonly number[] }[]): Record<string, Tensor> {
  const [{ data, shape }] = examples as [{ data: Float32Array; shape?: readonly number[] }], length = data.length, joined = new Float32Array(length * examples.length);
  examples.forEach((each, place) => joined.set(each.data, place * length));
  const { input, dtype, example } = answer as Answer, isLevels = dtype === "uint8" && steps.length > 0 && !isArithmetic(steps[steps.length - 1] as Step);
  // Pictures of any size make examples of their own shape.
  return { [input]: tensor(isLevels ? joined.map((value) => clip(roundEven(value))) : joined, [examples.length, ...(example.length ? example : (shape ?? [length]))], answer as Answer) };
}

function inWords(row: readonly number[], answer: Answer): string {
  if (!isUsable(row)) return NO_ANSWER;
  if (isOfNumbers(answer)) return quantities(row, answer).map(({ value }) => (Number.isNaN(value) ? "?" : value.toPrecision(4))).join(", ");
  const { best, unsure, shares } = decided(row, answer);
  return unsure ? "?" : (classNames(answer, shares.length)[best] as string);
}

function seenView({ seen }: Example): HTMLCanvasElement {
  return pixelCanvas(seen.data, seen.height, seen.width, seen.channels);
}

/** What the network sees, which pixels decide, and what its layers make of them. */
function lookedAt(subject: Subject, model: Promise<Model>, example: Example, row: readonly number[]): HTMLElement[] {
  const answer = subject.answer as Answer, { height, width } = example.seen, place = h("div", { class: "row figures", "aria-live": "polite" });
  const own = seenView(example);
  own.setAttribute("role", "img");
  own.setAttribute("aria-label", "The picture as the network gets it");
  place.append(h("figure", {}, own, h("figcaption", {}, `What the network gets, ${height} × ${width}`)));
  const button = h("button", { type: "button" }, "Which pixels decide?");
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      place.append(await decisive());
      button.remove();
    } catch (error) {
      place.append(refusal(error as Error));
      button.disabled = false;
    }
  });
  const decisive = async () => {
    const opened = await model, best = isOfNumbers(answer) ? 0 : decided(row, answer).best;
    const ask = (seen: Example["seen"][]) => rowsOf(opened, subject, seen.map((each) => finished(subject.steps, each)));
    return occlusion(example.seen, row, best, answer, ask);
  };
  const feeds = () => feedsOf(subject, answer.batch ? Array.from({ length: answer.batch }, () => example) : [example]);
  return [h("section", { class: "panel stack", "aria-label": "A look inside" }, h("h2", {}, "A look inside"), place, h("div", { class: "row" }, button),
    h("details", {}, h("summary", {}, "How the picture became that"), h("ol", {}, ...subject.prepared.map((step) => h("li", {}, step)))), ...insideView(subject, model, feeds))];
}

/** A picture, or a drawing in it, and its outputs, or why there are none. */
interface Line {
  readonly name: string;
  readonly found: readonly number[] | string;
}

async function linesOf(file: File, predict: (source: Rgba) => Promise<Found[]>): Promise<Line[]> {
  try {
    const found = await predict(await readPicture(file)), isOne = found.length === 1;
    return found.map(({ row }, place) => ({ name: isOne ? file.name : `${file.name}#${place + 1}`, found: isUsable(row) ? row : NO_ANSWER }));
  } catch (error) {
    return [{ name: file.name, found: (error as Error).message }];
  }
}

function lineView({ name, found }: Line, answer: Answer): HTMLElement {
  if (typeof found === "string") return h("tr", {}, h("td", {}, name), h("td", { colspan: isOfNumbers(answer) ? 1 : 2, class: "muted small" }, found));
  if (isOfNumbers(answer)) return h("tr", {}, h("td", {}, name), h("td", {}, inWords(found, answer)));
  const { best, unsure, shares } = decided(found, answer), guess = classNames(answer, shares.length)[best] as string;
  return h("tr", {}, h("td", {}, name), h("td", {}, unsure ? `? perhaps ${guess}` : guess), h("td", { class: "number" }, percent(shares[best] as number)));
}

/** A table like that of `predict --format csv`. */
function asCsv(lines: readonly Line[], answer: Answer): string {
  const usable = lines.flatMap(({ found }) => (typeof found === "string" ? [] : [found]));
  const names = isOfNumbers(answer) ? quantities(usable[0] ?? [], answer).map(({ name }) => name) : ["label", "probability", "guess"];
  const cells = (found: readonly number[]) => {
    if (isOfNumbers(answer)) return quantities(found, answer).map(({ value }) => value);
    const { best, unsure, shares } = decided(found, answer), name = classNames(answer, shares.length)[best] as string;
    return [unsure ? "?" : name, shares[best] as number, unsure ? name : ""];
  };
  return csv(["input", ...names, "error"]) + lines.map(({ name, found }) => csv([name, ...(typeof found === "string" ? [...names.map(() => ""), found] : [...cells(found), ""])])).join("");
}
