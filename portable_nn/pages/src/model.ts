// The page of one model: `portable-nn export MODEL --html page.html`.

import { generator } from "./model/generator";
import { arrays } from "./model/numbers";
import { pictures } from "./model/pictures";
import { series } from "./model/series";
import { openModel, type Model } from "./model/session";
import { tables } from "./model/tables";
import { numbers, unpacked, type Tensor } from "./model/tensors";
import type { Subject } from "./model/types";
import { pillow } from "./preparation/resize";
import { binary, data, h, root } from "./shared/dom";

const PAGES = { picture: pictures, table: tables, generator, series, numbers: arrays };

const LEADS: Record<Subject["kind"], string> = {
  picture: "A neural network that reads pictures.",
  table: "A neural network that reads rows of a table.",
  generator: "A neural network that turns noise into pictures.",
  series: "A neural network that reads rows of numbers.",
  numbers: "A neural network, with its inputs and outputs as arrays.",
};

/** The distance of two numbers; what is no number, or infinite, is like itself alone. */
function apart(a: number, b: number): number {
  return Object.is(a, b) ? 0 : Number.isFinite(a - b) ? Math.abs(a - b) : Infinity;
}

/** How far outputs are from those that Python computed, relative to the largest of them. */
async function differences(model: Model, { feeds, outputs }: NonNullable<Subject["check"]>): Promise<number> {
  const given = Object.fromEntries(Object.entries(feeds).map(([name, packed]) => [name, unpacked(packed)]));
  const found = await model.run(given);
  return Math.max(...Object.entries(outputs).map(([name, packed]) => {
    const [ours, theirs] = [numbers(found[name] as Tensor), numbers(unpacked(packed))];
    const scale = theirs.reduce((a, b) => (Number.isFinite(b) ? Math.max(a, Math.abs(b)) : a), 0);
    return ours.length === theirs.length ? ours.reduce((most, value, k) => Math.max(most, apart(value, theirs[k] as number) / Math.max(1, scale)), 0) : Infinity;
  }));
}

async function checked(model: Promise<Model>, { check, title }: Subject, status: HTMLElement): Promise<void> {
  try {
    const opened = await model;
    if (!check) return void (status.textContent = "Ready.");
    const most = await differences(opened, check), isGood = most <= 1e-4;
    status.className = isGood ? "good" : "bad";
    status.textContent = isGood
      ? `Checked when this page was opened: the same numbers as in Python (${most ? `largest difference ${most.toExponential(0)}` : "no difference"}).`
      : `This browser computes other numbers than Python did (largest difference ${most.toExponential(1)}): do not trust the answers.`;
  } catch (error) {
    status.className = "bad";
    status.textContent = `${title}: ${(error as Error).message}`;
  }
}

/** The licences of what ONNX Runtime is built from: much text, unpacked where somebody opens it. */
function notices(): HTMLElement {
  const text = h("pre", { class: "notices", tabindex: 0, role: "group", "aria-label": "Notices" }, "Unpacking…");
  const unpack = () => void binary("notices").then((content) => { text.textContent = new TextDecoder().decode(content); });
  const found = h("details", {}, h("summary", {}, "Software of others in ONNX Runtime, and its licences"), text);
  found.addEventListener("toggle", unpack, { once: true });
  return found;
}

function start(): void {
  const subject = data<Subject>(), status = h("p", { role: "status" }, "Loading the model…");
  pillow.columnsFirst = subject.columnsFirst;
  // What is on the screen comes first, then the megabytes.
  const model = new Promise<void>((resolve) => requestAnimationFrame(() => setTimeout(resolve))).then(openModel);
  const facts = subject.facts.map(([name, value]) => `${value} ${name}`).filter((text) => !text.endsWith(" model")).join(", ");
  root().append(
    h("header", {}, h("h1", {}, subject.title), h("p", { class: "lead" }, `${LEADS[subject.kind]} It runs in this page: nothing leaves it, and it needs no network.`)),
    PAGES[subject.kind](subject, model),
    h("footer", {}, status, ...subject.assumed.map((note) => h("p", {}, `Assumed: ${note}.`)), h("p", {}, `${facts}. Made by Portable NN ${subject.version}, with ONNX Runtime Web ${subject.runtime}.`),
      h("details", {}, h("summary", {}, "Licence of ONNX Runtime Web"), ...subject.licence.split("\n\n").map((text) => h("p", {}, text))),
      notices()),
  );
  void checked(model, subject, status);
}

start();
