// The page of a model for signals: rows of numbers, and what it reads of each, with its uncertainty.

import { chart } from "../shared/chart";
import { field, h } from "../shared/dom";
import { counted, rounded } from "../shared/text";
import { classNames, decided, isOfNumbers, quantities } from "./answers";
import { answerView, bars, COLOURS, download, fileButton, legend, onFiles } from "./parts";
import { rowsOf } from "./pictures";
import type { Model } from "./session";
import { numbers, readNpy, tensor, unpacked, written, type Tensor } from "./tensors";
import type { Answer, Subject } from "./types";

const MOST = 20_000; // Rows that are drawn.

export function series(subject: Subject, model: Promise<Model>): HTMLElement {
  const answer = subject.answer as Answer, width = answer.example[0] as number;
  const charts = h("div", { class: "stack" }), detail = h("div", { class: "columns" }), message = h("p", { class: "muted", "aria-live": "polite" });
  const place = h("input", { type: "range", min: 0, max: 0, value: 0 }), number = h("output", {}), chooser = field("Row", place, number);
  let rows: Float32Array[] = [], found: number[][] = [];

  const take = async (name: string, values: Float32Array) => {
    rows = Array.from({ length: Math.min(MOST, values.length / width) }, (_, k) => values.subarray(k * width, (k + 1) * width));
    message.textContent = `${name}: ${counted(rows.length, "row")}. Computing…`;
    found = await answers(await model, subject, rows);
    message.textContent = `${name}: ${counted(rows.length, "row")} of ${width} numbers`;
    place.max = String(rows.length - 1);
    place.value = "0";
    show();
  };
  const show = () => {
    const k = Number(place.value);
    number.textContent = String(k);
    charts.replaceChildren(...(rows.length > 1 ? overview(found, answer, k) : []));
    const signal = chart([{ x: Array.from({ length: width }, (_, at) => at), y: rows[k] as Float32Array }], { label: `The ${width} numbers of row ${k}`, xName: "place", height: 220, width: 480 });
    detail.replaceChildren(h("section", { class: "panel stack", "aria-label": "Row" }, h("h2", {}, `Row ${k}`), signal),
      h("section", { class: "panel stack", "aria-label": "Answer", "aria-live": "polite" }, h("h2", {}, "Answer"), answerView(found[k] as number[], answer)));
  };
  const files = async ([file]: readonly File[]) => {
    if (!file) return;
    try {
      await take(file.name, await rowsIn(file, width));
    } catch (error) {
      message.textContent = `${file.name}: ${(error as Error).message}`;
    }
  };
  place.addEventListener("input", show);
  onFiles(charts, (dropped) => void files(dropped));
  const [sample] = subject.samples.filter((each) => each.rows);
  if (sample) void take(sample.name, Float32Array.from(numbers(unpacked(sample.rows as NonNullable<typeof sample.rows>))));
  else message.textContent = `Choose a file: .npy or CSV, with ${width} numbers in each row.`;
  const save = () => download("answers.csv", new Blob([asCsv(found, answer)], { type: "text/csv" }));
  return h("div", {},
    h("section", { class: "panel stack", "aria-label": "Series" }, h("h2", {}, "Series"), message,
      h("div", { class: "row" }, fileButton("Choose a file…", ".npy,.csv,.txt", (chosen) => void files(chosen)), h("button", { type: "button", onclick: save }, "Save answers as CSV")),
      charts, chooser),
    detail);
}

/** Outputs for rows: those of a track together, as many of them at once as memory is good for, with those around them. */
export async function answers(model: Model, subject: Subject, rows: readonly Float32Array[], at = 256): Promise<number[][]> {
  const answer = subject.answer as Answer, { context, input, output, dtype } = answer, width = answer.example[0] as number;
  if (!context) return rowsOf(model, subject, rows.map((data) => ({ data })));
  const found: number[][] = [];
  for (let start = 0; start < rows.length; start += at) {
    const first = Math.max(0, start - context), part = rows.slice(first, start + at + context), joined = new Float32Array(part.length * width);
    part.forEach((row, k) => joined.set(row, k * width));
    const given = numbers((await model.run({ [input]: tensor(joined, [1, part.length, width], dtype) }, [output]))[output] as Tensor), count = given.length / part.length;
    for (let k = start - first; k < Math.min(part.length, start - first + at); k++) found.push([...given.subarray(k * count, (k + 1) * count)]);
  }
  return found;
}

function overview(found: readonly number[][], answer: Answer, mark: number): Element[] {
  const x = found.map((_, k) => k);
  if (isOfNumbers(answer)) {
    const each = found.map((row) => quantities(row, answer));
    return (each[0] as ReturnType<typeof quantities>).map(({ name, unit, spread }, q) => {
      const y = each.map((row) => (row[q] as { value: number }).value), wide = each.map((row) => 2 * ((row[q] as { spread?: number }).spread ?? 0));
      const title = unit ? `${name} [${unit}]` : name;
      return h("figure", {}, chart([{ x, y, colour: COLOURS[q % COLOURS.length] as string, ...(spread === undefined ? {} : { spread: wide }) }],
        { label: `${title} of ${counted(x.length, "row")}, from ${rounded(Math.min(...y), 3)} to ${rounded(Math.max(...y), 3)}`, xName: "row", mark, width: 1000 }),
        h("figcaption", {}, spread === undefined ? title : `${title}, with a band of two standard deviations`));
    });
  }
  const decisions = found.map((row) => decided(row, answer)), names = classNames(answer, (decisions[0] as { shares: number[] }).shares.length);
  const counts = names.map((_, k) => decisions.filter(({ best, unsure }) => best === k && !unsure).length / decisions.length);
  const lines = names.slice(0, COLOURS.length).map((_, k) => ({ x, y: decisions.map(({ shares }) => shares[k] as number), colour: COLOURS[k] as string }));
  return [h("figure", {}, chart(lines, { label: `Probabilities of ${names.join(", ")} in ${counted(x.length, "row")}`, xName: "row", yName: "probability", mark, low: 0, high: 1, width: 1000 }), legend(names.slice(0, COLOURS.length))),
    h("div", {}, h("p", { class: "muted small" }, "Share of the rows"), bars(names, counts, -1))];
}

function asCsv(found: readonly number[][], answer: Answer): string {
  const [first] = found;
  if (!first) return "";
  if (isOfNumbers(answer)) {
    const each = quantities(first, answer), names = each.map(({ name }) => name), spreads = each.filter(({ spread }) => spread !== undefined).map(({ name }) => `std of ${name}`);
    const lines = found.map((row) => {
      const read = quantities(row, answer);
      return [...read.map(({ value }) => value), ...read.slice(0, spreads.length).map(({ spread }) => spread)];
    });
    return [["row", ...names, ...spreads], ...lines.map((line, k) => [k, ...line])].map((line) => `${line.join(",")}\n`).join("");
  }
  const names = classNames(answer, decided(first, answer).shares.length);
  return [["row", "answer", ...names], ...found.map((row, k) => {
    const { best, unsure, shares } = decided(row, answer);
    return [k, unsure ? "?" : names[best], ...shares];
  })].map((line) => `${line.join(",")}\n`).join("");
}

/** The rows in a file of numpy, or of numbers between commas, semicolons or spaces; words in the first line are names. */
async function rowsIn(file: File, width: number): Promise<Float32Array> {
  if (file.name.endsWith(".npy")) {
    const found = readNpy(await file.arrayBuffer());
    if (found.shape[found.shape.length - 1] !== width) throw new Error(`expected rows of ${width} numbers, found the shape ${written(found.shape)}`);
    return Float32Array.from(numbers(found));
  }
  const lines = (await file.text()).split(/\r?\n/).map((line) => line.trim().split(/[,;\s]+/).map(Number)).filter((line) => line.length > 1 || line[0]);
  const kept = lines.filter((line, k) => k > 0 || !line.some(Number.isNaN));
  const bad = kept.find((line) => line.length !== width || line.some((value) => !Number.isFinite(value)));
  if (bad || kept.length === 0) throw new Error(`expected rows of ${width} numbers${bad ? `, found one of ${bad.length}` : ""}`);
  return Float32Array.from(kept.flat());
}
