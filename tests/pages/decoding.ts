// In a page, `decodedIn(base64)`: what JavaScript reads in a file of a picture: its size, and its red, green, blue and opacity as base64 of float32 numbers.
import { readPicture } from "../../portable_nn/pages/src/preparation/decoding";

async function decodedIn(file: string): Promise<unknown> {
  try {
    const { data, height, width, grey } = await readPicture(new Blob([Uint8Array.from(atob(file), (each) => each.charCodeAt(0))]));
    const bytes = new Uint8Array(Float32Array.from(data).buffer), parts = Array.from({ length: Math.ceil(bytes.length / 8192) }, (_, k) => String.fromCharCode(...bytes.subarray(8192 * k, 8192 * (k + 1))));
    return { height, width, grey: grey ?? false, data: btoa(parts.join("")) };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

Object.assign(globalThis, { decodedIn });
