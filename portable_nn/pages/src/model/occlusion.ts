// Which pixels decide: what becomes of the answer where a part of the picture is covered.

import { border, median, type Picture } from "../preparation/picture";
import { h } from "../shared/dom";
import { rounded } from "../shared/text";
import { isOfNumbers, probabilities } from "./answers";
import { colourCanvas, diverging } from "./parts";
import type { Answer } from "./types";

const ACROSS = 14; // Squares of a seventh of the picture, moved by half of their side.

/** How much the answer falls where each pixel is covered with paper, on average: the logarithm of the odds of a class. */
export async function occlusion(
  seen: Picture, row: readonly number[], best: number, answer: Answer, ask: (pictures: Picture[]) => Promise<number[][]>,
): Promise<HTMLElement> {
  const { height, width, channels } = seen, step = Math.max(1, Math.round(Math.max(height, width) / ACROSS)), side = 2 * step;
  const paper = channels === 1 ? median(border(seen)) : 127, corners: [number, number][] = [];
  for (let top = -step; top < height; top += step) for (let left = -step; left < width; left += step) corners.push([top, left]);
  const score = (found: readonly number[]) => (isOfNumbers(answer) ? (found[best] as number) : logOdds(probabilities(found, answer.kind, answer.temperature), best));
  const rows = await ask(corners.map(([top, left]) => covered(seen, top, left, side, paper))), usual = score(row);
  const falls = new Float64Array(height * width), counts = new Float64Array(height * width);
  corners.forEach(([top, left], k) => {
    const fall = usual - score(rows[k] as number[]);
    for (let y = Math.max(0, top); y < Math.min(height, top + side); y++) {
      for (let x = Math.max(0, left); x < Math.min(width, left + side); x++) {
        falls[y * width + x] += fall;
        counts[y * width + x]++;
      }
    }
  });
  const heat = falls.map((fall, place) => fall / (counts[place] as number)), most = heat.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  const light = (place: number) => { // The drawing stays visible below the colours.
    const first = channels * place, level = channels === 1 ? seen.data[first] as number : ((seen.data[first] as number) + (seen.data[first + 1] as number) + (seen.data[first + 2] as number)) / 3;
    return level * 0.3;
  };
  const canvas = colourCanvas(height, width, (place) => diverging(most ? (heat[place] as number) / most : 0).map((value) => Math.min(255, value + light(place))));
  const words = isOfNumbers(answer) ? `by up to ${rounded(most, 3)}` : `its odds up to ${Math.exp(most).toLocaleString("en", { maximumSignificantDigits: 2 })}-fold`;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Where covering the picture changes the answer, ${words}`);
  return h("figure", {}, canvas, h("figcaption", {}, `Covered here, the answer falls (orange) or rises (blue), ${words}`));
}

/** Of the other classes' shares the sum is taken: 1 less a share near 1 has no digits left. */
function logOdds(shares: readonly number[], best: number): number {
  const others = shares.reduce((sum, share, k) => (k === best ? sum : sum + share), 0);
  return Math.log(Math.max(shares[best] as number, 1e-12)) - Math.log(Math.max(others, 1e-12));
}

function covered(seen: Picture, top: number, left: number, side: number, paper: number): Picture {
  const data = seen.data.slice(), { channels, width, height } = seen;
  for (let y = Math.max(0, top); y < Math.min(height, top + side); y++) {
    data.fill(paper, (y * width + Math.max(0, left)) * channels, (y * width + Math.min(width, left + side)) * channels);
  }
  return { ...seen, data };
}
