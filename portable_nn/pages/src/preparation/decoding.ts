// Files of pictures to pixels, as Python reads them (imageio with Pillow): PNG by `png`, others by the browser, which is
// kept from converting colours, from turning the picture, and from multiplying colours with their opacity.

import { orientationOf, oriented } from "./orientation";
import { sized, Unusable, type Rgba } from "./picture";
import { readPng } from "./png";
import { exactPixels } from "./readback";

type Bytes = Uint8Array<ArrayBuffer>;
type Reader = (bytes: Bytes) => Promise<Rgba>;

const LARGEST = 2 ** 29; // Bytes of a file.

/** How files of each format begin, and what reads them. */
const FORMATS: readonly { readonly start: RegExp; readonly read: Reader }[] = [
  { start: /^\x89PNG\r\n\x1a\n/, read: readPng },
  { start: /^\xff\xd8\xff/, read: readJpeg },
  { start: /^RIFF.{4}WEBP/s, read: readWebp },
  { start: /^GIF8[79]a/, read: readGif },
  { start: /^BM/, read: readBmp },
];

/** The pixels of a file, upright. Raises an error where this page cannot know those that Python sees. */
export async function readPicture(file: Blob): Promise<Rgba> {
  if (file.size === 0) throw new Unusable("expected a picture, found an empty file");
  if (file.size > LARGEST) throw new Unusable(`expected a picture of at most ${LARGEST / 2 ** 20} MB, found one of ${Math.ceil(file.size / 2 ** 20)} MB`);
  const start = String.fromCharCode(...new Uint8Array(await file.slice(0, 16).arrayBuffer()));
  const format = FORMATS.find((each) => each.start.test(start));
  if (!format) throw new Unusable("expected a picture as a PNG, JPEG, WebP, GIF or BMP file");
  return format.read(new Uint8Array(await file.arrayBuffer()));
}

/** What the browser makes of a file that says no orientation. */
async function decoded(bytes: Bytes): Promise<Rgba> {
  const options = { premultiplyAlpha: "none", colorSpaceConversion: "none" } as const;
  const bitmap = await createImageBitmap(new Blob([bytes]), options).catch(() => undefined);
  if (!bitmap) throw new Unusable("expected a picture, found a file that this browser cannot decode: it may be damaged or cut short");
  const { width, height } = sized(bitmap.width, bitmap.height);
  try {
    return { data: await exactPixels(bitmap), width, height };
  } finally {
    bitmap.close();
  }
}

/** A picture whose EXIF data, a part of `bytes`, or XMP may say how it lies. */
async function upright(bytes: Bytes, exif: Uint8Array, xmp: string): Promise<Rgba> {
  const { orientation, tag } = orientationOf(exif, xmp);
  if (tag !== undefined) exif.fill(0, tag, tag + 2); // Whatever a browser does with the tag, it does not find it.
  return oriented(await decoded(bytes), orientation);
}

const latin = (bytes: Uint8Array) => new TextDecoder("latin1").decode(bytes);

const FRAMES = [0xc0, 0xc1, 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf];
const SCAN = 0xda;

/** ITU-T T.81, annex B: markers, each with its length, up to the first scan. */
async function readJpeg(bytes: Bytes): Promise<Rgba> {
  const view = new DataView(bytes.buffer), none = new Uint8Array(8);
  let exif: Uint8Array = none, xmp = "", channels = 0, place = 2;
  for (let marker = 0; place + 4 <= bytes.length && marker !== SCAN;) {
    marker = bytes[place + 1] as number;
    if (bytes[place] !== 0xff || marker === 0xff) { // Bytes that fill.
      place++;
      continue;
    }
    const length = view.getUint16(place + 2), content = bytes.subarray(place + 4, place + 2 + length), name = latin(content.subarray(0, 32));
    if (marker === 0xe1 && exif === none && name.startsWith("Exif\0\0")) exif = content;
    if (marker === 0xe1 && name.startsWith("http://ns.adobe.com/xap/1.0/\0")) xmp = latin(content);
    if (FRAMES.includes(marker) && content.length > 5) {
      sized(view.getUint16(place + 7), view.getUint16(place + 5));
      channels = content[5] as number;
    }
    place += 2 + length;
  }
  if (channels === 4) throw new Unusable("expected grey, or red, green and blue, found a JPEG file in CMYK, which programs turn into other colours each: save it as RGB");
  let last = bytes.length - 2;
  while (last >= place && !(bytes[last] === 0xff && bytes[last + 1] === 0xd9)) last--;
  if (last < place) throw new Unusable("expected a whole picture, found a JPEG file that is cut short");
  return { ...(await upright(bytes, exif, xmp)), grey: channels === 1 };
}

/** RFC 9649: chunks, each with its length. */
function readWebp(bytes: Bytes): Promise<Rgba> {
  const view = new DataView(bytes.buffer), chunks = new Map<string, Uint8Array>();
  if (view.getUint32(4, true) + 8 > bytes.length) throw new Unusable("expected a whole picture, found a WebP file that is cut short");
  for (let place = 12; place + 8 <= bytes.length;) {
    const length = view.getUint32(place + 4, true);
    chunks.set(latin(bytes.subarray(place, place + 4)), bytes.subarray(place + 8, place + 8 + length));
    place += 8 + length + (length % 2);
  }
  return upright(bytes, chunks.get("EXIF") ?? new Uint8Array(8), latin(chunks.get("XMP ") ?? new Uint8Array()));
}

/** GIF89a, sections 18 to 24: the size of the screen, palettes, and blocks, each with its length, to the end of the first picture. */
function readGif(bytes: Bytes): Promise<Rgba> {
  const view = new DataView(bytes.buffer), palette = (place: number) => ((bytes[place] ?? 0) & 0x80 ? 3 * 2 ** (((bytes[place] as number) & 7) + 1) : 0);
  if (bytes.length > 9) sized(view.getUint16(6, true), view.getUint16(8, true));
  let place = 13 + palette(10), kind = bytes[place];
  for (; kind === EXTENSION || kind === IMAGE; kind = bytes[place]) {
    place += kind === EXTENSION ? 2 : 11 + palette(place + 9);
    while (bytes[place]) place += 1 + (bytes[place] as number);
    place++;
    if (kind === IMAGE && place <= bytes.length) return decoded(bytes);
  }
  throw new Unusable("expected a whole picture, found a GIF file that is damaged or cut short");
}

const EXTENSION = 0x21, IMAGE = 0x2c;

/** Windows GDI, BITMAPINFOHEADER and the older BITMAPCOREHEADER. */
function readBmp(bytes: Bytes): Promise<Rgba> {
  const view = new DataView(bytes.buffer), isCut = new Unusable("expected a whole picture, found a BMP file that is cut short");
  if (bytes.length < 54) throw isCut;
  const isOld = view.getUint32(14, true) === 12, bits = view.getUint16(isOld ? 24 : 28, true), isPacked = !isOld && [1, 2].includes(view.getUint32(30, true));
  const { width, height } = isOld ? sized(view.getUint16(18, true), view.getUint16(20, true)) : sized(view.getUint32(18, true), Math.abs(view.getInt32(22, true)));
  if (!isPacked && view.getUint32(10, true) + Math.ceil((width * bits) / 32) * 4 * height > bytes.length) throw isCut;
  if (bits === 16) throw new Unusable("expected 8 bits for each colour, found a BMP file of 16 bits for all, which programs stretch differently: save it as PNG");
  return decoded(bytes);
}
