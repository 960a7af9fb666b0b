// The panel of mixed strategies: a triangle in which both players walk, with starts to drag.

import { h } from "../shared/dom";
import { percent } from "../shared/text";
import { facts } from "./controls";
import { logits, sharesAt, softmax, trianglePicture, type Walk } from "./simplex";
import { NEAR } from "./surface";

const PLAYERS = ["x", "y"];

/** `move` is given the start, with the numbers that stay as they are left out. */
export function strategies(
  actions: readonly string[],
  players: readonly [number, number],
  move: (start: (number | undefined)[]) => void,
): { element: HTMLElement; draw(path: Float64Array): void } {
  const triangle = h("div", { class: "grabbable" });
  const words = h("div");
  const size = players[0] + players[1];
  let held: number | null = null;

  function walksOf(path: Float64Array): Walk[] {
    const steps = Array.from({ length: path.length / size }, (_, step) => Array.from(path.subarray(size * step, size * (step + 1))));
    return PLAYERS.map((name, player) => ({
      name,
      class: `series-${player}`,
      points: steps.map((point) => (player ? point.slice(players[0]) : point.slice(0, players[0]))),
    }));
  }

  function draw(path: Float64Array): void {
    const walks = walksOf(path);
    const end = ({ points }: Walk) => softmax((points.findLast((point) => point.every(Number.isFinite)) ?? points[0]));
    const texts = walks.map((walk) => end(walk).map((share, action) => `${actions[action]} ${percent(share)}`).join(", "));
    triangle.replaceChildren(trianglePicture(walks, actions, `The mixed strategies of both players, in the end of x ${texts[0]}, of y ${texts[1]}`));
    words.replaceChildren(facts(PLAYERS.map((name, player) => [`${name} in the end`, texts[player]])));
  }

  /** The place in the picture of an event, in its own units. */
  function placeOf({ clientX, clientY }: { clientX: number; clientY: number }): [number, number] {
    const picture = triangle.firstElementChild as SVGSVGElement;
    const box = picture.getBoundingClientRect(), scale = picture.viewBox.baseVal.width / box.width;
    return [(clientX - box.left) * scale, (clientY - box.top) * scale];
  }

  /** The player whose start is under a pointer. */
  function under({ clientX, clientY }: { clientX: number; clientY: number }): number | null {
    const away = [...triangle.querySelectorAll(".handle")].map((handle) => {
      const box = handle.getBoundingClientRect();
      return Math.hypot(clientX - box.x - box.width / 2, clientY - box.y - box.height / 2);
    });
    const least = Math.min(...away);
    return least < NEAR ? away.lastIndexOf(least) : null;
  }

  function moveTo(player: number, shares: number[]): void {
    const found = logits(shares);
    move(Array.from({ length: size }, (_, place) => (place < players[0] === (player === 0) ? found[place - (player ? players[0] : 0)] : undefined)));
  }

  triangle.addEventListener("touchstart", (event) => {
    if (under(event.touches[0]) !== null) event.preventDefault();
  }, { passive: false });
  triangle.addEventListener("pointerdown", (event) => {
    held = under(event);
    if (held !== null) triangle.setPointerCapture(event.pointerId);
  });
  triangle.addEventListener("pointermove", (event) => {
    if (held !== null) moveTo(held, sharesAt(...placeOf(event)));
  });
  for (const name of ["pointerup", "pointercancel"]) {
    triangle.addEventListener(name, () => {
      held = null;
    });
  }
  const hint = "A point is a mixed strategy: at a corner that action alone is played, in the middle all are as likely. Drag the starts of x and y, or set their numbers above: the logits of the first two actions against the last.";
  return {
    element: h("div", { class: "stack" }, triangle, words, h("p", { class: "small muted" }, hint)),
    draw,
  };
}
