// Grey PNG files of 16 bits, of which browsers keep the upper 8: https://www.w3.org/TR/png-3/, sections 5, 8 and 9.

import { f, Unusable, type Rgba } from "./picture";

const SIGNATURE = [0x89, 80, 78, 71, 13, 10, 26, 10];
const HEADER = 8 + 8; // The signature, and the length and name of the first chunk.
const PIXEL = 2;

/** Adam7: the first column and row of each pass, and the steps to the next. */
const PASSES = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]] as const;
const WHOLE = [[0, 0, 1, 1]] as const;

/** The levels of such a file, from 0 to 255, with fractions; undefined for all other files. */
export async function greyOf16Bits(bytes: Uint8Array<ArrayBuffer>): Promise<Rgba | undefined> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isGrey16 = SIGNATURE.every((byte, k) => bytes[k] === byte) && bytes.length > HEADER + 17 && bytes[HEADER + 8] === 16 && bytes[HEADER + 9] === 0;
  if (!isGrey16) return undefined;
  const [width, height, isInterlaced] = [view.getUint32(HEADER), view.getUint32(HEADER + 4), bytes[HEADER + 12] === 1];
  const packed = new Blob(chunks(bytes, view)).stream().pipeThrough(new DecompressionStream("deflate"));
  const lines = new Uint8Array(await new Response(packed).arrayBuffer()), data = new Float32Array(4 * width * height).fill(255);
  let place = 0, most = 0;
  for (const [left, top, right, down] of isInterlaced ? PASSES : WHOLE) {
    const length = PIXEL * Math.ceil((width - left) / right);
    let above = new Uint8Array(length);
    for (let y = top; y < height && length > 0; y += down, place += length + 1) {
      const line = unfiltered(lines[place] as number, lines.subarray(place + 1, place + 1 + length), above);
      for (let k = 0, x = left; x < width; k += PIXEL, x += right) {
        const value = 256 * (line[k] as number) + (line[k + 1] as number);
        most = Math.max(most, value);
        data.fill(f(value * f(255 / 65535)), 4 * (y * width + x), 4 * (y * width + x) + 3);
      }
      above = line;
    }
  }
  if (place !== lines.length) throw new Error("expected as many pixels as the header says");
  if (most > 0 && most <= 255) throw new Unusable(`expected levels up to 65535, as its 16 bits have, found none above ${most}, as of 8 bits`);
  return { data, width, height };
}

/** The contents of the chunks of compressed pixels. */
function chunks(bytes: Uint8Array<ArrayBuffer>, view: DataView): Uint8Array<ArrayBuffer>[] {
  const found: Uint8Array<ArrayBuffer>[] = [];
  for (let start = 8; start + 12 <= bytes.length; start += 12 + view.getUint32(start)) {
    if (view.getUint32(start + 4) === 0x49444154) found.push(bytes.subarray(start + 8, start + 8 + view.getUint32(start))); // "IDAT"
  }
  return found;
}

/** A line of bytes as it was before it was filtered, by that above it. */
function unfiltered(filter: number, line: Uint8Array, above: Uint8Array): Uint8Array<ArrayBuffer> {
  const found = new Uint8Array(above.length);
  for (let k = 0; k < found.length; k++) {
    const before = k < PIXEL ? 0 : (found[k - PIXEL] as number), up = above[k] as number, corner = k < PIXEL ? 0 : (above[k - PIXEL] as number);
    found[k] = (line[k] as number) + ([0, before, up, (before + up) >> 1, paeth(before, up, corner)][filter] as number);
  }
  return found;
}

/** Which of three bytes is nearest to the first two's sum less the third; the first among equals. */
function paeth(before: number, up: number, corner: number): number {
  const sum = before + up - corner, [a, b, c] = [Math.abs(sum - before), Math.abs(sum - up), Math.abs(sum - corner)] as [number, number, number];
  return a <= b && a <= c ? before : b <= c ? up : corner;
}
