// The cells of a convolution as SVG: what the kernel moves over, and what it makes.

import { svg } from "../shared/dom";
import type { CellKind, Grid } from "./sizes";

export type Kind = CellKind | "output" | "cut";

/** A cell is of the kind of its row or its column, whichever is later here. */
const ORDER: readonly Kind[] = ["input", "output", "unread", "zero", "padding", "beyond", "ring", "added", "cut"];
const ZEROS: ReadonlySet<Kind> = new Set(["zero", "padding", "ring", "added"]);

/** The side of a cell in the picture. */
const CELL = 24;
/** The fewest pixels of a cell on the screen, which a finger can still hit. */
const SMALLEST = 12;
/** Boards with more cells along a side have no text in them. */
export const MOST_TEXT = 24;

export interface Board {
  rows: Kind[];
  columns: Kind[];
  /** Whether zeros stand in cells that are no input. */
  zeros: boolean;
  /** A number for each cell, row by row; null where there is none. */
  counts: (row: number, column: number) => number | null;
}

export interface Position {
  row: number;
  column: number;
}

/** The kinds of the cells along one axis of what a kernel moves over, with those that padding crops. */
export function kindsOf({ kinds, cut }: Grid): Kind[] {
  return kinds.map((kind, cell) => (cell < cut[0] || cell >= kinds.length - cut[1] ? "cut" : kind));
}

export function kindOf(row: Kind, column: Kind): Kind {
  return ORDER[Math.max(ORDER.indexOf(row), ORDER.indexOf(column))];
}

/** The kinds on a board, in their order. */
export function kindsOn({ rows, columns }: Board): Kind[] {
  const there = new Set(rows.flatMap((row) => columns.map((column) => kindOf(row, column))));
  return ORDER.filter((kind) => there.has(kind));
}

function rectangle(kind: string, row: number, column: number, rows = 1, columns = 1, inset = 0): SVGRectElement {
  return svg("rect", {
    class: kind,
    x: column * CELL + inset,
    y: row * CELL + inset,
    width: columns * CELL - 2 * inset,
    height: rows * CELL - 2 * inset,
  });
}

/** The board, with an empty group of the class "over" for what moves. */
export function boardPicture({ rows, columns, zeros, counts }: Board, label: string): SVGSVGElement {
  const [height, width] = [rows.length * CELL, columns.length * CELL];
  const picture = svg("svg", { class: "board", viewBox: `-1 -1 ${width + 2} ${height + 2}`, role: "img", "aria-label": label });
  // Small boards in large cells, at most as wide as there is room; boards of many cells scroll.
  picture.style.maxWidth = `${Math.max(Math.min(columns.length * 40, 620), columns.length * SMALLEST)}px`;
  picture.style.minWidth = `${columns.length * SMALLEST}px`;
  const stripes = svg(
    "pattern",
    { id: "stripes", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("line", { class: "stripe", x1: 0, x2: 0, y1: 0, y2: 6 }),
  );
  picture.append(svg("defs", {}, stripes));
  const withText = Math.max(rows.length, columns.length) <= MOST_TEXT;
  rows.forEach((one, row) =>
    columns.forEach((other, column) => {
      const kind = kindOf(one, other);
      picture.append(rectangle(`cell ${kind}`, row, column));
      if (kind === "unread") picture.append(rectangle("striped", row, column));
      const count = counts(row, column);
      const text = count !== null ? String(count) : zeros && ZEROS.has(kind) ? "0" : "";
      if (text && withText) {
        const middle = { x: (column + 0.5) * CELL, y: (row + 0.5) * CELL + 4.5, "text-anchor": "middle" };
        picture.append(svg("text", { class: count === null ? "nought" : "count", ...middle }, text));
      }
    }),
  );
  picture.append(svg("g", { class: "over" }));
  return picture;
}

/** Shows the kernel where it stands on one board, and what it makes there on another. */
export function place(
  moved: SVGSVGElement, made: SVGSVGElement, grids: readonly [Grid, Grid], { row, column }: Position,
  isRead: (row: number, column: number) => boolean,
): void {
  const [down, across] = grids;
  const [top, left] = [down.starts[row], across.starts[column]];
  const [tall, wide] = [(down.taps.at(-1) as number) + 1, (across.taps.at(-1) as number) + 1];
  const places = down.taps.flatMap((y) => across.taps.map((x) => [top + y, left + x] as const));
  const taps = places.filter(([y, x]) => isRead(y, x)).map(([y, x]) => rectangle("tap", y, x, 1, 1, 2));
  moved.querySelector(".over")?.replaceChildren(...taps, rectangle("kernel", top, left, tall, wide));
  made.querySelector(".over")?.replaceChildren(rectangle("now", row, column, 1, 1, 1));
  for (const picture of [moved, made]) show(picture);
}

/** Scrolls a board, and not the page, to what moves on it. */
function show(picture: SVGSVGElement): void {
  const last = picture.querySelector(".over")?.lastElementChild, around = picture.parentElement;
  if (!last || !around) return;
  const [cell, seen] = [last.getBoundingClientRect(), around.getBoundingClientRect()];
  around.scrollLeft += Math.max(0, cell.right - seen.right) + Math.min(0, cell.left - seen.left);
  around.scrollTop += Math.max(0, cell.bottom - seen.bottom) + Math.min(0, cell.top - seen.top);
}

/** The cell under a pointer; null beside the board. */
export function cellAt(picture: SVGSVGElement, event: PointerEvent, rows: number, columns: number): Position | null {
  const box = picture.getBoundingClientRect();
  const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
  const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
  return row >= 0 && row < rows && column >= 0 && column < columns ? { row, column } : null;
}

/** The position of the kernel whose middle is nearest to a cell. */
export function nearest({ starts, taps }: Grid, cell: number): number {
  const middle = (taps.at(-1) as number) / 2;
  const far = starts.map((start) => Math.abs(start + middle - cell));
  return far.indexOf(Math.min(...far));
}
