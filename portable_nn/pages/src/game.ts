// The page of a game of two players: `portable-nn simulate run --html lesson.html`.

import { choice, copyable, once, slider, speaker } from "./lessons/controls";
import { type Chance, distances, type MethodData, type Options, pairOf, type Point, seen, simulate, spectrum } from "./lessons/dynamics";
import { planePicture, planePoint } from "./lessons/plane";
import { compiled, type Program } from "./lessons/program";
import { race } from "./lessons/race";
import { noiseControls, rateControls } from "./lessons/rates";
import { commandLine, distanceChart, eigenvaluesOf, factorChart, judgement, numbersOf, type Reading, type Rest } from "./lessons/readings";
import { strategies } from "./lessons/strategies";
import { NEAR, Surface, type View } from "./lessons/surface";
import { data, h, root } from "./shared/dom";
import { rounded } from "./shared/text";

interface Data {
  game: {
    name: string;
    title: string;
    /** Of all numbers, those of x first, and how many each player has. */
    names: string[];
    players: [number, number];
    /** Where the numbers are logits of mixed strategies: the names of the actions. */
    actions: string[];
    payoff: Program;
    rest: Rest | null;
    isProduct: boolean;
    /** A, where f is xᵀAy; of random matrices their mean. */
    matrix: number[][] | null;
    /** The two numbers that are shown at first, by their places. */
    shown: [number, number];
    /** The matrices of which each gradient is that of one; null in a game that is not random. */
    samples: number[][] | null;
  };
  methods: MethodData[];
  compared: string[];
  mostSteps: number;
  /** The options of the command line that choose the game; null where there are none that do. */
  called: string | null;
  /** Factors of the learning rate at step t = 1, 2, …, by name; null where it is constant. */
  decays: Record<string, Program | null>;
  /** Those that `simulate run --rate` knows. */
  named: string[];
  settings: {
    method: string;
    decay: string;
    rate: [number, number];
    start: number[];
    steps: number;
    noise: number;
    seed: number;
    options: Options;
  };
}

const { game, methods, compared, mostSteps, called, decays, named, settings } = data<Data>();
const byName = Object.fromEntries(methods.map((method) => [method.name, method]));

/** How far the view goes, in times of the distance of the start. */
const FARTHEST = 20;
/** What an arrow key moves the start by. */
const NUDGE = 0.05;
const VIEW: View = { turn: 30, tilt: 32 };
const [LOWEST, HIGHEST] = [0, 90];

const state = {
  method: byName[settings.method],
  rate: settings.rate as readonly [number, number],
  decay: settings.decay,
  steps: settings.steps,
  start: [...settings.start],
  chance: { noise: settings.noise, seed: settings.seed, samples: game.samples } as Chance,
  /** The two numbers that are shown, across and up. */
  shown: [...game.shown] as [number, number],
  options: Object.fromEntries(methods.map((method) => [method.name, method.name === settings.method ? settings.options : {}])),
  view: { ...VIEW },
};

let reach = 1;
let isDragging = false;

/** Whether f is x·y, where infinitely small steps go round in circles. */
const { isProduct } = game;
const payoff = compiled(game.payoff);
/** The point with two numbers as they are shown, and the others as at the equilibrium. */
function pointOf(across: number, up: number): number[] {
  const point = [...(game.rest?.at ?? state.start)];
  [point[state.shown[0]], point[state.shown[1]]] = [across, up];
  return point;
}
const f = (across: number, up: number) => payoff(pointOf(across, up))[0];
const gradientStep = compiled(byName["simultaneous"].program.step);
const wide = game.names.length;
/** The mean of the random matrices, or zeros; then no noise. */
const unmoved = game.samples
  ? [...game.samples[0].map((_, place) => (game.samples as number[][]).reduce((sum, row) => sum + row[place], 0) / (game.samples as number[][]).length), ...game.names.map(() => 0)]
  : game.names.map(() => 0);
/** Where the players move: what a step of simultaneous gradient descent-ascent adds, at a rate of 1. */
function field(across: number, up: number): Point {
  const point = pointOf(across, up);
  const after = gradientStep([...point, 1, 1, ...unmoved]);
  return state.shown.map((place) => after[place] - point[place]);
}
const namesShown = () => state.shown.map((place) => game.names[place]) as [string, string];
const startShown = () => state.shown.map((place) => state.start[place]) as [number, number];
const restShown = () => game.rest && state.shown.map((place) => (game.rest as Rest).at[place]);

// -- what is shown

const canvas = h("canvas", { role: "img" });
const surface = new Surface(canvas);
const plane = h("div", { tabindex: 0, role: "application", "aria-roledescription": "movable start" });
const circle = h("div", { class: "stack" });
const lengths = h("div");
const ratios = h("div");
const verdict = h("p", { class: "verdict" });
const numbers = h("div");
const about = h("p", { class: "small muted" });
const command = copyable("The same on the command line");
const voice = speaker();
const contest = game.rest && race(methods, compared, game.rest);

function reachOf(path: Float64Array): number {
  const start = Math.max(...startShown().map(Math.abs), 0.1);
  const largest = path.reduce((most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most), 0);
  return 1.1 * Math.min(Math.max(largest, 1.1 * start), FARTHEST * start);
}

const update = once(() => {
  const { method, rate, steps, start, chance, shown } = state;
  const { rest } = game;
  const options = state.options[method.name];
  const decay = decays[state.decay];
  const path = simulate(method, start, rate, steps, options, decay, chance);
  const shadow = seen(path, wide, shown), names = namesShown();
  if (!isDragging) reach = reachOf(shadow);
  drawSurface(shadow);
  plane.replaceChildren(planePicture({ path: shadow, reach, names, field, equilibrium: restShown(), orbit: orbit() }, "The path from above, with arrows along which the players are drawn"));
  const where = names.map((name, place) => `${name} ${rounded(start[shown[place]])}`).join(", ");
  plane.setAttribute("aria-label", `The start is at ${where}. Arrow keys move it.`);
  about.textContent = `${method.title} (${method.source})`;
  mixed?.draw(path);
  if (!rest) return;
  const far = distances(path, rest);
  const found = decay ? null : spectrum(method, rate, options);
  read({ method, rate, steps, start, chance, options, rest, far, path, decay: decay ? state.decay : "constant", found });
  contest?.update({ start, rate, decay, chance, shown, names, options: state.options });
});

/** Half of the width and of the height of the ellipse that infinitely small steps stay on; null where they do not. */
function orbit(): Point | null {
  const [[x, y], [first, second]] = [state.start, pairOf(state.rate)];
  const square = (x * x) / first + (y * y) / second;
  return isProduct && Number.isFinite(square) ? [Math.sqrt(square * first), Math.sqrt(square * second)] : null;
}

function read(reading: Reading): void {
  const [words, kind] = judgement(reading);
  verdict.textContent = words;
  verdict.className = `verdict ${kind}`;
  voice.say(words);
  numbers.replaceChildren(numbersOf(reading));
  circle.replaceChildren(...eigenvaluesOf(reading));
  lengths.replaceChildren(distanceChart(reading, lengths.clientWidth));
  ratios.replaceChildren(factorChart(reading, ratios.clientWidth));
  if (called !== null) command.set(commandLine(reading, called, named.includes(reading.decay)));
}

let drawn: Float64Array = new Float64Array(2);
function drawSurface(path: Float64Array = drawn): void {
  drawn = path;
  surface.draw({ payoff: f, reach, path, names: namesShown(), equilibrium: restShown() }, state.view);
  canvas.setAttribute("aria-label", `The surface f = ${game.title} with the path of ${state.method.name}, which starts at (${state.start.map((value) => rounded(value)).join(", ")})`);
}

// -- controls

const optionFields = h("div", { class: "fields" });

function showOptions(): void {
  const { method } = state;
  optionFields.replaceChildren(
    ...method.options.filter(({ name }) => !(name in method.fixed)).map((option) => {
      const now = state.options[method.name][option.name] ?? option.default;
      const [low, high] = [option.low ?? -1, Math.min(option.high ?? 2, option.whole ? 20 : 2)];
      const control = slider(`${option.name}: ${option.meaning}`, now ?? state.rate[0], {
        low,
        high,
        whole: option.whole,
        least: option.low ?? -1e6,
        most: option.high ?? 1e6,
        change: (value) => {
          state.options[method.name] = { ...state.options[method.name], [option.name]: value };
          update();
        },
      });
      return control.element;
    }),
  );
}

const method = choice("Method", methods.map(({ name }) => name), state.method.name, (name) => {
  state.method = byName[name];
  showOptions();
  update();
});
const rate = rateControls(state.rate, (both) => {
  state.rate = both;
  if (state.method.options.some(({ name, default: usual }) => usual === null && state.options[state.method.name][name] == null)) showOptions();
  update();
});
const chance = noiseControls(state.chance, (change) => {
  state.chance = { ...state.chance, ...change };
  update();
});
const decay = choice("Decay of the learning rate, step by step", Object.keys(decays), state.decay, (name) => {
  state.decay = name;
  update();
});
const steps = slider("Steps", state.steps, {
  low: 1,
  high: Math.max(2000, state.steps),
  count: 300,
  logarithmic: true,
  whole: true,
  most: mostSteps,
  change: (value) => {
    state.steps = value;
    update();
  },
});
const starts = game.names.map((name, place) =>
  slider(`Start ${name}`, state.start[place], {
    low: -2,
    high: 2,
    least: -1e6,
    most: 1e6,
    change: (value) => {
      state.start[place] = value;
      update();
    },
  }),
);

/** Moves the start to a point, of which some numbers may be left as they are. */
function moveTo(point: readonly (number | undefined)[]): void {
  state.start = state.start.map((value, place) => (point[place] === undefined ? value : Number(point[place].toPrecision(3))));
  starts.forEach((control, place) => control.set(state.start[place]));
  update();
}

function moveStart([across, up]: Point): void {
  moveTo(state.start.map((_, place) => (place === state.shown[0] ? across : place === state.shown[1] ? up : undefined)));
}

/** Which numbers are shown; the same number twice would be a line, so that the other one changes. */
const shownFields = (["Shown across", "Shown up"] as const).map((name, axis) =>
  choice(name, game.names, game.names[state.shown[axis]], (chosen) => {
    const [place, other] = [game.names.indexOf(chosen), 1 - axis];
    if (state.shown[other] === place) state.shown[other] = state.shown[axis];
    state.shown[axis] = place;
    shownFields.forEach((field, number) => field.set(game.names[state.shown[number]]));
    update();
  }),
);

const mixed = game.actions.length === 3 ? strategies(game.actions, game.players, moveTo) : null;

const turn = slider("Turn", state.view.turn, { low: -180, high: 180, whole: true, bare: true, change: (value) => look({ turn: value }) });
const tilt = slider("Tilt", state.view.tilt, { low: LOWEST, high: HIGHEST, whole: true, bare: true, change: (value) => look({ tilt: value }) });

function look(change: Partial<View>): void {
  Object.assign(state.view, change);
  turn.set(Math.round(state.view.turn));
  tilt.set(Math.round(state.view.tilt));
  redraw();
}
const redraw = once(() => drawSurface());

const reset = h("button", { type: "button" }, "As at first");
reset.addEventListener("click", () => {
  Object.assign(state, { method: byName[settings.method], decay: settings.decay, steps: settings.steps });
  state.shown = [...game.shown];
  shownFields.forEach((field, axis) => field.set(game.names[state.shown[axis]]));
  Object.assign(state, { rate: settings.rate, chance: { ...state.chance, noise: settings.noise, seed: settings.seed } });
  for (const { name } of methods) state.options[name] = name === settings.method ? settings.options : {};
  method.set(settings.method);
  rate.set(settings.rate);
  chance.set(state.chance);
  decay.set(settings.decay);
  steps.set(settings.steps);
  moveTo(settings.start);
  look(VIEW);
  showOptions();
});

// -- the pointer: on the surface it turns it, or drags the start; on the plane it drags the start

function pixelOf(event: PointerEvent): [number, number] {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

let turning: { x: number; y: number; view: View } | null = null;
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  if (surface.isNearStart(pixelOf(event))) isDragging = true;
  else turning = { x: event.clientX, y: event.clientY, view: { ...state.view } };
});
canvas.addEventListener("pointermove", (event) => {
  if (isDragging) moveStart(surface.pointAt(pixelOf(event), startShown()));
  else if (turning) {
    const angle = turning.view.turn + (event.clientX - turning.x) * 0.5;
    const tilted = turning.view.tilt + (event.clientY - turning.y) * 0.4;
    look({ turn: ((angle + 540) % 360) - 180, tilt: Math.max(LOWEST, Math.min(HIGHEST, tilted)) });
  }
});
// A finger on the start drags it; elsewhere it may scroll the page.
canvas.addEventListener("touchstart", (event) => {
  const box = canvas.getBoundingClientRect();
  const { clientX, clientY } = event.touches[0];
  if (surface.isNearStart([clientX - box.left, clientY - box.top])) event.preventDefault();
}, { passive: false });

function isOnHandle({ clientX, clientY }: { clientX: number; clientY: number }): boolean {
  const box = (plane.querySelector(".handle") as SVGElement).getBoundingClientRect();
  return Math.hypot(clientX - box.x - box.width / 2, clientY - box.y - box.height / 2) < NEAR;
}

plane.addEventListener("touchstart", (event) => {
  if (isOnHandle(event.touches[0])) event.preventDefault();
}, { passive: false });
plane.addEventListener("click", planeMove);

function planeMove(event: MouseEvent): void {
  const box = (plane.firstElementChild as SVGElement).getBoundingClientRect();
  const scale = 400 / box.width;
  moveStart(planePoint((event.clientX - box.left) * scale, (event.clientY - box.top) * scale, reach));
}
plane.addEventListener("pointerdown", (event) => {
  if (event.pointerType === "touch" && !isOnHandle(event)) return; // It may scroll the page.
  plane.setPointerCapture(event.pointerId);
  isDragging = true;
  planeMove(event);
});
plane.addEventListener("pointermove", (event) => {
  if (isDragging) planeMove(event);
});
for (const element of [canvas, plane]) {
  for (const name of ["pointerup", "pointercancel"]) {
    element.addEventListener(name, () => {
      turning = null;
      if (isDragging) {
        isDragging = false;
        update();
      }
    });
  }
}

const KEYS: Readonly<Record<string, Point>> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
plane.addEventListener("keydown", (event) => {
  const move = KEYS[event.key];
  if (!move) return;
  event.preventDefault();
  const size = event.shiftKey ? 5 * NUDGE : NUDGE;
  const [across, up] = startShown();
  moveStart([across + move[0] * size, up + move[1] * size]);
});

// -- the page

function panel(title: string, ...content: (Node | string)[]): HTMLElement {
  return h("section", { class: "panel stack" }, h("h2", {}, title), ...content);
}

const hint = (text: string) => h("p", { class: "small muted" }, text);

/** A as a table. */
function matrixOf(rows: number[][]): HTMLElement {
  const cells = rows.map((row) => h("tr", {}, ...row.map((entry) => h("td", { class: "number" }, rounded(entry, 4)))));
  const caption = game.samples ? `A, the mean of ${game.samples.length.toLocaleString("en")} matrices` : "A";
  return h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": caption }, h("table", { class: "matrix" }, h("caption", {}, caption), h("tbody", {}, ...cells)));
}

const isLarge = wide > 2;
const slice = game.rest ? `The surface is f where all other numbers are those of ${game.rest.at.some(Boolean) ? "the point where F = 0" : "the origin"}` : "The surface is f where all other numbers are those of the start";
const round = isProduct ? " The dashed line is where infinitely small steps stay." : "";

root().append(
  h("h1", {}, `Two players on f = ${game.title}`),
  h("p", { class: "lead" }, "x makes f larger, y makes it smaller, and both follow their own gradients. Turn the surface, drag the start, change how they move, and see why they come to rest or not."),
  h("div", { class: "columns" },
    panel("The surface", h("figure", { class: "picture" }, canvas), h("div", { class: "fields" }, turn.element, tilt.element), hint("Drag the surface to turn it, and the orange start to move it."),
      ...(isLarge ? [h("div", { class: "fields" }, ...shownFields.map(({ element }) => element)), hint(`Of ${wide} numbers two are shown. ${slice}; the path is its shadow there.`)] : []),
      ...(game.matrix ? [matrixOf(game.matrix)] : [])),
    panel("How they move", method.element, about, rate.element, h("div", { class: "fields" }, steps.element, ...starts.map(({ element }) => element)), decay.element, optionFields, chance.element, h("div", { class: "row" }, reset))),
  ...(game.rest ? [panel("What happens", verdict, numbers, ...(called === null ? [] : [command.element]))] : []),
  ...(mixed ? [panel("Mixed strategies", mixed.element)] : []),
  h("div", { class: "columns" },
    panel("From above", plane, hint(`Click, drag or use the arrow keys to move the start.${round}${isLarge ? " The arrows are those of the surface's slice." : ""}`)),
    panel("Eigenvalues and the unit circle", circle, hint("What a step does to the players is a matrix. Its eigenvalues inside of the circle: they come nearer; outside: they move away. Small dots are other learning rates."))),
  ...(game.rest ? [h("div", { class: "columns" }, panel(`Distance from ${game.rest.name}`, lengths), panel("Factor of each step", ratios))] : []),
  ...(contest ? [contest.element] : []),
  h("footer", {}, "Made by portable-nn simulate run --html. The page computes everything itself and needs no network."),
  voice.element,
);
showOptions();
update();
new ResizeObserver(update).observe(canvas);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
