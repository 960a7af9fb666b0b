// The page of a convolution or pool: `portable-nn size conv --html page.html`.

import { type Board, boardPicture, cellAt, type Kind as CellKind, kindsOf, kindsOn, MOST_TEXT, nearest, place, type Position } from "./lessons/board";
import { by, choice, copyable, isStill, once, slider, type Slider, speaker, tick } from "./lessons/controls";
import { coverage, explain, fault, type Grid, grid, type Kind, type Mode, onnxText, torchText, type Window } from "./lessons/sizes";
import { type Axis, cellText, commandLine, countsPadding, formulaTable, type Layer, legendOf, outputsOf, readText, remarks, undivided, weightsOf } from "./lessons/words";
import { data, h, root } from "./shared/dom";

interface Data {
  kind: Kind;
  sizes: number[];
  windows: Window[];
  groups: number;
  channels: [number, number];
  mode: Mode;
  countIncludePad: boolean;
  names: Record<Kind, string>;
  mostCells: number;
}

const given = data<Data>();
/** How long the kernel stands at a place while it moves by itself, in milliseconds. */
const PAUSE = 450;
const ONE: Grid = { kinds: ["input"], cut: [0, 0], starts: [0], taps: [0] };

type Field = Exclude<keyof Window, "ceil"> | "size";

/** The controls of an axis: the name, and the range of the slider; a number beside it may be larger. */
const FIELDS: readonly [Field, string, number, number][] = [
  ["size", "Input size", 1, 20],
  ["kernel", "Kernel", 1, 9],
  ["stride", "Stride", 1, 6],
  ["padBegin", "Padding", 0, 6],
  ["padEnd", "Padding at the end", 0, 6],
  ["dilation", "Dilation", 1, 5],
  ["outputPadding", "Output padding", 0, 5],
];
const MOST = 1000;

function firstState() {
  const axes = given.sizes.map((size, axis): Axis => ({ size, ...given.windows[axis] }));
  const [first, second = first] = axes;
  return {
    kind: given.kind,
    axes: given.sizes.length,
    both: [{ ...first }, { ...second }] as [Axis, Axis],
    alike: JSON.stringify(first) === JSON.stringify(second),
    symmetric: axes.every(({ padBegin, padEnd }) => padBegin === padEnd),
    groups: given.groups,
    channels: [...given.channels] as [number, number],
    mode: given.mode,
    countIncludePad: given.countIncludePad,
    counting: given.kind === "convt",
    at: { row: 0, column: 0 } as Position,
  };
}

let state = firstState();

/** The axes that there are, rows first. */
function shown(): Axis[] {
  return state.both.slice(0, state.axes);
}

function layer(): Layer {
  const { kind, groups, channels, mode, countIncludePad } = state, isPool = kind === "pool";
  return { kind, axes: shown(), groups: isPool ? 1 : groups, channels, mode, countIncludePad: isPool && mode === "average" && countIncludePad };
}

// -- what is shown

const answer = h("p", { class: "answer" });
const warning = h("p", { class: "verdict bad", role: "status" });
const boards = h("div", { class: "boards", tabindex: 0, role: "application", "aria-roledescription": "movable kernel" });
const where = h("p", { class: "where" });
const legend = h("ul", { class: "kinds" });
const notes = h("div");
const steps = h("div", { class: "stack" });
const weights = h("div");
const torch = copyable("PyTorch");
const onnx = copyable("ONNX");
const command = copyable("On the command line");
const voice = speaker();

let grids: [Grid, Grid] = [ONE, ONE];
let pictures: [SVGSVGElement, SVGSVGElement] | null = null;

const update = once(() => {
  const axes = shown();
  const faults = axes.map((axis, number) => {
    const said = fault(state.kind, axis, axis.size);
    return said && `${state.axes === 2 && !state.alike ? `${["Rows", "Columns"][number]}: ` : ""}${said}`;
  });
  const fits = faults.every((said) => !said);
  const outputs = outputsOf(layer());
  warning.textContent = [...new Set(faults.filter(Boolean))].join(" ");
  answer.textContent = fits ? `${by(axes.map(({ size }) => size))} → ${by(outputs)}` : "No output";
  voice.say(fits ? `The output is ${by(outputs)}` : warning.textContent);
  drawBoards(fits, outputs);
  notes.replaceChildren(...(fits ? remarks(layer(), mend) : []));
  steps.replaceChildren(...(fits ? formulas() : []));
  spell(fits);
});

/** Takes the options of a change that mends the layer. */
function mend(windows: Window[]): void {
  windows.forEach((window, axis) => {
    const { kernel, stride, dilation, padBegin, padEnd, outputPadding } = window;
    Object.assign(state.both[axis], { kernel, stride, dilation, padBegin, padEnd, outputPadding });
  });
  if (state.axes === 1 || state.alike) state.both[1] = { ...state.both[0] };
  state.symmetric &&= windows.every(({ padBegin, padEnd }) => padBegin === padEnd);
  rebuild();
}

function drawBoards(fits: boolean, outputs: number[]): void {
  pictures = null;
  where.textContent = "";
  legend.replaceChildren();
  play.disabled = !fits;
  if (!fits) {
    boards.replaceChildren();
    return;
  }
  const axes = shown();
  const sides = axes.map((axis) => grid(state.kind, axis, axis.size));
  const longest = Math.max(...sides.map(({ kinds }) => kinds.length), ...outputs);
  if (longest > given.mostCells) {
    boards.replaceChildren(h("p", { class: "muted" }, `A side of ${longest} cells is too long to draw: at most ${given.mostCells}.`));
    play.disabled = true;
    return;
  }
  grids = sides.length === 2 ? [sides[0], sides[1]] : [ONE, sides[0]];
  const covered = axes.map((axis) => coverage(state.kind, axis, axis.size).counts);
  const [down, across] = covered.length === 2 ? covered : [[1], covered[0]];
  const isTransposed = state.kind === "convt";
  const [rows, columns] = grids;
  const moved: Board = {
    rows: kindsOf(rows),
    columns: kindsOf(columns),
    zeros: countsPadding(layer()),
    counts: (row, column) => {
      if (isTransposed || !state.counting) return null;
      const cells = [row - (axes.length === 2 ? axes[0].padBegin : 0), column - axes[axes.length - 1].padBegin];
      return (down[cells[0]] ?? 0) * (across[cells[1]] ?? 0) || (down[cells[0]] === undefined || across[cells[1]] === undefined ? null : 0);
    },
  };
  const output = (counts: number[]) => counts.map((count): CellKind => (isTransposed && !count ? "unread" : "output"));
  const made: Board = {
    rows: output(isTransposed ? down : rows.starts.map(() => 1)),
    columns: output(isTransposed ? across : columns.starts.map(() => 1)),
    zeros: false,
    counts: (row, column) => (isTransposed && state.counting ? down[row] * across[column] : null),
  };
  const padded = by(sides.map(({ kinds }) => kinds.filter((cell) => cell !== "beyond").length));
  const inputs = by(axes.map(({ size }) => size));
  const spread = isTransposed ? `Input ${inputs}, spread out to ${padded}` : padded === inputs ? `Input ${inputs}` : `Input ${inputs}, with padding ${padded}`;
  pictures = [boardPicture(moved, spread), boardPicture(made, `Output ${by(outputs)}`)];
  // Large boards scroll, also with keys.
  const around = { class: "around", ...(longest > MOST_TEXT ? { tabindex: 0 } : {}) };
  const figure = (caption: string, picture: SVGSVGElement) => h("figure", {}, h("figcaption", {}, caption), h("div", around, picture));
  boards.replaceChildren(figure(spread, pictures[0]), figure(`Output ${by(outputs)}`, pictures[1]));
  legend.replaceChildren(...entries([...new Set([...kindsOn(moved), ...kindsOn(made)])]));
  move(state.at);
}

function entries(kinds: CellKind[]): HTMLElement[] {
  const words = legendOf(layer());
  const rows = kinds.map((kind): [string, string] => [`cell ${kind}`, words[kind]]);
  return [...rows, ["tap", "what the kernel reads"], ["now", "what it makes there"]].map(([kind, text]) => h("li", {}, sample(kind), text));
}

function sample(kind: string): SVGSVGElement {
  const picture = boardPicture({ rows: ["input"], columns: ["input"], zeros: false, counts: () => null }, "");
  picture.setAttribute("aria-hidden", "true");
  picture.removeAttribute("role");
  picture.setAttribute("class", "key");
  const cell = picture.querySelector("rect") as SVGRectElement;
  cell.setAttribute("class", kind);
  if (kind === "cell unread") cell.after(Object.assign(cell.cloneNode() as SVGRectElement)), cell.nextElementSibling?.setAttribute("class", "striped");
  return picture;
}

/** Puts the kernel to a place, or as near to it as there is one. */
function move({ row, column }: Position): void {
  if (!pictures) return;
  const clamp = (value: number, { starts }: Grid) => Math.max(0, Math.min(starts.length - 1, value));
  state.at = { row: clamp(row, grids[0]), column: clamp(column, grids[1]) };
  const [rows, columns] = grids.map(({ kinds }) => kinds), unread: CellKind[] = countsPadding(layer()) ? ["beyond"] : ["beyond", "padding"];
  const isRead = (y: number, x: number) => !unread.includes(rows[y]) && !unread.includes(columns[x]);
  place(pictures[0], pictures[1], grids, state.at, isRead);
  const at = state.axes === 2 ? [state.at.row, state.at.column] : [state.at.column];
  where.textContent = readText(layer(), at);
  boards.setAttribute("aria-label", `Kernel at output cell ${cellText(at)}. Arrow keys move it.`);
  voice.say(where.textContent);
}

function formulas(): HTMLElement[] {
  const found = shown().map((axis) => explain(state.kind, axis, axis.size));
  const same = JSON.stringify(found[0]) === JSON.stringify(found[found.length - 1]);
  const titles = state.axes === 1 ? ["Cells"] : same ? ["Rows and columns"] : ["Rows", "Columns"];
  return titles.map((title, number) => formulaTable(title, found[number]));
}

function spell(fits: boolean): void {
  const now = layer();
  const operation = { ...now, windows: now.axes };
  const wrong = undivided(now);
  const line = wrong ? `${now.groups} groups do not divide ${wrong} channels` : torchText(operation, ...now.channels, now.axes.map(({ size }) => size));
  torch.set(fits ? (line ?? "PyTorch has no such layer") : "–");
  onnx.set(fits ? onnxText(operation) : "–");
  command.set(commandLine(now));
  weights.replaceChildren(weightsOf(now));
}

// -- controls

const controls = h("div", { class: "stack" });

function showControls(): void {
  const alike = state.alike || state.axes === 1;
  const parts = (alike ? [0] : [0, 1]).map((axis) => {
    const fields = FIELDS.filter(([name]) => (name !== "outputPadding" || state.kind === "convt") && (name !== "padEnd" || !state.symmetric));
    const elements = fields.map(([name, title, low, high]) => axisSlider(axis, name, name === "padBegin" && !state.symmetric ? "Padding at the begin" : title, low, high).element);
    const title = alike ? "" : ["Rows", "Columns"][axis];
    return h("fieldset", { class: "axis-fields" }, h("legend", { class: title ? "" : "hidden-text" }, title || "Options"), h("div", { class: "fields" }, ...elements));
  });
  controls.replaceChildren(...parts);
}

function axisSlider(axis: number, name: Field, title: string, low: number, high: number): Slider {
  const now = state.both[axis][name];
  return slider(title, now, {
    low,
    high: Math.max(high, Math.min(now, MOST)),
    whole: true,
    most: MOST,
    change: (value) => {
      const targets = state.alike || state.axes === 1 ? state.both : [state.both[axis]];
      for (const target of targets) {
        target[name] = value;
        if (name === "padBegin" && state.symmetric) target.padEnd = value;
      }
      update();
    },
  });
}

const kind = choice("Operation", Object.keys(given.names), state.kind, (value) => {
  state.kind = value as Kind;
  state.counting = value === "convt";
  for (const axis of state.both) {
    if (value !== "convt") axis.outputPadding = 0;
    if (value !== "pool") axis.ceil = false;
  }
  rebuild();
});
const axes = choice("Axes", ["1", "2"], String(state.axes), (value) => {
  state.axes = Number(value);
  rebuild();
});

const toggles = h("div", { class: "row" });
const channelFields = h("div", { class: "fields" });

function chooseMode(mode: string): void {
  state.mode = mode as Mode;
  rebuild();
}

const heading = h("h1");

function rebuild(): void {
  heading.textContent = `What a ${state.kind === "pool" ? "pool" : "convolution"} reads and makes`;
  kind.set(state.kind);
  axes.set(String(state.axes));
  const alike = tick("Rows and columns alike", state.alike, (ticked) => {
    state.alike = ticked;
    if (ticked) state.both[1] = { ...state.both[0] };
    rebuild();
  });
  const symmetric = tick("Padding alike at both ends", state.symmetric, (ticked) => {
    state.symmetric = ticked;
    if (ticked) for (const axis of state.both) axis.padEnd = axis.padBegin;
    rebuild();
  });
  const ceil = tick("Round up (ceil)", state.both[0].ceil, (ticked) => {
    for (const axis of state.both) axis.ceil = ticked;
    update();
  });
  const counted = tick("Count the padding", state.countIncludePad, (ticked) => {
    state.countIncludePad = ticked;
    update();
  });
  const isPool = state.kind === "pool";
  toggles.replaceChildren(
    ...(state.axes === 2 ? [alike] : []), symmetric, ...(isPool ? [ceil] : []), ...(isPool && state.mode === "average" ? [counted] : []),
  );
  const counts = [
    ["Groups", state.groups, (value: number) => (state.groups = value)],
    ["Input channels", state.channels[0], (value: number) => (state.channels[0] = value)],
    ["Output channels", state.channels[1], (value: number) => (state.channels[1] = value)],
  ] as const;
  channelFields.replaceChildren(
    ...(state.kind === "pool" ? [choice("Of each window", ["max", "average", "lp"], state.mode, chooseMode).element] : []),
    ...(state.kind === "pool" ? [] : counts).map(([name, value, set]) =>
      slider(name, value, { low: 1, high: Math.max(16, Math.min(value, MOST)), most: 100_000, whole: true, change: (found) => { set(found); update(); } }).element,
    ),
  );
  counting.replaceChildren(
    tick(state.kind === "convt" ? "How many taps land on each cell" : "How often each cell is read", state.counting, (ticked) => {
      state.counting = ticked;
      update();
    }),
  );
  showControls();
  update();
}

const counting = h("span");
const play = h("button", { type: "button", class: "main" }, "Move the kernel");
let playing = 0;

function stop(): void {
  window.clearInterval(playing);
  playing = 0;
  play.textContent = "Move the kernel";
}

/** Moves the kernel to its next place; false where it is at the last one. */
function advance(): boolean {
  const [rows, columns] = grids.map(({ starts }) => starts.length);
  const next = state.at.row * columns + state.at.column + 1;
  if (next >= rows * columns || !pictures) return false;
  move({ row: Math.floor(next / columns), column: next % columns });
  return true;
}

play.addEventListener("click", () => {
  if (playing) {
    stop();
    return;
  }
  if (isStill()) {
    if (!advance()) move({ row: 0, column: 0 });
    return;
  }
  play.textContent = "Stop";
  move({ row: 0, column: 0 });
  playing = window.setInterval(() => advance() || stop(), PAUSE);
});

const reset = h("button", { type: "button" }, "As at first");
reset.addEventListener("click", () => {
  stop();
  state = firstState();
  rebuild();
});

const KEYS: Readonly<Record<string, readonly [number, number]>> = {
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  Home: [-MOST, -MOST],
  End: [MOST, MOST],
};
boards.addEventListener("keydown", (event) => {
  const step = KEYS[event.key];
  if (!step) return;
  event.preventDefault();
  stop();
  move({ row: state.at.row + step[0], column: state.at.column + step[1] });
});
for (const name of ["pointerdown", "pointermove"] as const) {
  boards.addEventListener(name, (event) => {
    if (!pictures || (event.pointerType !== "mouse" && name === "pointermove" && !event.pressure)) return;
    const [moved, made] = pictures;
    const [rows, columns] = grids;
    const onOutput = cellAt(made, event, rows.starts.length, columns.starts.length);
    const onInput = cellAt(moved, event, rows.kinds.length, columns.kinds.length);
    if (!onOutput && !onInput) return;
    stop();
    if (onOutput) move(onOutput);
    else if (onInput) move({ row: nearest(rows, onInput.row), column: nearest(columns, onInput.column) });
  });
}

// -- the page

function panel(title: string, ...content: (Node | string)[]): HTMLElement {
  return h("section", { class: "panel stack" }, h("h2", {}, title), ...content);
}

root().append(
  heading,
  h("p", { class: "lead" }, "Move the kernel with the mouse, a finger or the arrow keys. Change any option and see which cells are read, and what size comes out."),
  h("section", { class: "panel stack", "aria-label": "The cells" }, answer, warning, boards, where, h("div", { class: "row" }, play, counting), legend),
  h("div", { class: "columns" },
    panel("Options", h("div", { class: "fields" }, kind.element, axes.element), toggles, controls, channelFields, h("div", { class: "row" }, reset)),
    panel("What comes out", notes, torch.element, onnx.element, command.element, weights)),
  panel("The formula, step by step", steps),
  h("footer", {}, `Made by portable-nn size ${given.kind} --html. The page computes everything itself and needs no network.`),
  voice.element,
);
rebuild();
