// The pixels of what a browser has decoded. A canvas multiplies colours with their opacity, and so loses digits of partly
// transparent ones: other ways keep them in some browsers. A way is trusted that gives the known pixels of a small picture.

import { decoded, h } from "../shared/dom";
import { Unusable } from "./picture";

type Pixels = Uint8Array | Uint8ClampedArray;
type Way = (bitmap: ImageBitmap) => Pixels | Promise<Pixels>;

/** A lossless WebP file, and its pixels. */
const KNOWN = "UklGRkQAAABXRUJQVlA4TDcAAAAvAUAAEB8gICGywUvDbRISEAP8n2SURCCC1Bw77A+0h5CAqB7Z5qFZwSx6kQeyAcpUYRPR//gAAA==";
const PIXELS = [200, 100, 50, 128, 3, 250, 77, 7, 255, 1, 2, 200, 10, 20, 30, 255];

let trusted: Promise<Way | undefined> | undefined;

/** Red, green, blue and opacity of each pixel. Raises an error where this browser does not give them as they are. */
export async function exactPixels(bitmap: ImageBitmap): Promise<Pixels> {
  const found = byCanvas(bitmap);
  if (found.every((value, place) => place % 4 !== 3 || value === 0 || value === 255)) return found;
  const way = await (trusted ??= trustedWay()), exact = await Promise.resolve(bitmap).then((each) => way?.(each)).catch(() => undefined);
  if (!exact) throw new Unusable("this browser does not give the exact pixels of a partly transparent picture in this format: save it as PNG");
  return exact;
}

async function trustedWay(): Promise<Way | undefined> {
  const probe = await createImageBitmap(new Blob([decoded(KNOWN)]), { premultiplyAlpha: "none", colorSpaceConversion: "none" }).catch(() => undefined);
  for (const way of probe ? [byWebGl, byVideoFrame] : []) {
    const found = await Promise.resolve(probe as ImageBitmap).then(way).catch(() => undefined);
    if (found && String([...found]) === String(PIXELS)) return way;
  }
  return undefined;
}

/** The pixels of a canvas. Raises an error where the browser gives others, lest pages recognise it by them. */
export function canvasPixels(context: CanvasRenderingContext2D, width: number, height: number): Uint8ClampedArray<ArrayBuffer> {
  if (!(isHonest ??= givesWhatIsDrawn())) throw new Unusable("this browser gives pages other pixels than it shows, as a protection from being recognised: allow this page to read canvases");
  return context.getImageData(0, 0, width, height).data;
}

let isHonest: boolean | undefined;

function givesWhatIsDrawn(): boolean {
  const side = 16, context = canvasOf(side, side), image = context.createImageData(side, side);
  for (let k = 0; k < image.data.length; k++) image.data[k] = k % 4 === 3 ? 255 : (k * 89) % 256;
  context.putImageData(image, 0, 0);
  return context.getImageData(0, 0, side, side).data.every((value, k) => value === image.data[k]);
}

function canvasOf(width: number, height: number): CanvasRenderingContext2D {
  const context = h("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Unusable("there is no memory for a picture of this size");
  return context;
}

function byCanvas(bitmap: ImageBitmap): Pixels {
  const context = canvasOf(bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  return canvasPixels(context, bitmap.width, bitmap.height);
}

function byWebGl(bitmap: ImageBitmap): Pixels {
  const gl = h("canvas").getContext("webgl") as WebGLRenderingContext, found = new Uint8Array(4 * bitmap.width * bitmap.height);
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, gl.getParameter(gl.TEXTURE_BINDING_2D), 0);
  gl.readPixels(0, 0, bitmap.width, bitmap.height, gl.RGBA, gl.UNSIGNED_BYTE, found);
  const fault = gl.getError();
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  if (fault) throw new Error(`WebGL: ${fault}`); // Too large, say.
  return found;
}

async function byVideoFrame(bitmap: ImageBitmap): Promise<Pixels> {
  const frame = new VideoFrame(bitmap, { timestamp: 0 }), format = { format: "RGBA" } as VideoFrameCopyToOptions;
  const found = new Uint8Array(frame.allocationSize(format));
  await frame.copyTo(found, format);
  frame.close();
  return found;
}
