// A sheet to draw on, by mouse, finger, pen or keys.

import { h } from "../shared/dom";
import type { Rgba } from "../preparation/picture";
import { canvasPixels } from "../preparation/readback";

export interface Pad {
  readonly canvas: HTMLCanvasElement;
  clear(): void;
  /** Show a picture, as large as fits. */
  show(picture: Rgba): void;
  pixels(): Rgba;
}

/** `changed` is called while and after something is drawn; `settled` says that the pen was lifted. */
export function pad(width: number, height: number, changed: (settled: boolean) => void): Pad {
  const canvas = h("canvas", {
    class: "pad", width, height, tabindex: 0, role: "img",
    "aria-label": "Sheet to draw on. With the keyboard: the arrow keys move the pen, and with Shift they draw.",
  });
  const context = canvas.getContext("2d", { willReadFrequently: true }) as CanvasRenderingContext2D;
  const thickness = Math.min(width, height) / 14;
  let at: [number, number] | undefined, drawing: number | undefined, keys: [number, number] = [width / 2, height / 3];

  const line = (from: [number, number], to: [number, number]) => {
    context.lineWidth = thickness;
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = "#000";
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
  };
  const place = ({ clientX, clientY }: PointerEvent): [number, number] => {
    const box = canvas.getBoundingClientRect();
    return [((clientX - box.left) * width) / box.width, ((clientY - box.top) * height) / box.height];
  };
  const clear = () => {
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || at) return; // One pointer draws: a hand that rests on the sheet is none.
    drawing = event.pointerId;
    canvas.setPointerCapture(event.pointerId);
    at = place(event);
    line(at, at);
    changed(false);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!at || event.pointerId !== drawing) return;
    const way = event.getCoalescedEvents?.() ?? []; // Empty for some events that no device made.
    for (const each of way.length ? way : [event]) {
      const next = place(each);
      line(at, next);
      at = next;
    }
    changed(false);
  });
  for (const name of ["pointerup", "pointercancel"] as const) {
    canvas.addEventListener(name, ({ pointerId }) => {
      if (!at || pointerId !== drawing) return;
      changed(true);
      at = undefined;
    });
  }
  const pen = h("div", { class: "pen", hidden: true });
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!move) return;
    event.preventDefault();
    const next: [number, number] = [0, 1].map((axis) =>
      Math.min([width, height][axis] as number, Math.max(0, (keys[axis] as number) + (move[axis] as number) * thickness / 2))) as [number, number];
    if (event.shiftKey) {
      line(keys, next);
      changed(true);
    }
    keys = next;
    pen.hidden = false;
    pen.style.left = `${(100 * keys[0]) / width}%`;
    pen.style.top = `${(100 * keys[1]) / height}%`;
  });
  canvas.addEventListener("blur", () => { pen.hidden = true; });
  queueMicrotask(() => canvas.after(pen));

  clear();
  return {
    canvas,
    clear,
    show(picture) {
      clear();
      const scale = Math.min(width / picture.width, height / picture.height);
      const [across, down] = [picture.width * scale, picture.height * scale], whole = h("canvas", { width: picture.width, height: picture.height });
      whole.getContext("2d")?.putImageData(new ImageData(Uint8ClampedArray.from(picture.data), picture.width), 0, 0);
      context.drawImage(whole, (width - across) / 2, (height - down) / 2, across, down);
    },
    pixels: () => ({ data: canvasPixels(context, width, height), width, height }),
  };
}
