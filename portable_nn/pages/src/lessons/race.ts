// A race of methods from one start, at equal numbers of gradients.

import { h, svg } from "../shared/dom";
import { rounded } from "../shared/text";
import type { Program } from "./program";
import { chart } from "./chart";
import { tracksPicture } from "./plane";
import { factor, isStill, once, slider, tick } from "./controls";
import type { Rest } from "./readings";
import { type Chance, distances, type MethodData, type Options, type Point, type Rate, seen, simulate, spectrum } from "./dynamics";

/** How long the race takes to be shown, in milliseconds. */
const DURATION = 7000;
const COLOURS = 8;
const [FEWEST, MOST] = [20, 5000];
/** How far the plane goes at least and at most, in times of the larger coordinate of the start. */
const [NARROW, WIDE] = [1.7, 6];

export interface Settings {
  start: Point;
  rate: Rate;
  chance: Chance;
  /** The factor of the rate at each step; null where that is constant. */
  decay: Program | null;
  /** Of the methods that have others than the default. */
  options: Readonly<Record<string, Options>>;
  /** The two numbers that are shown, by their places, and their names. */
  shown: readonly [number, number];
  names: readonly [string, string];
}

interface Runner {
  method: MethodData;
  class: string;
  path: Float64Array;
  /** Pairs of gradients and distance. */
  points: [number, number][];
  cell: HTMLElement;
}

function classOf(place: number): string {
  return `series-${place % COLOURS} dashes-${Math.floor(place / COLOURS) % 3}`;
}

function swatch(kind: string): SVGSVGElement {
  const line = svg("line", { class: kind, x1: 0, x2: 24, y1: 5, y2: 5 });
  return svg("svg", { class: "swatch", viewBox: "0 0 24 10", "aria-hidden": "true" }, line);
}

export function race(methods: MethodData[], compared: readonly string[], rest: Rest): {
  element: HTMLElement;
  update(settings: Settings): void;
} {
  const chosen = new Set(compared);
  let settings: Settings | null = null;
  let runners: Runner[] = [];
  let gradients = 500;
  let now = gradients;
  let playing = 0;

  const picture = h("div");
  const plane = h("div");
  const rows = h("tbody");
  const button = h("button", { type: "button", class: "main" }, "Start the race");
  const clock = slider("Gradients so far", now, { low: 0, high: gradients, whole: true, count: gradients, change: show });
  let clockElement = clock.element;
  let setClock = clock.set;

  function show(value: number): void {
    stop();
    now = value;
    draw();
  }

  function stop(): void {
    cancelAnimationFrame(playing);
    playing = 0;
    button.textContent = "Start the race";
  }

  button.addEventListener("click", () => {
    if (playing) {
      stop();
      return;
    }
    if (isStill()) {
      show(gradients);
      setClock(now);
      return;
    }
    const begin = performance.now() - (now < gradients ? (now / gradients) * DURATION : 0);
    const frame = (time: number) => {
      now = Math.min(gradients, Math.max(0, Math.round(((time - begin) / DURATION) * gradients)));
      setClock(now);
      draw();
      if (now >= gradients) stop();
      else playing = requestAnimationFrame(frame);
    };
    button.textContent = "Stop";
    playing = requestAnimationFrame(frame);
  });

  function run(): void {
    if (!settings) return;
    const { start, rate, decay, options, chance } = settings;
    runners = methods
      .filter((method) => chosen.has(method.name))
      .map((method, place) => {
        const steps = Math.floor(gradients / method.cost);
        const path = simulate(method, start, rate, steps, options[method.name], decay, chance);
        const far = distances(path, rest);
        const points = Array.from(far, (distance, step): [number, number] => [step * method.cost, distance]);
        return { method, class: classOf(place), path, points, cell: h("td", { class: "number" }) };
      });
    const last = ({ points }: Runner) => points.at(-1)?.[1] ?? Number.NaN;
    const order = [...runners].sort((a, b) => (last(a) < last(b) || Number.isNaN(last(b)) ? -1 : 1));
    rows.replaceChildren(
      ...order.map(({ method, class: kind, cell }) => {
        const radius = decay ? undefined : spectrum(method, rate, options[method.name])?.radius;
        const each = radius === undefined ? "–" : factor(radius ** (1 / method.cost));
        return h(
          "tr",
          {},
          h("th", { scope: "row" }, h("span", { class: "row" }, swatch(kind), method.name)),
          cell,
          h("td", { class: "number" }, radius === undefined ? "–" : factor(radius)),
          h("td", { class: "number" }, String(method.cost)),
          h("td", { class: "number" }, each),
        );
      }),
    );
    draw();
  }

  function draw(): void {
    const heights = runners.flatMap(({ points }) => points.map(([, distance]) => distance));
    const inside = heights.filter((distance) => Number.isFinite(distance) && distance > 0);
    const low = Math.max(1e-12, inside.reduce((a, b) => Math.min(a, b), 1));
    const high = Math.min(1e12, inside.reduce((a, b) => Math.max(a, b), 1));
    for (const { points, method, cell } of runners) {
      const place = Math.min(points.length - 1, Math.floor(now / method.cost));
      cell.textContent = Number.isNaN(points[place][1]) ? "not defined" : rounded(points[place][1], 4);
    }
    drawPlane();
    picture.replaceChildren(
      chart({
        label: `The distance of each method from ${rest.name}, by gradients; the table below has the numbers`,
        width: picture.clientWidth,
        height: Math.max(260, Math.min(400, 0.8 * picture.clientWidth)),
        x: "gradients",
        y: "distance",
        logarithmic: true,
        range: [0, gradients],
        span: [low, high],
        series: runners.map(({ method, class: kind, points }) => ({
          name: method.name,
          class: kind,
          points: points.filter(([spent, distance]) => spent <= now && distance >= low && distance <= high),
        })),
      }),
    );
  }

  /** Where they are in the plane, which shows the whole way of half of them, or a little more than where they start. */
  function drawPlane(): void {
    if (!settings) return;
    const { start, shown, names } = settings;
    const begin = Math.max(...shown.flatMap((place) => [start[place], rest.at[place]]).map(Math.abs), 0.1);
    const farthest = runners.map(({ path }) => seen(path, start.length, shown).reduce((most, value) => (Math.abs(value) > most ? Math.abs(value) : most), 0));
    const middle = farthest.sort((a, b) => a - b)[Math.floor(farthest.length / 2)] ?? 0;
    const reach = Math.min(Math.max(1.1 * middle, NARROW * begin), WIDE * begin);
    const tracks = runners.map(({ method, class: kind, path, points }) => ({
      path: seen(path, start.length, shown),
      class: kind,
      until: Math.min(points.length, Math.floor(now / method.cost) + 1),
    }));
    const at = shown.map((place) => rest.at[place]);
    plane.replaceChildren(tracksPicture(tracks, reach, at, names, `The paths of the methods in the plane of ${names.join(" and ")}`));
  }

  const again = once(run);
  const budget = slider("Gradients for each", gradients, {
    low: FEWEST,
    high: MOST,
    count: 100,
    logarithmic: true,
    whole: true,
    change: (value) => {
      stop();
      gradients = now = value;
      const fresh = slider("Gradients so far", now, { low: 0, high: gradients, whole: true, change: show });
      clockElement.replaceWith(fresh.element);
      [clockElement, setClock] = [fresh.element, fresh.set];
      again();
    },
  });
  const boxes = methods.map((method) =>
    tick(method.name, chosen.has(method.name), (ticked) => {
      if (ticked) chosen.add(method.name);
      else chosen.delete(method.name);
      again();
    }),
  );
  const heading = ["method", "distance", "factor per step", "gradients per step", "factor per gradient"];
  const headings = heading.map((text, place) => h("th", { scope: "col", class: place ? "number" : "" }, text));
  const element = h(
    "section",
    { class: "panel stack", "aria-labelledby": "race" },
    h("h2", { id: "race" }, "A race of methods"),
    h("p", { class: "muted" }, `All start where you have put the start, with the same learning rates, and may compute as many gradients. The lower, the nearer to ${rest.name}.`),
    h("div", { class: "fields" }, budget.element, clockElement),
    h("div", { class: "row" }, button),
    h("div", { class: "columns" }, picture, plane),
    h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "The methods of the race" }, h("table", {}, h("thead", {}, h("tr", {}, ...headings)), rows)),
    h("details", {}, h("summary", {}, "Choose the methods"), h("fieldset", { class: "choices" }, h("legend", { class: "hidden-text" }, "Methods of the race"), ...boxes)),
  );
  return {
    element,
    update: (given) => {
      settings = given;
      again();
    },
  };
}
