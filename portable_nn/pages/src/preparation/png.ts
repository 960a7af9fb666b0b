// PNG files as Pillow reads them, whatever a browser makes of their opacity, profiles and bits:
// https://www.w3.org/TR/png-3/, sections 5 (chunks), 8 (interlacing), 9 (filters) and 11 (what chunks hold).

import { oriented, orientationOf, XMP } from "./orientation";
import { f, sized, Unusable, type Rgba } from "./picture";

type Bytes = Uint8Array<ArrayBuffer>;

/** The channels and the bits of each colour type. */
const TYPES: Record<number, { channels: number; depths: readonly number[] }> = {
  0: { channels: 1, depths: [1, 2, 4, 8, 16] }, // grey
  2: { channels: 3, depths: [8, 16] }, // red, green, blue
  3: { channels: 1, depths: [1, 2, 4, 8] }, // a place in a palette
  4: { channels: 2, depths: [8, 16] }, // grey and opacity
  6: { channels: 4, depths: [8, 16] }, // red, green, blue and opacity
};

/** Adam7: the first column and row of each pass, and the steps to the next. */
const PASSES = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]] as const;
const WHOLE = [[0, 0, 1, 1]] as const;

const DAMAGED = "expected a whole picture, found a PNG file that is damaged or cut short";

interface Header {
  readonly width: number;
  readonly height: number;
  readonly bits: number;
  readonly colour: number;
  readonly channels: number;
  readonly isInterlaced: boolean;
}

/** The pixels of a PNG file, upright. Grey ones of 16 bits keep all of them; of others with 16, Pillow keeps the upper 8. */
export async function readPng(bytes: Bytes): Promise<Rgba> {
  const chunks = chunksOf(bytes), header = headerOf(chunks.get("IHDR")?.[0]);
  const { width, height, bits, channels, isInterlaced } = header, step = Math.max(1, (bits * channels) >> 3);
  const lines = await inflated(chunks.get("IDAT") ?? [], lengthOf(header));
  const data = bits === 16 && header.colour === 0 ? new Float32Array(4 * width * height) : new Uint8Array(4 * width * height);
  const put = putting(header, chunks, data);
  let place = 0;
  for (const [left, top, right, down] of isInterlaced ? PASSES : WHOLE) {
    const columns = Math.ceil((width - left) / right), length = Math.ceil((columns * bits * channels) / 8);
    let above = new Uint8Array(length);
    for (let y = top; y < height && columns > 0; y += down, place += length + 1) {
      const line = lines.subarray(place + 1, place + 1 + length);
      unfilter(lines[place] as number, line, above, step);
      for (let k = 0; k < columns; k++) put(line, k, 4 * (y * width + left + k * right));
      above = line;
    }
  }
  if (data instanceof Float32Array) refuseFewLevels(data);
  return oriented({ data, width, height, grey: header.colour === 0 || (header.colour === 4 && bits === 8) }, await orientationIn(chunks));
}

/** The contents of all chunks, by their names. */
function chunksOf(bytes: Bytes): Map<string, Bytes[]> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), found = new Map<string, Bytes[]>();
  for (let start = 8; start + 12 <= bytes.length; start += 12 + view.getUint32(start)) {
    const name = String.fromCharCode(...bytes.subarray(start + 4, start + 8)), content = bytes.subarray(start + 8, start + 8 + view.getUint32(start));
    if (!found.get(name)?.push(content)) found.set(name, [content]);
    if (name === "IEND") break;
  }
  return found;
}

function headerOf(chunk: Bytes | undefined): Header {
  if (!chunk || chunk.length !== 13) throw new Unusable(DAMAGED);
  const view = new DataView(chunk.buffer, chunk.byteOffset), [bits, colour] = [chunk[8] as number, chunk[9] as number], type = TYPES[colour];
  if (!type?.depths.includes(bits)) throw new Unusable(DAMAGED);
  return { ...sized(view.getUint32(0), view.getUint32(4)), bits, colour, channels: type.channels, isInterlaced: chunk[12] === 1 };
}

/** The bytes of all lines, each of which follows the number of its filter. */
function lengthOf({ width, height, bits, channels, isInterlaced }: Header): number {
  return (isInterlaced ? PASSES : WHOLE).reduce((sum, [left, top, right, down]) => {
    const columns = Math.ceil((width - left) / right), rows = Math.ceil((height - top) / down);
    return sum + (columns > 0 && rows > 0 ? rows * (1 + Math.ceil((columns * bits * channels) / 8)) : 0);
  }, 0);
}

/** Unpacked data of `length` bytes: no more is unpacked, however much there is. */
async function inflated(packed: readonly Bytes[], length: number): Promise<Bytes> {
  const found = new Uint8Array(length), reader = new Blob([...packed]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  let place = 0;
  try {
    while (place < length) {
      const { done, value } = await reader.read();
      if (done) break;
      found.set(value.subarray(0, length - place), place);
      place += value.length;
    }
  } catch {
    throw new Unusable(DAMAGED);
  } finally {
    reader.cancel().catch(() => undefined);
  }
  if (place < length) throw new Unusable(DAMAGED);
  return found;
}

/** Turns a line of filtered bytes into those that they were made of, by the line above it. */
function unfilter(filter: number, line: Uint8Array, above: Uint8Array, step: number): void {
  if (filter > 4) throw new Unusable(DAMAGED);
  for (let k = 0; filter > 0 && k < line.length; k++) {
    const before = k < step ? 0 : (line[k - step] as number), up = above[k] as number, corner = k < step ? 0 : (above[k - step] as number);
    line[k] = (line[k] as number) + (filter === 1 ? before : filter === 2 ? up : filter === 3 ? (before + up) >> 1 : paeth(before, up, corner));
  }
}

/** Which of three bytes is nearest to the first two's sum less the third; the first among equals. */
function paeth(before: number, up: number, corner: number): number {
  const sum = before + up - corner, a = Math.abs(sum - before), b = Math.abs(sum - up), c = Math.abs(sum - corner);
  return a <= b && a <= c ? before : b <= c ? up : corner;
}

/** Puts pixel `k` of a line at a place of the picture: four numbers. */
function putting({ bits, colour, channels }: Header, chunks: ReadonlyMap<string, Bytes[]>, data: Uint8Array | Float32Array): (line: Uint8Array, k: number, at: number) => void {
  const palette = chunks.get("PLTE")?.[0], clear = chunks.get("tRNS")?.[0], wide = bits / 8, step = channels * wide;
  const few = (line: Uint8Array, k: number) => ((line[(k * bits) >> 3] as number) >> (8 - bits - ((k * bits) & 7))) & (2 ** bits - 1);
  const one = bits < 8 ? few : (line: Uint8Array, k: number) => line[k * step] as number;
  const set = (at: number, red: number, green: number, blue: number, opacity: number) => {
    data[at] = red;
    data[at + 1] = green;
    data[at + 2] = blue;
    data[at + 3] = opacity;
  };
  if (colour === 3) {
    if (!palette) throw new Unusable(DAMAGED);
    return (line, k, at) => {
      const place = one(line, k);
      set(at, palette[3 * place] ?? 0, palette[3 * place + 1] ?? 0, palette[3 * place + 2] ?? 0, clear?.[place] ?? 255);
    };
  }
  if (colour === 0 && bits === 16) { // Pillow looks for no transparent level here.
    return (line, k, at) => {
      const value = f((256 * (line[2 * k] as number) + (line[2 * k + 1] as number)) * f(255 / 65535));
      set(at, value, value, value, 255);
    };
  }
  if (colour === 0) {
    // Pillow compares the level of 8 bits with the number in the file, of 1 bit with white or black.
    const scale = bits < 8 ? 255 / (2 ** bits - 1) : 1, number = clear && clear.length > 1 ? 256 * (clear[0] as number) + (clear[1] as number) : -1;
    const hidden = bits === 1 && number > 0 ? 255 : number;
    return (line, k, at) => {
      const level = one(line, k) * scale;
      set(at, level, level, level, level === hidden ? 0 : 255);
    };
  }
  const opaque = channels % 2 === 1, green = opaque || channels === 4 ? wide : 0, last = (channels - 1) * wide;
  const [r, g, b] = clear && clear.length > 5 && colour === 2 ? [clear[1], clear[3], clear[5]] : [-1, -1, -1];
  return (line, k, at) => {
    const first = k * step, isHidden = line[first] === r && line[first + green] === g && line[first + 2 * green] === b;
    set(at, line[first] as number, line[first + green] as number, line[first + 2 * green] as number, opaque ? (isHidden ? 0 : 255) : (line[first + last] as number));
  };
}

function refuseFewLevels(data: Float32Array): void {
  const most = Math.round(data.reduce((a, b, place) => (place % 4 === 3 ? a : Math.max(a, b)), 0) * (65535 / 255));
  if (most > 0 && most <= 255) throw new Unusable(`expected levels up to 65535, as its 16 bits have, found none above ${most}, as of 8 bits`);
}

/** How a camera was held: EXIF says it, in a chunk or as text, or else XMP. */
async function orientationIn(chunks: ReadonlyMap<string, Bytes[]>): Promise<number> {
  const texts = new Map<string, string>();
  for (const name of ["tEXt", "zTXt", "iTXt"]) {
    for (const chunk of chunks.get(name) ?? []) {
      const end = chunk.indexOf(0), key = new TextDecoder("latin1").decode(chunk.subarray(0, Math.max(0, end)));
      if (key === XMP || key === EXIF_TEXT) texts.set(key, await textOf(name, chunk.subarray(end + 1)));
    }
  }
  const hex = (texts.get(EXIF_TEXT) ?? "").split("\n").slice(3).join("").match(/[0-9a-f]{2}/gi) ?? [];
  return orientationOf(chunks.get("eXIf")?.[0] ?? Uint8Array.from(hex, (each) => parseInt(each, 16)), texts.get(XMP) ?? "").orientation;
}

const EXIF_TEXT = "Raw profile type exif"; // As ImageMagick writes it.

/** What follows the key of a text: for people as it is, packed, or packed where its first byte says so. */
async function textOf(chunk: string, rest: Bytes): Promise<string> {
  if (chunk === "tEXt") return new TextDecoder("latin1").decode(rest);
  const [language, keyword] = chunk === "iTXt" ? [rest.indexOf(0, 2), rest.indexOf(0, rest.indexOf(0, 2) + 1)] : [0, 0];
  if (language < 0 || keyword < 0) return "";
  const content = rest.subarray(keyword + 1);
  if (chunk === "iTXt" && rest[0] === 0) return new TextDecoder().decode(content);
  const unpacked = new Blob([content]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(unpacked).text().catch(() => "");
}
