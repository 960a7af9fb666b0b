// The page of a model that takes rows of a table: a form with a field for each column.

import { field, h } from "../shared/dom";
import { chart } from "../shared/chart";
import { rounded } from "../shared/text";
import { classNames, decided, isOfNumbers, quantities } from "./answers";
import { answerView, COLOURS, legend } from "./parts";
import { rowsOf } from "./pictures";
import type { Model } from "./session";
import type { Answer, Column, Subject } from "./types";

interface Field {
  readonly element: HTMLElement;
  /** The number for the network; words where there is none. */
  read(): number | string;
}

export function tables(subject: Subject, model: Promise<Model>): HTMLElement {
  const answer = subject.answer as Answer, columns = subject.columns as Column[];
  const result = h("div", { "aria-live": "polite" });
  let current = 0;
  const update = async () => {
    const mine = ++current, values = fields.map((each) => each.read());
    const fault = values.find((value) => typeof value === "string");
    if (fault !== undefined) return result.replaceChildren(h("p", { class: "bad" }, String(fault)));
    const [row] = await rowsOf(await model, subject, [{ data: Float32Array.from(values as number[]) }]);
    if (mine !== current) return undefined;
    result.replaceChildren(answerView(row as number[], answer));
    return numeric.length ? vary(values as number[]) : undefined;
  };
  const fields = columns.map((column) => (column.categories?.length ? words(column) : number(column)));
  const form = h("form", { class: "fields" }, ...fields.map(({ element }) => element));
  form.addEventListener("input", () => void update());
  form.addEventListener("submit", (event) => event.preventDefault());
  const numeric = columns.flatMap(({ statistics }, place) => (statistics && statistics.maximum > statistics.minimum ? [place] : []));
  const curve = h("div", { "aria-live": "off" });
  const along = h("select", {}, ...numeric.map((place) => h("option", { value: place }, columns[place]?.name)));
  /** The answers along the range that one column had in training, the other values as they stand in the form. */
  const vary = async (values: readonly number[]) => {
    const place = Number(along.value), { name, unit, statistics } = columns[place] as Column & Required<Pick<Column, "statistics">>;
    const x = Array.from({ length: POINTS }, (_, k) => statistics.minimum + (k / (POINTS - 1)) * (statistics.maximum - statistics.minimum));
    const rows = await rowsOf(await model, subject, x.map((value) => ({ data: Float32Array.from(values, (each, k) => (k === place ? value : each)) })));
    const xName = unit ? `${name} [${unit}]` : name, mark = values[place] as number, inside = mark >= statistics.minimum && mark <= statistics.maximum;
    curve.replaceChildren(...changes(x, rows, answer, xName, inside ? mark : undefined));
  };
  along.addEventListener("change", () => void update());
  void update();
  return h("div", {},
    h("div", { class: "columns" },
      h("section", { class: "panel", "aria-label": "Values" }, h("h2", {}, "Values"), form),
      h("section", { class: "panel stack", "aria-label": "Answer" }, h("h2", {}, "Answer"), result)),
    numeric.length ? h("section", { class: "panel stack", "aria-label": "What if" }, h("h2", {}, "What if one value were another?"), h("div", { class: "narrow" }, field("Column", along)), curve) : undefined);
}

const POINTS = 61;

function changes(x: readonly number[], rows: readonly number[][], answer: Answer, xName: string, mark: number | undefined): Element[] {
  const common = { xName, height: 220, width: 1000, ...(mark === undefined ? {} : { mark }) };
  if (isOfNumbers(answer)) {
    const found = rows.map((row) => quantities(row, answer));
    return (found[0] as ReturnType<typeof quantities>).map(({ name, unit, spread }, q) => {
      const y = found.map((each) => each[q]?.value ?? NaN), wide = found.map((each) => 2 * (each[q]?.spread ?? 0)), yName = unit ? `${name} [${unit}]` : name;
      return chart([{ x, y, colour: COLOURS[q % COLOURS.length] as string, ...(spread === undefined ? {} : { spread: wide }) }], { ...common, yName, label: `${yName} along ${xName}` });
    });
  }
  const shares = rows.map((row) => decided(row, answer).shares), names = classNames(answer, (shares[0] as number[]).length).slice(0, COLOURS.length);
  const lines = names.map((_, k) => ({ x, y: shares.map((each) => each[k] as number), colour: COLOURS[k] as string }));
  return [chart(lines, { ...common, yName: "probability", low: 0, high: 1, label: `Probabilities of ${names.join(", ")} along ${xName}` }), legend(names)];
}

/** Any missing value is NaN, which the network's own nodes replace. */
function number({ name, unit, missing = "refuse", statistics }: Column): Field {
  const usual = statistics ? rounded(statistics.mean, 4) : "0", id = `about-${name}`;
  const input = h("input", { type: "text", inputmode: "decimal", value: usual, autocomplete: "off", "aria-describedby": statistics ? id : undefined });
  const control = field(unit ? `${name} [${unit}]` : name, input);
  const hint = h("span", { class: "muted small", id });
  if (statistics) control.append(hint);
  const can = missing === "refuse" ? "" : "; empty where it is missing";
  const usualHint = statistics ? `${rounded(statistics.minimum, 4)} to ${rounded(statistics.maximum, 4)} in training${can}` : "";
  return {
    element: control,
    read() {
      const text = input.value.trim().replace(",", "."), value = text === "" ? NaN : Number(text);
      const fault = text === "" && missing === "refuse" ? `${name}: a number is needed` : text !== "" && !Number.isFinite(value) ? `${name}: “${input.value}” is no number` : "";
      input.setAttribute("aria-invalid", String(fault !== ""));
      hint.textContent = statistics && isFar(value, statistics) ? `far from training, which had ${usualHint}` : usualHint;
      hint.classList.toggle("bad", !!statistics && isFar(value, statistics));
      return fault || value;
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
  return { element: field(name, select), read: () => Number(select.value) };
}
