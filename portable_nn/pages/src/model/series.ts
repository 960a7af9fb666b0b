import { chart } from "../shared/chart";
import { field, h } from "../shared/dom";
import { counted, plain } from "../shared/text";
import { classNames, decided, isLost, isOfNumbers, isUsable, likeliest, NO_ANSWER, quantities } from "./answers";
import { csv, rowsIn, unusable, type Row } from "./cells";
import { readNpy } from "./npy";
import { insidePanel, renew } from "./inside";
import { answerView, bars, classLines, COLOURS, download, fileButton, onFiles, palette, type Colours } from "./parts";
import { feedsOf, rowsOf } from "./pictures";
import type { Model } from "./session";
import { numbers, tensor, unpacked, written, type Tensor } from "./tensors";
import type { Answer, Subject } from "./types";

const MOST = 20_000; // Rows that are drawn.

/** A file, its rows, and the outputs for each or why there are none. */
interface Shown {
  readonly name: string;
  readonly rows: readonly Row[];
  readonly found: readonly Found[];
}

type Found = readonly number[] | string;

export function series(subject: Subject, model: Promise<Model>): HTMLElement {
  const answer = subject.answer as Answer, width = answer.example[0] as number, colour = palette();
  const charts = h("div", { class: "stack" }), detail = h("div", { class: "columns" });
  const about = h("p", { class: "muted" }, `Choose a file: .npy or CSV, with ${width} numbers in each row.`), fault = h("p", { class: "bad", hidden: true });
  const place = h("input", { type: "range", min: 0, max: 0, value: 0 }), number = h("output", {}), chooser = field("Row", place, number);
  const save = h("button", { type: "button", onclick: () => { if (shown) download(`${shown.name.replace(/\.\w+$/, "")}-answers.csv`, new Blob([asCsv(shown, answer)], { type: "text/csv" })); } }, "Save answers as CSV");
  let shown: Shown | undefined, current = 0;

  /** Shows rows with their answers; where there are none, what is shown stays, under its own name. */
  const take = async (name: string, read: () => Promise<readonly Row[]>) => {
    const mine = ++current;
    try {
      const rows = (await read()).slice(0, MOST), found = await answers(await model, subject, rows);
      if (mine !== current) return;
      shown = { name, rows, found };
      present(shown);
      fault.hidden = true;
    } catch (error) {
      if (mine !== current) return;
      fault.textContent = `${name}: ${(error as Error).message}${shown ? `. Below is still ${shown.name}` : ""}`;
      fault.hidden = false;
    }
  };
  const present = ({ name, rows, found }: Shown) => {
    const bad = found.findIndex((each) => typeof each === "string"), count = found.filter((each) => typeof each === "string").length;
    about.textContent = `${name}: ${counted(rows.length, "row")} of ${width} numbers${count ? `; ${count} without an answer, the first is row ${bad}: ${found[bad]}` : ""}`;
    place.max = String(rows.length - 1);
    place.value = "0";
    chooser.hidden = rows.length < 2;
    save.hidden = look.hidden = false;
    show();
  };
  const show = () => {
    const { rows, found } = shown as Shown, k = Number(place.value), row = rows[k] as Row, own = found[k] as Found;
    number.textContent = String(k);
    renew(look);
    const usable = found.map((each) => (typeof each === "string" ? undefined : each)), some = usable.find((each) => each !== undefined);
    const colours = some && !isOfNumbers(answer) ? colour(drawn(usable, typeof own === "string" ? undefined : own, answer)) : undefined;
    // Where there is no answer, lines have a gap.
    charts.replaceChildren(...(rows.length > 1 && some ? overview(usable.map((each) => each ?? some.map(() => NaN)), answer, k, colours) : []));
    const signal = typeof row === "string" || !row.some(Number.isFinite) ? h("p", { class: "muted" }, "There are no numbers to draw.")
      : chart([{ x: Array.from({ length: width }, (_, at) => at), y: row }], { label: `The ${width} numbers of row ${k}`, xName: "place", height: 220, width: 480 });
    detail.replaceChildren(h("section", { class: "panel stack", "aria-label": "Row" }, h("h2", {}, `Row ${k}`), signal),
      h("section", { class: "panel stack", "aria-label": "Answer", "aria-live": "polite" }, h("h2", {}, "Answer"), typeof own === "string" ? h("p", { class: "bad" }, own) : answerView(own, answer, colours)));
  };
  const inside = () => {
    const { rows } = shown as Shown, k = Number(place.value), { batch, context } = answer;
    const around = context ? rows.slice(Math.max(0, k - context), k + context + 1) : Array.from({ length: batch ?? 1 }, () => rows[k]);
    const given = around.map((row) => { if (typeof row !== "object" || !isUsable(row)) throw new Error(unusable(row as Row)); return { data: row }; });
    return context ? ofRows(answer, given.map(({ data }) => data)) : feedsOf(subject, given);
  };
  const look = insidePanel(subject, model, inside) ?? h("div");
  look.hidden = true;
  const files = ([file]: readonly File[]) => { if (file) void take(file.name, () => rowsOfFile(file, width)); };
  place.addEventListener("input", show);
  onFiles(charts, files);
  chooser.hidden = save.hidden = true;
  const [sample] = subject.samples.filter((each) => each.rows);
  if (sample) void take(sample.name, async () => inRows(unpacked(sample.rows as NonNullable<typeof sample.rows>), width));
  return h("div", {},
    h("section", { class: "panel stack", "aria-label": "Series" }, h("h2", {}, "Series"), h("div", { class: "stack", "aria-live": "polite" }, about, fault),
      h("div", { class: "row" }, fileButton("Choose a file…", ".npy,.csv,.tsv,.txt", files), save),
      charts, chooser),
    detail, look);
}

interface Place {
  readonly place: number;
  readonly row: Float32Array;
}

/** Outputs for rows, or why there are none; where a row is bad, those before and after it are far from each other. */
export async function answers(model: Model, subject: Subject, rows: readonly Row[]): Promise<Found[]> {
  const { context } = subject.answer as Answer, found: Found[] = rows.map((row) => (typeof row === "object" && isUsable(row) ? NO_ANSWER : unusable(row)));
  const usable = rows.flatMap((row, place) => (typeof row !== "string" && isUsable(row) ? [{ place, row }] : []));
  for (const part of context ? tracks(usable) : [usable]) {
    const own = part.map(({ row }) => row), outputs = context ? await ofTrack(model, subject, own) : await rowsOf(model, subject, own.map((data) => ({ data })));
    part.forEach(({ place }, k) => { found[place] = isUsable(outputs[k] as number[]) ? (outputs[k] as number[]) : NO_ANSWER; });
  }
  return found;
}

/** Rows that follow one another. */
function tracks(rows: readonly Place[]): Place[][] {
  const found: Place[][] = [];
  rows.forEach((each, k) => {
    if (k && each.place === (rows[k - 1] as Place).place + 1) (found[found.length - 1] as Place[]).push(each);
    else found.push([each]);
  });
  return found;
}

/** Outputs for the rows of a track, as many of them at once as memory is good for, with those around them. */
async function ofTrack(model: Model, subject: Subject, rows: readonly Float32Array[], at = 256): Promise<number[][]> {
  const answer = subject.answer as Answer, { context, output } = answer, found: number[][] = [];
  for (let start = 0; start < rows.length; start += at) {
    const first = Math.max(0, start - context), part = rows.slice(first, start + at + context);
    const given = numbers((await model.run(ofRows(answer, part), [output]))[output] as Tensor), count = given.length / part.length;
    for (let k = start - first; k < Math.min(part.length, start - first + at); k++) found.push([...given.subarray(k * count, (k + 1) * count)]);
  }
  return found;
}

/** Rows of a track as the input of a model that sees those around each. */
function ofRows(answer: Answer, rows: readonly Float32Array[]): Record<string, Tensor> {
  const width = answer.example[0] as number, joined = new Float32Array(rows.length * width);
  rows.forEach((row, k) => joined.set(row, k * width));
  return { [answer.input]: tensor(joined, [1, rows.length, width], answer) };
}

/** The classes that are drawn: the likeliest in all rows, and that of the chosen one. */
function drawn(found: readonly (readonly number[] | undefined)[], own: readonly number[] | undefined, answer: Answer): number[] {
  const all = found.flatMap((row) => (row ? [decided(row, answer).shares] : [])), sums = (all[0] as number[]).map((_, k) => all.reduce((sum, shares) => sum + (shares[k] as number), 0));
  const places = likeliest(sums, COLOURS.length), best = own ? decided(own, answer).best : places[0] as number;
  return places.includes(best) ? places : [...places.slice(0, -1), best];
}

function overview(found: readonly (readonly number[])[], answer: Answer, mark: number, colours: Colours | undefined): Element[] {
  const x = found.map((_, k) => k);
  if (isOfNumbers(answer)) {
    const each = found.map((row) => quantities(row, answer));
    return (each[0] as ReturnType<typeof quantities>).map(({ name, unit, spread }, q) => {
      const y = each.map((row) => (row[q] as { value: number }).value), wide = each.map((row) => 2 * ((row[q] as { spread?: number }).spread ?? 0));
      const title = unit ? `${name} [${unit}]` : name, known = y.filter(Number.isFinite);
      return h("figure", {}, chart([{ x, y, colour: COLOURS[q % COLOURS.length] as string, ...(spread === undefined ? {} : { spread: wide }) }],
        { label: `${title} of ${counted(x.length, "row")}${known.length ? `, from ${plain(Math.min(...known), 3)} to ${plain(Math.max(...known), 3)}` : "; unsure of all"}`, xName: "row", mark, width: 1000 }),
        h("figcaption", {}, spread === undefined ? title : `${title}, with a band of two standard deviations`));
    });
  }
  if (!colours) return [];
  const decisions = found.map((row) => decided(row, answer)), names = classNames(answer, (decisions[0] as { shares: number[] }).shares.length), own = decisions[mark];
  const { lines, key } = classLines(x, decisions.map(({ shares }) => shares), names, colours, own ? own.best : -1);
  const answered = decisions.filter(({ best }) => best >= 0), share = (count: number) => count / answered.length;
  const counts = names.map((_, k) => share(answered.filter(({ best, unsure }) => best === k && !unsure).length)), unsure = share(answered.filter((each) => each.unsure).length);
  const shown = [...colours.keys()].map((k) => names[k]).join(", ");
  return [h("figure", {}, chart(lines, { label: `Probabilities of ${shown} in ${counted(x.length, "row")}`, xName: "row", yName: "probability", mark, low: 0, high: 1, width: 1000 }), key),
    h("div", {}, h("p", { class: "muted small" }, answered.length < found.length ? "Share of the rows that have an answer" : "Share of the rows"),
      bars(unsure ? [...names, "? (unsure)"] : names, unsure ? [...counts, unsure] : counts, -1, colours))];
}

/** A table like that of `predict --format csv`: an input and its answer, or an error, in each row. */
function asCsv({ name, found }: Shown, answer: Answer): string {
  const usable = found.filter((each) => typeof each !== "string"), [first] = usable, bad = usable.length < found.length ? ["error"] : [];
  const input = (k: number) => `${name}:${k}`;
  if (!first) return csv(["input", "error"]) + found.map((row, k) => csv([input(k), row as string])).join("");
  const columns = isOfNumbers(answer) ? ofNumbers(first, answer) : ["answer", ...classNames(answer, decided(first, answer).shares.length)];
  const cells = (row: readonly number[]): (string | number)[] => {
    if (isOfNumbers(answer)) {
      const read = quantities(row, answer);
      return [...read.map(({ value }) => value), ...read.flatMap(({ spread }) => spread ?? []), ...marks(answer, isLost(row, answer) ? "?" : "")];
    }
    const { best, unsure, shares } = decided(row, answer);
    return [unsure ? "?" : (columns[best + 1] as string), ...shares];
  };
  return csv(["input", ...columns, ...bad]) + found.map((row, k) => csv([input(k), ...(typeof row === "string" ? [...columns.map(() => ""), row] : [...cells(row), ...bad.map(() => "")])])).join("");
}

function ofNumbers(row: readonly number[], answer: Answer): string[] {
  const each = quantities(row, answer);
  return [...each.map(({ name }) => name), ...each.flatMap(({ name, spread }) => (spread === undefined ? [] : [`std of ${name}`])), ...marks(answer, "unsure")];
}

/** What stands in the last column of a model that may be unsure of its numbers, which others do not have. */
function marks({ kind, threshold }: Answer, word: string): string[] {
  return kind === "gaussian" && threshold > 0 ? [word] : [];
}

/** The rows in a file of numpy, or in a table (CSV). */
async function rowsOfFile(file: File, width: number): Promise<Row[]> {
  if (file.name.toLowerCase().endsWith(".npy")) return inRows(readNpy(await file.arrayBuffer()), width);
  const found = rowsIn(await file.text(), width), [first] = found;
  if (!first) throw new Error(`expected rows of ${width} numbers, found none`);
  if (found.every((row) => typeof row === "string")) throw new Error(`the first row: ${first as string}`);
  return found;
}

/** The rows of an array. Raises an error where they are not of `width` numbers. */
function inRows(array: Tensor, width: number): Row[] {
  const { shape } = array, count = numbers(array).length / width;
  if (shape.length > 2 || shape[shape.length - 1] !== width || count === 0) throw new Error(`expected an array of the shape (rows, ${width}), found ${written(shape)}`);
  const values = Float32Array.from(numbers(array));
  return Array.from({ length: Math.min(MOST, count) }, (_, k) => values.subarray(k * width, (k + 1) * width));
}
