// Elements, and what the file of the page holds beside its script.

type Attributes = Record<string, string | number | boolean | ((event: Event) => void) | undefined>;
type Child = Node | string | undefined;

/** An element: `on…` attributes are listeners, true is an empty attribute, false and undefined are none. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K, attributes: Attributes = {}, ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

/** An element of a drawing. */
export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K, attributes: Record<string, string | number> = {}, ...children: (Node | string)[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** The place that the page is put into. */
export function root(): HTMLElement {
  return document.getElementById("page") as HTMLElement;
}

/** The data that Python's `fill` was given. */
export function data<T>(): T {
  return JSON.parse((document.getElementById("data") as HTMLElement).textContent as string) as T;
}

/** The bytes that `fill` was given as `binary[name]`. */
export async function binary(name: string): Promise<Uint8Array<ArrayBuffer>> {
  const element = document.getElementById(name) as HTMLElement;
  const packed = new Blob([decoded(element.textContent as string)]);
  element.remove(); // Megabytes of text.
  const unpacked = packed.stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(unpacked).arrayBuffer());
}

/** The bytes of base64. */
export function decoded(text: string): Uint8Array<ArrayBuffer> {
  const newer = Uint8Array as unknown as { fromBase64?: (text: string) => Uint8Array<ArrayBuffer> };
  if (newer.fromBase64) return newer.fromBase64(text);
  const characters = atob(text), bytes = new Uint8Array(characters.length);
  for (let place = 0; place < bytes.length; place++) bytes[place] = characters.charCodeAt(place);
  return bytes;
}

/** A control under its name: `control` gets an id. What stands in `beside` follows the name, such as the value. */
export function field(name: string, control: HTMLElement, beside?: Node): HTMLElement {
  control.id ||= `control-${(numbered += 1)}`;
  return h("div", { class: "field" }, h("label", { class: "name", for: control.id }, h("span", {}, name), beside), control);
}

let numbered = 0;
