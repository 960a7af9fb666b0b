// Numbers in text: portable_nn/data/cells.py and tables.py in JavaScript, with their words for what is none.

import { counted, rounded } from "../shared/text";

/** The decimal mark. */
export type Mark = "." | ",";

export const COMMAS = "if these are numbers with decimal commas, say so: “decimal comma”, below the values";

const NUMBER = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;
const INFINITY = /^[+-]?inf(?:inity)?$/i;
const NOT_A_NUMBER = /^[+-]?(?:nan|inf|infinity)$/i;
const COMMA = /^[+-]?\d+,\d+$/;
const MISSING = new Set(["", "NA", "N/A", "n/a", "#N/A", "NULL", "null", "None", "?", ...["", "+", "-"].flatMap((sign) => ["NaN", "nan", "NAN"].map((name) => sign + name))]);
const DELIMITERS = [",", ";", "\t"];

/** Whether a cell says that its value is missing. */
export function isMissing(text: string): boolean {
  return MISSING.has(text.trim());
}

/** The number in a cell, NaN where it is missing; words where there is none that fits into a float32. */
export function numberIn(text: string, mark: Mark = "."): number | string {
  const bare = text.trim();
  if (isMissing(bare)) return NaN;
  const value = number(bare, mark);
  if (value === undefined) return `expected a number, found '${bare}'${mark === "." && COMMA.test(bare) ? `; ${COMMAS}` : ""}`;
  return Number.isFinite(Math.fround(value)) ? value : `${rounded(value)} does not fit into a float32`;
}

/** The number that a text says, infinite if it is too large or says so; undefined where it says none. */
function number(text: string, mark: Mark = "."): number | undefined {
  // Where commas are decimal marks, points are none.
  const pointed = mark === "." ? text : text.replace(/[.,]/g, (each) => (each === "," ? "." : ","));
  if (INFINITY.test(pointed)) return pointed.startsWith("-") ? -Infinity : Infinity;
  return NUMBER.test(pointed) ? Number(pointed) : undefined;
}

/** The cells of the lines of a CSV file that are not blank. Cells may be quoted. */
export function csvLines(text: string, mark: Mark = ".", delimiter?: string): string[][] {
  const own = delimiter ?? delimiterOf(text.slice(0, text.search(/[\r\n]|$/)), mark), found: string[][] = [[]];
  const cells = new RegExp(`[ ]*(?:"((?:[^"]|"")*)"|([^"${own}\\r\\n][^${own}\\r\\n]*|))[ ]*(${own}|\\r?\\n|\\r|$)`, "y");
  const bare = text.replace(/^\ufeff/, "");
  for (let end: string | undefined; end !== "";) {
    const cell = cells.exec(bare);
    if (!cell) throw new Error(`line ${found.length}: a cell in quotes does not end where the next begins`);
    (found[found.length - 1] as string[]).push((cell[1]?.replaceAll('""', '"') ?? (cell[2] as string)).trim());
    end = cell[3] as string;
    if (end && end !== own) found.push([]);
  }
  return found.filter((line) => line.length > 1 || line[0]);
}

/** What separates the cells of a line: what it has most of. */
function delimiterOf(line: string, mark: Mark): string {
  const all = DELIMITERS.filter((each) => each !== mark), counts = all.map((each) => line.split(each).length);
  return all[counts.indexOf(Math.max(...counts))] as string;
}

/** One row of a table: its numbers, or why it has none. */
export type Row = Float32Array | string;

/** Why the model cannot take a row: how many of its numbers are missing or else infinite, and where the first is. */
export function unusable(row: Row): string {
  if (typeof row === "string") return row;
  const gaps = row.some(Number.isNaN), isLost = gaps ? Number.isNaN : (value: number) => !Number.isFinite(value);
  const [lost, all] = [row.filter((value) => isLost(value)), row].map(({ length }) => length.toLocaleString("en"));
  return `expected finite float32 numbers, found ${lost} of ${all} ${gaps ? "missing (NaN)" : "infinite"}, the first at [${row.findIndex((value) => isLost(value))}]`;
}

/** The rows of `width` numbers in the text of a CSV file; a label before them, and a row of headings, are passed over. */
export function rowsIn(text: string, width: number): Row[] {
  const lines = csvLines(text), rows = lines.slice(isCounted(lines) || (lines[0] && isHeading(lines[0])) ? 1 : 0);
  const labelled = rows[0]?.length === width + 1 ? 1 : 0;
  if (labelled && rows.length < lines.length && !lines[0]?.[0]) throw new Error("found a first column without a heading, as for the numbers of rows: without them it can be read");
  return rows.map((cells) => {
    if (cells.length !== width + labelled) {
      const hint = cells.length === 1 && /\s/.test(cells[0] as string) ? ": commas, semicolons or tabs separate columns" : "";
      return `expected ${labelled ? "a label and " : ""}${width} values, found ${counted(cells.length, "cell")}${hint}`;
    }
    const values = cells.slice(labelled).map((cell) => number(cell)), bad = values.findIndex((value) => !Number.isFinite(Math.fround(value ?? NaN)));
    if (bad < 0) return Float32Array.from(values as number[]);
    const cell = cells[bad + labelled] as string;
    return `column ${bad + labelled + 1}: expected a finite number, found ${cell ? `'${cell}'` : "nothing"}`;
  });
}

/** Whether the first line is 0, 1, 2, …, which pandas writes where columns have no names. Raises an error where it may be a row. */
export function isCounted([first = [], second]: readonly string[][]): boolean {
  const numbers = first.slice(first[0] ? 0 : 1), count = first.length;
  if (!second || !numbers.length || numbers.some((cell, place) => cell !== String(place))) return false;
  if (!first[0] || (count >= 3 && second.some((cell) => cell && !/^[+-]*\d+$/.test(cell)))) return true;
  if (count >= 10 && second.some((cell, place) => cell !== String(count + place))) return true;
  throw new Error(`the first line, ${first.slice(0, 3).join(",")}${count > 3 ? ",…" : ""}, may be a row, or the names of the columns as pandas writes them: leave it out if it is these`);
}

/** Whether the cells of a first line are headings: a name, and then names or numbers that count up, as pandas writes. */
function isHeading([first, ...others]: readonly string[]): boolean {
  const isNumber = (cell: string) => number(cell) !== undefined;
  if ((first as string).split(/\s+/).every(isNumber)) return false;
  const numbers = others.map((cell) => number(cell));
  if (numbers.includes(undefined)) return true;
  return !NOT_A_NUMBER.test(first as string) && numbers.every((value, k) => k === 0 || value === (numbers[k - 1] as number) + 1);
}

/** What a spreadsheet would compute, and control characters, as in portable_nn/core/csv_writing.py. */
const FORMULA = /^'*[-=+@\t\uff1d\uff0b\uff0d\uff20]./s;
const COMMAND = /[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;

/** A line of a CSV file, in which no word is a formula. */
export function csv(cells: readonly (string | number | undefined)[]): string {
  return `${cells.map((cell = "") => quoted(typeof cell === "number" ? (Number.isNaN(cell) ? "" : String(cell)) : inert(cell))).join(",")}\n`;
}

function quoted(text: string): string {
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function inert(word: string): string {
  const shown = word.replace(COMMAND, escaped);
  return FORMULA.test(shown) && !NUMBER.test(shown) && !NOT_A_NUMBER.test(shown) ? `'${shown}` : shown;
}

function escaped(character: string): string {
  const code = character.charCodeAt(0);
  return character === "\r" ? "\\r" : code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`;
}
