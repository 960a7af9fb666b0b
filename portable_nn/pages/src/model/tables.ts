// The page of a model that takes rows of a table: a form with a field for each column.

import { chart } from "../shared/chart";
import { field, h } from "../shared/dom";
import { counted, plain } from "../shared/text";
import { classNames, decided, isOfNumbers, isUsable, likeliest, quantities } from "./answers";
import { csvLines, isCounted, isMissing, numberIn, type Mark } from "./cells";
import { insidePanel, renew } from "./inside";
import { answerView, classLines, COLOURS, fileButton, palette, refusal, type Colours } from "./parts";
import { feedsOf, rowsOf } from "./pictures";
import type { Model } from "./session";
import type { Answer, Column, Subject } from "./types";

const FEW = 16; // Columns that are found without a search.
const POINTS = 61;

interface Field {
  readonly element: HTMLElement;
  /** The number for the network; words where there is none. */
  read(mark: Mark): number | string;
  /** Puts a cell of a table into the field. Gives the reason where it does not fit. */
  fill(cell: string): string | undefined;
  /** Says the same number with another decimal mark. */
  respell(mark: Mark): void;
}

export function tables(subject: Subject, model: Promise<Model>): HTMLElement {
  const answer = subject.answer as Answer, columns = subject.columns as Column[];
  const result = h("div", { "aria-live": "polite" }), colour = palette();
  let current = 0, mark: Mark = ".";
  const update = async () => {
    renew(look);
    try {
      await answered();
    } catch (error) {
      curve.replaceChildren();
      result.replaceChildren(refusal(error as Error));
    }
  };
  const inside = () => {
    const values = fields.map((each) => each.read(mark)), fault = values.find((value) => typeof value === "string");
    if (typeof fault === "string") throw new Error(fault);
    const data = Float32Array.from(values as number[]);
    return feedsOf(subject, Array.from({ length: answer.batch ?? 1 }, () => ({ data })));
  };
  const look = insidePanel(subject, model, inside);
  const answered = async () => {
    const mine = ++current, values = fields.map((each) => each.read(mark));
    const fault = values.find((value) => typeof value === "string");
    if (fault !== undefined) {
      curve.replaceChildren();
      return result.replaceChildren(h("p", { class: "bad" }, String(fault)));
    }
    const [row] = await rowsOf(await model, subject, [{ data: Float32Array.from(values as number[]) }]) as [number[]];
    if (mine !== current) return undefined;
    const colours = numeric.length && isUsable(row) && !isOfNumbers(answer) ? colour(likeliest(decided(row, answer).shares, COLOURS.length)) : undefined;
    result.replaceChildren(answerView(row, answer, colours));
    return numeric.length ? vary(values as number[], row, colours) : undefined;
  };
  const fields = columns.map((column) => (column.categories?.length ? words(column) : number(column)));
  const form = h("form", { class: columns.length > 2 * FEW ? "fields form long" : "fields form" }, ...fields.map(({ element }) => element));
  form.addEventListener("input", () => void update());
  form.addEventListener("submit", (event) => event.preventDefault());
  const numeric = columns.flatMap(({ statistics }, place) => (statistics && statistics.maximum > statistics.minimum ? [place] : []));
  const curve = h("div", { "aria-live": "off" });
  const along = h("select", {}, ...numeric.map((place) => h("option", { value: place }, columns[place]?.name)));
  /** The answers along the range that one column had in training, the other values as they stand in the form. */
  const vary = async (values: readonly number[], row: readonly number[], colours: Colours | undefined) => {
    const mine = current, place = Number(along.value), { name, unit, statistics } = columns[place] as Column & Required<Pick<Column, "statistics">>;
    const x = Array.from({ length: POINTS }, (_, k) => statistics.minimum + (k / (POINTS - 1)) * (statistics.maximum - statistics.minimum));
    const rows = await rowsOf(await model, subject, x.map((value) => ({ data: Float32Array.from(values, (each, k) => (k === place ? value : each)) })));
    if (mine !== current) return;
    const xName = unit ? `${name} [${unit}]` : name, here = values[place] as number, inside = here >= statistics.minimum && here <= statistics.maximum;
    curve.replaceChildren(...changes(x, rows, answer, xName, inside ? here : undefined, row, colours));
  };
  along.addEventListener("change", () => void update());
  const comma = h("input", { type: "checkbox" });
  comma.addEventListener("change", () => {
    mark = comma.checked ? "," : ".";
    fields.forEach((each) => each.respell(mark));
    void update();
  });
  void update();
  return h("div", {},
    h("div", { class: "columns" },
      h("section", { class: "panel stack", "aria-label": "Values" }, h("h2", {}, "Values"), columns.length > FEW ? search(columns, fields) : undefined, form,
        h("label", { class: "check small" }, comma, "decimal comma"),
        columns.length > 1 ? pasted(columns, fields, () => mark, () => void update()) : undefined),
      h("section", { class: "panel stack", "aria-label": "Answer" }, h("h2", {}, "Answer"), result)),
    numeric.length ? h("section", { class: "panel stack", "aria-label": "What if" }, h("h2", {}, "What if one value were another?"), h("div", { class: "narrow" }, field("Column", along)), curve) : undefined,
    look);
}

/** A field that shows the columns with some letters in their names alone. */
function search(columns: readonly Column[], fields: readonly Field[]): HTMLElement {
  const input = h("input", { type: "text", autocomplete: "off", spellcheck: "false" }), found = h("output", { class: "muted" }, counted(columns.length, "column"));
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    const shown = columns.map(({ name }) => name.toLowerCase().includes(wanted));
    fields.forEach(({ element }, k) => { element.hidden = !shown[k]; });
    found.textContent = wanted ? `${shown.filter(Boolean).length} of ${columns.length} columns` : counted(columns.length, "column");
  });
  return field("Find a column", input, found);
}

/** All fields at once, from a row of a table as text. */
function pasted(columns: readonly Column[], fields: readonly Field[], mark: () => Mark, done: () => void): HTMLElement {
  const text = h("textarea", { rows: 3, spellcheck: "false" }), said = h("p", { class: "small muted", "aria-live": "polite" });
  const fill = () => {
    try {
      const { cells, count } = firstRow(text.value, columns.map(({ name }) => name), mark());
      const faults = fields.flatMap((each, k) => each.fill(cells[k] as string) ?? []);
      if (faults.length) throw new Error(faults[0]);
      said.className = "small muted";
      said.textContent = count > 1 ? `Filled in with the first of ${count} rows.` : "Filled in.";
    } catch (error) {
      said.className = "small bad";
      said.textContent = (error as Error).message;
    }
    done();
  };
  const file = fileButton("From a CSV file…", ".csv,.tsv,.txt", async ([chosen]) => {
    if (!chosen) return;
    text.value = await chosen.slice(0, 2 ** 20).text();
    fill();
  });
  return h("details", {}, h("summary", {}, "Fill in from a row of a table"),
    h("div", { class: "stack" }, field("A line of names and a line of values, or the values alone", text), h("div", { class: "row" }, h("button", { type: "button", onclick: fill }, "Fill in"), file), said));
}

/** The cells of the first row of a table for the columns `names`, which its first line names, or which it has in this order. */
export function firstRow(text: string, names: readonly string[], mark: Mark = "."): { cells: string[]; count: number } {
  // What is copied from a spreadsheet has tabs, whatever its decimal mark.
  const lines = csvLines(text, mark, /^[^\r\n]*\t/.test(text) ? "\t" : undefined), [first = []] = lines, isNumber = (cell: string) => !isMissing(cell) && [".", ","].some((each) => typeof numberIn(cell, each as Mark) === "number");
  const named = names.every((name) => first.includes(name)) || !first.some(isNumber), rows = lines.slice(named || isCounted(lines) ? 1 : 0);
  if (!rows[0]) throw new Error(named && first.length ? "expected a row below the names of the columns, found none" : "expected a row of a table, found none");
  if (!named && first.length !== names.length) throw new Error(`expected ${names.length} columns, or a first line with their names; found ${first.length} without names`);
  const absent = named ? names.filter((name) => !first.includes(name)) : [];
  if (absent.length) throw new Error(`the table has no column ${absent.slice(0, 5).map((name) => `'${name}'`).join(", ")}${absent.length > 5 ? ", …" : ""}`);
  if (rows[0].length !== first.length) throw new Error(`expected ${first.length} cells, as the first line has, found ${rows[0].length}`);
  return { cells: named ? names.map((name) => (rows[0] as string[])[first.indexOf(name)] as string) : rows[0], count: rows.length };
}

function changes(
  x: readonly number[], rows: readonly number[][], answer: Answer, xName: string, mark: number | undefined, row: readonly number[], colours: Colours | undefined,
): Element[] {
  const common = { xName, height: 220, width: 1000, ...(mark === undefined ? {} : { mark }) };
  const usable = rows.map((each) => (isUsable(each) ? each : each.map(() => NaN))); // Gaps.
  if (isOfNumbers(answer)) {
    const found = usable.map((each) => quantities(each, answer));
    return (found[0] as ReturnType<typeof quantities>).map(({ name, unit, spread }, q) => {
      const y = found.map((each) => each[q]?.value ?? NaN), wide = found.map((each) => 2 * (each[q]?.spread ?? 0)), yName = unit ? `${name} [${unit}]` : name;
      return chart([{ x, y, colour: COLOURS[q % COLOURS.length] as string, ...(spread === undefined ? {} : { spread: wide }) }], { ...common, yName, label: `${yName} along ${xName}` });
    });
  }
  if (!colours) return [];
  const shares = usable.map((each) => decided(each, answer).shares), names = classNames(answer, (shares[0] as number[]).length);
  const { lines, key } = classLines(x, shares, names, colours, decided(row, answer).best);
  const drawn = [...colours.keys()].map((place) => names[place]).join(", ");
  return [chart(lines, { ...common, yName: "probability", low: 0, high: 1, label: `Probabilities of ${drawn} along ${xName}` }), key];
}

/** Any missing value is NaN, which the network's own nodes replace. */
function number({ name, unit, missing = "refuse", statistics }: Column): Field {
  const usual = statistics ? plain(statistics.mean, 4, false) : "0";
  const input = h("input", { type: "text", inputmode: "decimal", value: usual, autocomplete: "off" });
  const control = field(unit ? `${name} [${unit}]` : name, input);
  const hint = h("span", { class: "muted small", id: `${input.id}-about` });
  if (statistics) {
    control.append(hint);
    input.setAttribute("aria-describedby", hint.id);
  }
  const can = missing === "refuse" ? "" : "; empty where it is missing";
  const usualHint = statistics ? `${plain(statistics.minimum, 4)} to ${plain(statistics.maximum, 4)} in training${can}` : "";
  let spelled: Mark = ".";
  return {
    element: control,
    read(mark) {
      spelled = mark;
      const found = numberIn(input.value, mark), value = typeof found === "number" ? found : NaN;
      const fault = typeof found === "string" ? found : Number.isNaN(found) && missing === "refuse" ? "the value is missing, as none was in training" : "";
      input.setAttribute("aria-invalid", String(fault !== ""));
      hint.textContent = statistics && isFar(value, statistics) ? `far from training, which had ${usualHint}` : usualHint;
      hint.classList.toggle("bad", !!statistics && isFar(value, statistics));
      return fault ? `column '${name}': ${fault}` : value;
    },
    fill(cell) {
      input.value = isMissing(cell) ? "" : cell;
      return undefined;
    },
    respell(mark) {
      if (typeof numberIn(input.value, spelled) === "number") input.value = input.value.replace(spelled, mark);
    },
  };
}

/** As `predict` warns: ten times the range of training beyond it. */
function isFar(value: number, { minimum, maximum }: NonNullable<Column["statistics"]>): boolean {
  const reach = 10 * (maximum - minimum);
  return reach > 0 && (value < minimum - reach || value > maximum + reach);
}

function words({ name, categories = [], unknown = "refuse", missing = "refuse" }: Column): Field {
  const select = h("select", {}, ...categories.map((word, place) => h("option", { value: place }, word)),
    unknown === "other" ? h("option", { value: -1 }, "another") : undefined,
    missing === "refuse" ? undefined : h("option", { value: "NaN" }, "missing"));
  return {
    element: field(name, select),
    read: () => Number(select.value),
    fill(cell) {
      const code = numberIn(cell), place = categories.findIndex((each) => each === cell || each === String(code)), value = place >= 0 ? String(place) : isMissing(cell) ? "NaN" : "-1";
      if (![...select.options].some((option) => option.value === value)) {
        return `column '${name}': ${value === "NaN" ? "the value is missing, as none was in training" : `'${cell}' is none of the categories ${categories.slice(0, 8).join(", ")}${categories.length > 8 ? ", …" : ""}`}`;
      }
      select.value = value;
      return undefined;
    },
    respell: () => undefined,
  };
}
