// The model, run by onnxruntime-web, both of which lie in the file of this page.

import { binary } from "../shared/dom";
import { fromHalves, toHalves } from "./halves";
import { written, type Numbers, type Tensor } from "./tensors";

interface OrtTensor {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: Numbers;
}

interface OrtSession {
  run(feeds: Record<string, OrtTensor>, fetches: readonly string[] | typeof QUIET, options?: typeof QUIET): Promise<Record<string, OrtTensor>>;
}

interface Ort {
  env: { logLevel: string; wasm: { numThreads: number; wasmBinary: ArrayBuffer } };
  Tensor: new (type: string, data: Numbers, dims: readonly number[]) => OrtTensor;
  InferenceSession: { create(model: Uint8Array, options: typeof QUIET): Promise<OrtSession> };
}

export type Run = (feeds: Record<string, Tensor>, outputs?: readonly string[]) => Promise<Record<string, Tensor>>;

/** Errors are shown on the page, and not on the console. */
const QUIET = { logSeverityLevel: 4 };

/** What a model does not compute, or why there is none, with what the runtime says of it. */
export class Refused extends Error {
  readonly raw: string;

  constructor(message: string, cause: unknown) {
    super(message);
    this.raw = cause instanceof Error ? cause.message : String(cause);
  }
}

function refused(given: Readonly<Record<string, Tensor>>, cause: unknown): Refused {
  const all = Object.entries(given).map(([name, { dtype, shape }]) => `${name} of ${dtype} ${written(shape)}`);
  return new Refused(`the model refuses ${all.join(", ")}: a number or the shape does not fit what it computes`, cause);
}

export interface Model {
  readonly run: Run;
  /** Runs the model for values on the way, which become outputs where they are first asked for. */
  readonly inside: Run;
}

/** Unpack the runtime and the model. */
export function openModel(): Promise<Model> {
  return opened().catch((error: unknown) => { throw new Refused("the model in this page does not open: the file is damaged, the browser too old, or there is too little memory", error); });
}

async function opened(): Promise<Model> {
  const [module, program, content] = await Promise.all(["runtime-module", "runtime-program", "model"].map(binary)) as [
    Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>,
  ];
  const address = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
  const ort = (await import(address)) as Ort;
  URL.revokeObjectURL(address);
  ort.env.logLevel = "fatal";
  ort.env.wasm.numThreads = 1; // A page from the disk is not isolated, and has no threads.
  ort.env.wasm.wasmBinary = program.buffer;
  const run = runner(ort, await ort.InferenceSession.create(content, QUIET));
  let more: Promise<Run> | undefined;
  const inside: Run = async (feeds, outputs) => (await (more ??= withLayers(ort, content)))(feeds, outputs);
  return { run, inside };
}

/** A message of Protocol Buffers that follows another joins its lists: more outputs for the same model. */
async function withLayers(ort: Ort, content: Uint8Array): Promise<Run> {
  const more = await binary("layers"), whole = new Uint8Array(content.length + more.length);
  whole.set(content);
  whole.set(more, content.length);
  return runner(ort, await ort.InferenceSession.create(whole, QUIET));
}

function runner(ort: Ort, session: OrtSession): Run {
  let last: Promise<unknown> = Promise.resolve(); // A session runs one after another.
  return (feeds, outputs) => {
    const given = Object.fromEntries(Object.entries(feeds).map(([name, { dtype, data, shape }]) => [name, new ort.Tensor(dtype, dtype === "float16" ? toHalves(data as Float32Array) : data, shape)]));
    const found = last.then(() => (outputs ? session.run(given, outputs, QUIET) : session.run(given, QUIET))).catch((error: unknown) => { throw refused(feeds, error); });
    last = found.catch(() => undefined);
    return found.then((tensors) => Object.fromEntries(Object.entries(tensors).map(([name, { type, dims, data }]) => [name, { dtype: type, shape: dims, data: type === "float16" ? widened(data) : data }])));
  };
}

/** The runtime gives numbers of 16 bits as such, or as their bits in browsers that have none. */
function widened(data: Numbers): Float32Array {
  return data instanceof Uint16Array ? fromHalves(data) : Float32Array.from(data as ArrayLike<number>);
}
