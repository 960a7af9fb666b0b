// Controls that the lessons share: a slider with its number, a choice, and what is said after a change.

import { field, h } from "../shared/dom";
import { rounded } from "../shared/text";

export interface SliderOptions {
  low: number;
  high: number;
  /** Steps of the slider; 200 by default, of a logarithmic one in equal ratios. */
  count?: number;
  logarithmic?: boolean;
  whole?: boolean;
  /** What else the number may be, in the field beside the slider; by default as the slider. */
  least?: number;
  most?: number;
  /** No field for the number. */
  bare?: boolean;
  change: (value: number) => void;
}

export interface Slider {
  element: HTMLElement;
  set(value: number): void;
}

let reasons = 0;

/** A slider and a field for its number, which may go beyond it. */
export function slider(name: string, value: number, options: SliderOptions): Slider {
  const { low, high, count = options.whole ? high - low : 200, logarithmic = false, whole = false } = options;
  const least = options.least ?? low;
  const most = options.most ?? high;
  const shown = (number: number) => (whole ? String(number) : String(Number(number.toPrecision(6))));
  const reason = h("p", { class: "bad small", id: `reason-${reasons++}`, "aria-live": "polite", hidden: true });
  const number = h("input", { type: "number", step: "any", min: least, max: most, "aria-label": `${name}, as a number`, "aria-describedby": reason.id });
  const wanted = `${whole ? "A whole number" : "A number"} from ${rounded(least)} to ${rounded(most)}; the last one that fits stays`;
  const say = (words: string) => {
    reason.textContent = words;
    reason.hidden = !words;
    if (words) number.setAttribute("aria-invalid", "true");
    else number.removeAttribute("aria-invalid");
  };
  const bar = h("input", { type: "range", min: 0, max: count, step: 1 });
  const valueAt = (place: number) => {
    const share = place / count;
    const found = logarithmic ? low * (high / low) ** share : low + share * (high - low);
    return whole ? Math.round(found) : Number(found.toPrecision(3));
  };
  let current = value;
  const placeOf = (found: number) => {
    const share = logarithmic ? Math.log(found / low) / Math.log(high / low) : (found - low) / (high - low);
    return Math.round(count * Math.max(0, Math.min(1, share)));
  };
  const set = (found: number) => {
    bar.value = String(placeOf(found));
    bar.setAttribute("aria-valuetext", shown(found));
    if (document.activeElement !== number) number.value = shown(found);
    say("");
    current = found;
  };
  bar.addEventListener("input", () => {
    const found = valueAt(Number(bar.value));
    set(found);
    options.change(found);
  });
  number.addEventListener("input", () => {
    const found = number.valueAsNumber;
    const fits = found >= least && found <= most && (!whole || Number.isInteger(found));
    if (!fits) {
      say(`${wanted}: ${shown(current)}.`);
      return;
    }
    set(found);
    options.change(found);
  });
  number.addEventListener("change", () => {
    number.value = shown(current); // What was left is what counts.
    say("");
  });
  set(value);
  const element = field(name, bar);
  element.classList.add("slider");
  if (options.bare) element.classList.add("bare");
  else element.append(number, reason);
  return { element, set };
}

/** A list to choose from. */
export function choice(
  name: string,
  values: readonly string[],
  chosen: string,
  change: (value: string) => void,
): { element: HTMLElement; set(value: string): void } {
  const select = h("select", {}, ...values.map((value) => h("option", { value, selected: value === chosen }, value)));
  select.addEventListener("change", () => change(select.value));
  return {
    element: field(name, select),
    set: (value) => {
      select.value = value;
    },
  };
}

/** A box to tick. */
export function tick(name: string | Node, ticked: boolean, change: (ticked: boolean) => void): HTMLElement {
  const box = h("input", { type: "checkbox", checked: ticked });
  box.addEventListener("change", () => change(box.checked));
  return h("label", { class: "check" }, box, name);
}

/** Text for those who do not see the page, said when it has not changed for a moment. */
export function speaker(): { element: HTMLElement; say(text: string): void } {
  const element = h("p", { class: "hidden-text", "aria-live": "polite" });
  let waiting = 0;
  return {
    element,
    say: (text) => {
      window.clearTimeout(waiting);
      waiting = window.setTimeout(() => {
        element.textContent = text;
      }, 500);
    },
  };
}

/** Names with values, one below the other; what has no value is left out. */
export function facts(pairs: [string, string][]): HTMLElement {
  const rows = pairs.filter(([, value]) => value).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
  return h("dl", { class: "facts" }, ...rows);
}

/** A factor with eight decimals, or as many digits as it needs. */
export function factor(value: number): string {
  if (!Number.isFinite(value)) return rounded(value);
  return value > 1e-4 && value < 1000 ? value.toFixed(8) : rounded(value);
}

/** Calls a function once before the next frame, however often it is asked to. */
export function once(act: () => void): () => void {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      act();
    });
  };
}

export interface Copyable {
  element: HTMLElement;
  set(text: string): void;
}

/** A line of code under its name, with a button that copies it. */
export function copyable(name: string): Copyable {
  const code = h("code");
  const button = h("button", { type: "button", "aria-label": `Copy: ${name}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText((code.textContent ?? "").trim());
      button.textContent = "Copied";
    } catch {
      window.getSelection()?.selectAllChildren(code); // Where the browser lets no page write: ready for a key.
      button.textContent = "Selected";
    }
    window.setTimeout(() => {
      button.textContent = "Copy";
    }, 1500);
  });
  const text = h("pre", { tabindex: 0, role: "group", "aria-label": name }, code);
  return {
    element: h("div", { class: "copy" }, h("span", { class: "small muted" }, name), h("div", { class: "line-of-code" }, text, button)),
    set: (line) => {
      // A line breaks between its words alone, and not after a hyphen.
      code.replaceChildren(...line.split(" ").flatMap((word) => [h("span", { class: "word" }, word), " "]));
    },
  };
}

/** Whether the reader has asked for less motion. */
export function isStill(): boolean {
  return window.matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/** Numbers with multiplication signs between them. */
export function by(values: number[]): string {
  return values.join(" × ");
}
