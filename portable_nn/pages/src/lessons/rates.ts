// The controls of the learning rates, one or two, and of what is random.

import { h } from "../shared/dom";
import { slider, tick } from "./controls";
import type { Chance } from "./dynamics";

type Pair = readonly [number, number];

/** A slider of one rate for both players, or of one for each. */
export function rateControls(first: Pair, change: (rates: Pair) => void): { element: HTMLElement; set(rates: Pair): void } {
  let rates = first;
  const make = (name: string, value: number, act: (value: number) => Pair) =>
    slider(name, value, {
      low: Math.min(0.001, value || 1),
      high: Math.max(2, value),
      logarithmic: true,
      least: 0,
      most: 1e6,
      change: (found) => {
        rates = act(found);
        show();
        change(rates);
      },
    });
  const both = make("Learning rate η", first[0], (value) => [value, value]);
  const own = [make("Learning rate of x", first[0], (value) => [value, rates[1]]), make("Learning rate of y", first[1], (value) => [rates[0], value])];
  const box = tick("A rate for each player", first[0] !== first[1], (ticked) => {
    const isOther = !ticked && rates[0] !== rates[1];
    if (isOther) rates = [rates[0], rates[0]];
    showBoth(ticked);
    show();
    if (isOther) change(rates);
  });
  function show(): void {
    both.set(rates[0]);
    own.forEach((one, player) => one.set(rates[player]));
  }
  function showBoth(apart: boolean): void {
    both.element.hidden = apart;
    for (const { element } of own) element.hidden = !apart;
  }
  showBoth(first[0] !== first[1]);
  const input = box.querySelector("input") as HTMLInputElement;
  return {
    element: h("div", { class: "fields" }, both.element, ...own.map(({ element }) => element), box),
    set: (found) => {
      rates = found;
      input.checked = found[0] !== found[1];
      showBoth(input.checked);
      show();
    },
  };
}

/** The noise and its seed, folded where there is none. */
export function noiseControls({ noise, seed, samples }: Chance, change: (change: Partial<Chance>) => void): { element: HTMLElement; set(chance: Chance): void } {
  const size = slider("Noise: standard deviation", noise, {
    low: 0,
    high: Math.max(1, noise),
    least: 0,
    most: 1e6,
    change: (value) => change({ noise: value }),
  });
  const which = slider("Seed: which random numbers", seed, {
    low: 0,
    high: Math.max(50, seed),
    count: 50,
    whole: true,
    most: Number.MAX_SAFE_INTEGER,
    change: (value) => change({ seed: value }),
  });
  const words = samples ? `Each gradient is that of one of ${samples.length.toLocaleString("en")} matrices, drawn anew. ` : "";
  const hint = h("p", { class: "small muted" }, `${words}Noise is added to each number of each gradient. The numbers are those that numpy draws with this seed.`);
  const element = h("details", {}, h("summary", {}, samples ? "Randomness" : "Noise"), h("div", { class: "fields" }, size.element, which.element), hint);
  element.open = noise > 0 || samples !== null;
  return {
    element,
    set: (chance) => {
      size.set(chance.noise);
      which.set(chance.seed);
    },
  };
}
