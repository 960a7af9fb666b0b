// What Python's package sizes computes of convolutions and pools: sizes, the steps of the formula, cells, coverage, spellings.

export type Kind = "conv" | "convt" | "pool";
export type Mode = "max" | "average" | "lp";

/** The options along one axis. */
export interface Window {
  kernel: number;
  stride: number;
  dilation: number;
  padBegin: number;
  padEnd: number;
  outputPadding: number;
  /** Of a pool, along all axes alike: the number of steps is rounded up. */
  ceil: boolean;
}

export interface Operation {
  kind: Kind;
  windows: Window[];
  groups: number;
  /** What a pool computes of a window, and whether an average counts the padding. */
  mode: Mode;
  countIncludePad: boolean;
}

/** One step of the formula. */
export interface Line {
  what: string;
  formula: string;
  numbers: string;
  result: number;
}

/** What one axis of an operation covers: of the input, or of the output of a transposed convolution. */
export interface Coverage {
  /** How many windows, or taps, cover each cell. */
  counts: number[];
  /** A transposed convolution covers some cells with more taps than others. */
  uneven: boolean;
}

export type CellKind = "input" | "unread" | "padding" | "beyond" | "zero" | "ring" | "added";

/** The cells along one axis that a kernel moves over, as sizes/scene.py lays them out. */
export interface Grid {
  kinds: CellKind[];
  /** How many of them the padding of a transposed convolution crops at the begin and at the end. */
  cut: [number, number];
  /** The first cell of the kernel for each output cell. */
  starts: number[];
  /** The cells that the kernel reads, counted from there. */
  taps: number[];
}

export function extent({ kernel, dilation }: Window): number {
  return dilation * (kernel - 1) + 1;
}

/** The output size along one axis; below 1 where the options do not fit the input. */
export function outputSize(kind: Kind, window: Window, size: number): number {
  const pads = window.padBegin + window.padEnd;
  if (kind === "convt") return window.stride * (size - 1) + extent(window) + window.outputPadding - pads;
  return stepsOf(window, size) + 1;
}

/** How often a kernel that moves can move on; in ceil mode it stands on at least one cell that is no padding at the end. */
function stepsOf(window: Window, size: number): number {
  const { stride, padBegin, padEnd, ceil } = window, steps = (size + padBegin + padEnd - extent(window)) / stride;
  if (!ceil) return Math.floor(steps);
  const up = Math.ceil(steps) + 0; // No -0.
  return up > 0 && up * stride >= size + padBegin ? up - 1 : up;
}

/** Why the options do not fit, in a sentence; empty where they do. */
export function fault(kind: Kind, window: Window, size: number): string {
  const { stride, dilation, outputPadding } = window;
  if (kind === "convt" && outputPadding >= Math.max(stride, dilation)) {
    return `The output padding must be smaller than the stride (${stride}) or the dilation (${dilation}), not ${outputPadding}.`;
  }
  const half = Math.floor(window.kernel / 2), most = Math.max(window.padBegin, window.padEnd);
  if (kind === "pool" && most > half) {
    return `The padding of a pool must be at most half its kernel (${half} of ${window.kernel}), not ${most}.`;
  }
  if (outputSize(kind, window, size) >= 1) return "";
  if (kind === "convt") return "The padding takes away the whole output.";
  const padded = size + window.padBegin + window.padEnd;
  return `The kernel spans ${extent(window)} cells, but the input has only ${padded}${padded > size ? ", padding included" : ""}.`;
}

function line(what: string, formula: string, result: number, values: Record<string, number>): Line {
  return { what, formula, numbers: formula.replace(/[a-z_]+/g, (name) => String(values[name] ?? name)), result };
}

/** The steps from the size of the input to that of the output, along one axis. */
export function explain(kind: Kind, window: Window, size: number): Line[] {
  const { kernel, stride, dilation, padBegin: begin, padEnd: end, ceil } = window;
  const span = extent(window);
  const first = line("span of the kernel", "dilation * (kernel - 1) + 1", span, { kernel, dilation });
  if (kind !== "convt") {
    const padded = size + begin + end;
    const room = padded - span;
    const steps = (ceil ? Math.ceil(room / stride) : Math.floor(room / stride)) + 0;
    const kept = stepsOf(window, size);
    return [
      first,
      line("padded input", "begin + input + end", padded, { begin, input: size, end }),
      line("room to move", "padded - span", room, { padded, span }),
      ...(ceil
        ? [line("steps, rounded up", "ceil(room / stride)", steps, { room, stride })]
        : [
            line("steps, rounded down", "floor(room / stride)", steps, { room, stride }),
            line("left over at the end", "room mod stride", room % stride, { room, stride }),
          ]),
      ...(kept < steps
        ? [line("a last window in the end padding is dropped", "steps * stride >= begin + input", kept, { steps, stride, begin, input: size })]
        : []),
      line("output", "steps + 1", kept + 1, { steps: kept }),
    ];
  }
  const grid = stride * (size - 1) + 1;
  const ringed = grid + 2 * (span - 1);
  const left = ringed - begin - end;
  const added = window.outputPadding;
  return [
    first,
    line("grid: the input cells, stride apart", "stride * (input - 1) + 1", grid, { stride, input: size }),
    line("span - 1 rings added around it", "grid + 2 * (span - 1)", ringed, { grid, span }),
    line("padding: rings taken away", "grid - begin - end", left, { grid: ringed, begin, end }),
    ...(added
      ? [
          line("output_padding: added at the end", "grid + output_padding", left + added, {
            grid: left,
            output_padding: added,
          }),
        ]
      : []),
    line("output: positions, moved by 1", "grid - span + 1", left + added - span + 1, { grid: left + added, span }),
  ];
}

export function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** What an operation covers along one axis. */
export function coverage(kind: Kind, window: Window, size: number): Coverage {
  const { kernel, stride, dilation, padBegin } = window;
  const outputs = outputSize(kind, window, size);
  const [positions, cells] = kind === "convt" ? [size, outputs] : [outputs, size];
  const counts = new Array<number>(cells).fill(0);
  for (let position = 0; position < positions; position++) {
    for (let tap = 0; tap < kernel; tap++) {
      const cell = position * stride + tap * dilation - padBegin;
      if (cell >= 0 && cell < cells) counts[cell]++;
    }
  }
  const rhythm = gcd(stride, dilation) > 1 || kernel % stride > 0;
  return { counts, uneven: kind === "convt" && positions > 1 && rhythm };
}

/** The cells along one axis that the kernel moves over. */
export function grid(kind: Kind, window: Window, size: number): Grid {
  const { stride, dilation, kernel, padBegin, padEnd, outputPadding } = window;
  const outputs = outputSize(kind, window, size);
  const taps = Array.from({ length: kernel }, (_, tap) => tap * dilation);
  const repeat = (cell: CellKind, count: number) => new Array<CellKind>(count).fill(cell);
  if (kind !== "convt") {
    const read = coverage(kind, window, size).counts.map<CellKind>((count) => (count ? "input" : "unread"));
    const beyond = Math.max(0, (outputs - 1) * stride + extent(window) - (padBegin + size + padEnd));
    const kinds = [...repeat("padding", padBegin), ...read, ...repeat("padding", padEnd), ...repeat("beyond", beyond)];
    return { kinds, cut: [0, 0], starts: Array.from({ length: outputs }, (_, place) => place * stride), taps };
  }
  const ring = repeat("ring", extent(window) - 1);
  const spread = Array.from({ length: stride * (size - 1) + 1 }, (_, cell): CellKind =>
    cell % stride ? "zero" : "input",
  );
  return {
    kinds: [...ring, ...spread, ...ring, ...repeat("added", outputPadding)],
    cut: [padBegin, padEnd],
    starts: Array.from({ length: outputs }, (_, place) => padBegin + place),
    taps,
  };
}

/** One number where all are equal, else a tuple. */
function one(values: number[]): string {
  return values.every((value) => value === values[0]) ? String(values[0]) : `(${values.join(", ")})`;
}

function list(values: number[]): string {
  return `[${values.join(", ")}]`;
}

const ONNX_POOLS: Readonly<Record<Mode, string>> = { max: "MaxPool", average: "AveragePool", lp: "LpPool" };
/** A pool's name in PyTorch, its first argument, and the module whose padding changes no result. */
const TORCH_POOLS: Readonly<Record<Mode, [string, string, string]>> = {
  max: ["MaxPool", "", "ConstantPad"],
  average: ["AvgPool", "", "ZeroPad"],
  lp: ["LPPool", "2", "ZeroPad"],
};

/** The ONNX operator and its attributes, as sizes.onnx_text writes them. */
export function onnxText({ kind, windows, groups, mode, countIncludePad }: Operation): string {
  const dilations = windows.map((window) => window.dilation);
  const added = windows.map((window) => window.outputPadding);
  const attributes = [
    `kernel_shape=${list(windows.map((window) => window.kernel))}`,
    `strides=${list(windows.map((window) => window.stride))}`,
    `pads=${list([...windows.map((window) => window.padBegin), ...windows.map((window) => window.padEnd)])}`,
    ...(dilations.some((dilation) => dilation > 1) ? [`dilations=${list(dilations)}`] : []),
    ...(added.some((extra) => extra > 0) ? [`output_padding=${list(added)}`] : []),
    ...(groups > 1 ? [`group=${groups}`] : []),
    ...(windows[0].ceil ? ["ceil_mode=1"] : []),
    ...(countIncludePad ? ["count_include_pad=1"] : []),
  ];
  const name = kind === "pool" ? ONNX_POOLS[mode] : kind === "conv" ? "Conv" : "ConvTranspose";
  return `${name}(${attributes.join(", ")})`;
}

function torchLayer(operation: Operation, channels: string, padding: number[], added: number[] = [0]): string {
  const { kind, windows, groups, mode, countIncludePad } = operation;
  const kernels = one(windows.map((window) => window.kernel));
  const averagesPads = mode === "average" && padding.some((pad) => pad > 0);
  const options = [
    ["stride", one(windows.map((window) => window.stride)), kind === "pool" ? kernels : "1"],
    ["padding", one(padding), "0"],
    ["output_padding", one(added), "0"],
    ["dilation", one(windows.map((window) => window.dilation)), "1"],
    ["groups", String(groups), "1"],
    ["ceil_mode", windows[0].ceil ? "True" : "False", "False"],
    ["count_include_pad", averagesPads && !countIncludePad ? "False" : "True", "True"],
  ];
  const given = options.filter(([, value, usual]) => value !== usual).map(([name, value]) => `${name}=${value}`);
  const name = kind === "pool" ? TORCH_POOLS[mode][0] : kind === "conv" ? "Conv" : "ConvTranspose";
  const first = kind === "pool" ? TORCH_POOLS[mode][1] : channels;
  return `torch.nn.${name}${windows.length}d(${[first, `kernel_size=${kernels}`, ...given].filter(Boolean).join(", ")})`;
}

/** A module that pads, or crops where a pad is negative; PyTorch lists the last axis first. */
function torchPad(pads: [number, number][], name = "ZeroPad", value = ""): string {
  const numbers = [...pads].reverse().flat().join(", ");
  return `torch.nn.${name}${pads.length}d((${numbers})${value && `, ${value}`})`;
}

function torchPool(given: Operation, sizes: readonly number[]): string | null {
  const floor = given.windows.map((window) => ({ ...window, ceil: false }));
  const isFloor = floor.every((window, axis) => outputSize("pool", window, sizes[axis]) === outputSize("pool", given.windows[axis], sizes[axis]));
  const operation = isFloor ? { ...given, windows: floor } : given;
  const { windows, mode, countIncludePad } = operation, ceil = windows[0].ceil;
  const pads = windows.map((window): [number, number] => [window.padBegin, window.padEnd]);
  const inside = mode !== "lp" && windows.every(({ kernel, padBegin, padEnd }) => padBegin === padEnd && padEnd <= kernel / 2);
  const outside = pads.flat().some(Boolean) && !inside;
  if (mode !== "max" && windows.some(({ dilation }) => dilation > 1)) return null;
  if (ceil && (mode === "lp" || outside)) return null;
  if (outside && mode === "average" && !countIncludePad) return null;
  const layer = torchLayer(operation, "", pads.map(([begin]) => (inside ? begin : 0)));
  const value = mode === "max" ? 'float("-inf")' : "";
  return outside ? `torch.nn.Sequential(${torchPad(pads, TORCH_POOLS[mode][2], value)}, ${layer})` : layer;
}

/** The PyTorch module that computes the same on an input of `sizes`, as sizes.torch_text writes it; null where PyTorch has none. */
export function torchText(operation: Operation, inputs: number, outputs: number, sizes: readonly number[]): string | null {
  const { kind, windows } = operation;
  if (kind === "pool") return torchPool(operation, sizes);
  const channels = `${inputs}, ${outputs}`;
  const pads = windows.map((window): [number, number] => [window.padBegin, window.padEnd]);
  if (kind === "conv") {
    const alike = pads.every(([begin, end]) => begin === end);
    const layer = torchLayer(operation, channels, pads.map(([begin]) => (alike ? begin : 0)));
    return alike ? layer : `torch.nn.Sequential(${torchPad(pads)}, ${layer})`;
  }
  const limits = windows.map((window) => Math.max(window.stride, window.dilation));
  const fits = (added: number[]) => added.every((extra, axis) => extra >= 0 && extra < limits[axis]);
  // Cropping one cell more at the end is one cell less of output padding.
  const shifted = windows.map((window) => window.outputPadding + window.padBegin - window.padEnd);
  if (fits(shifted)) return torchLayer(operation, channels, pads.map(([begin]) => begin), shifted);
  const added = windows.map((window) => window.outputPadding);
  if (!fits(added)) return null;
  const both = pads.map(([begin, end]) => Math.min(begin, end));
  const cut = pads.map(([begin, end], axis): [number, number] => [both[axis] - begin, both[axis] - end]);
  return `torch.nn.Sequential(${torchLayer(operation, channels, both, added)}, ${torchPad(cut)})`;
}

/** Of more ranges that are alike and equally far apart, all but one of these and the last are named. */
const REGULAR = 4;
/** The most ranges that are named where they are not. */
const MOST_PARTS = 8;

/** "rows", "rows and columns", "slices, rows and columns". */
export function joined(words: (string | number)[]): string {
  return words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}` : words.join("");
}

/** Positions in words, as sizes.coverage.cells_text has them: "columns 2 to 4 and 7 to 9", "columns 1, 3, 5, ... 27". */
export function cellsText(cells: number[], plural: string): string {
  if (cells.length === 1) return `${plural.replace(/s$/, "")} ${cells[0]}`;
  const runs: [first: number, count: number][] = [];
  for (const cell of cells) {
    const last = runs[runs.length - 1];
    if (last && cell === last[0] + last[1]) last[1]++;
    else runs.push([cell, 1]);
  }
  return `${plural} ${runsText(runs)}`;
}

function runsText(runs: [first: number, count: number][]): string {
  const parts = runs.map(([first, count]) => (count > 2 ? `${first} to ${first + count - 1}` : count === 2 ? `${first}, ${first + 1}` : String(first)));
  const apart = runs.slice(1).map(([first], place) => first - runs[place][0]);
  const isRegular = runs.every(([, count]) => count === runs[0][1]) && apart.every((gap) => gap === apart[0]);
  if (isRegular && runs.length > REGULAR) return `${parts.slice(0, REGULAR - 1).join(", ")}, ... ${parts[parts.length - 1]}`;
  if (runs.length > MOST_PARTS) {
    const more = runs.slice(MOST_PARTS - 2).reduce((sum, [, count]) => sum + count, 0);
    const [first, count] = runs[runs.length - 1];
    return `${parts.slice(0, MOST_PARTS - 2).join(", ")} and ${more.toLocaleString("en")} more up to ${first + count - 1}`;
  }
  return joined(parts.join(", ").split(", "));
}

/** The cells that are not covered, in words, as sizes.Coverage.words says them; empty where all are. */
export function uncoveredText({ counts }: Coverage, plural: string): string {
  const total = counts.length;
  const uncovered = counts.flatMap((count, cell) => (count ? [] : [cell]));
  if (uncovered.length === total) return `all ${total} ${plural}`;
  const first = counts.findIndex((count) => count > 0);
  const end = counts.findLastIndex((count) => count > 0) + 1;
  const edge = (cells: number[], where: string) => {
    if (!cells.length) return [];
    return [`${cellsText(cells, plural)} (${where}${cells.length > 1 ? ` ${cells.length}` : ""} of ${total})`];
  };
  const holes = uncovered.filter((cell) => cell >= first && cell < end);
  return [
    ...edge(uncovered.filter((cell) => cell < first), "the first"),
    ...(holes.length ? [`${cellsText(holes, plural)} (inside, ${holes.length} of ${total})`] : []),
    ...edge(uncovered.filter((cell) => cell >= end), "the last"),
  ].join(", ");
}

/** Why a transposed convolution covers cells unevenly. */
export function unevenText({ kernel, stride, dilation }: Window): string {
  const common = gcd(stride, dilation);
  if (common > 1) return `stride ${stride} and dilation ${dilation} are both multiples of ${common}`;
  return `kernel ${kernel} is no multiple of stride ${stride}`;
}
