// How a camera was held, as files of pictures say it: https://www.cipa.jp/std/documents/download_e.html?DC-008-Translation-2023-E, section 4.6.5.

import type { Rgba } from "./picture";

const ORIENTATION = 0x0112;
const LONG = 4;

/** The name of XMP in a text of PNG. */
export const XMP = "XML:com.adobe.xmp";

/** The orientation that EXIF data say, or else XMP: 1 to 8, 1 where neither does; and where its tag begins in the former. */
export function orientationOf(exif: Uint8Array, xmp = ""): { orientation: number; tag?: number } {
  const found = inExif(exif), [, number] = /tiff:Orientation(?:="|>)([0-9])/.exec(xmp) ?? [];
  return found ?? { orientation: Number(number ?? 1) };
}

function inExif(exif: Uint8Array): { orientation: number; tag: number } | undefined {
  const start = String.fromCharCode(...exif.subarray(0, 6)) === "Exif\0\0" ? 6 : 0, isLittle = exif[start] === 0x49;
  const view = new DataView(exif.buffer, exif.byteOffset + start, exif.byteLength - start), length = view.byteLength;
  const first = length >= 8 ? view.getUint32(4, isLittle) : length, count = first + 2 <= length ? view.getUint16(first, isLittle) : 0;
  for (let place = first + 2, k = 0; k < count && place + 12 <= length; k++, place += 12) {
    if (view.getUint16(place, isLittle) !== ORIENTATION) continue;
    const isLong = view.getUint16(place + 2, isLittle) === LONG;
    return { orientation: isLong ? view.getUint32(place + 8, isLittle) : view.getUint16(place + 8, isLittle), tag: start + place };
  }
  return undefined;
}

/** A picture as it was seen: turned and mirrored as its orientation says. */
export function oriented(source: Rgba, orientation: number): Rgba {
  if (!(orientation >= 2 && orientation <= 8)) return source;
  const { width, height } = source, isTurned = orientation >= 5, [wide, high] = isTurned ? [height, width] : [width, height];
  const fromRight = [2, 3, 7, 8].includes(orientation), fromBelow = [3, 4, 6, 7].includes(orientation);
  const data = new (source.data.constructor as new (length: number) => typeof source.data)(source.data.length);
  for (let y = 0; y < high; y++) {
    for (let x = 0; x < wide; x++) {
      const [across, down] = isTurned ? [y, x] : [x, y];
      const at = 4 * ((fromBelow ? height - 1 - down : down) * width + (fromRight ? width - 1 - across : across)), to = 4 * (y * wide + x);
      for (let channel = 0; channel < 4; channel++) data[to + channel] = source.data[at + channel] as number;
    }
  }
  return { ...source, data, width: wide, height: high };
}
