// Small changes of options that cover every cell, and make the overlap of a transposed convolution even: as sizes/fixes.py.

import { coverage, extent, fault, joined, type Kind, outputSize, type Window } from "./sizes";

/** The largest change of an option that is tried, but for a kernel that grows and for output padding. */
const FARTHEST = 3;
/** The most cells by which a kernel grows, but for the next multiple of the stride, and the most of output padding. */
const MOST_ADDED = 16;

export interface Fix {
  windows: Window[];
  text: string;
}

type Cost = number[];
type Move = [option: string, fields: Partial<Window>];

const OPTIONS = ["kernel", "stride", "dilation", "outputPadding"] as const;
const FIELDS = [...OPTIONS, "padBegin", "padEnd"] as const;

function ascending(a: Cost, b: Cost): number {
  const place = a.findIndex((value, k) => value !== b[k]);
  return place < 0 ? 0 : a[place] - b[place];
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, k) => from + k);
}

function isFaulty(kind: Kind, window: Window, size: number): boolean {
  const { counts, uneven } = coverage(kind, window, size);
  return uneven || counts.some((count) => !count);
}

/** The output size with a window; 0 where it has a fault, does not fit, or PyTorch rejects it. */
function validOutput(kind: Kind, window: Window, size: number): number {
  if (fault(kind, window, size) || Math.max(window.padBegin, window.padEnd) >= extent(window)) return 0;
  return isFaulty(kind, window, size) ? 0 : outputSize(kind, window, size);
}

function moves(kind: Kind, { kernel, stride, dilation, padBegin, padEnd, ...now }: Window): Move[] {
  const added = Math.max(FARTHEST, Math.min(stride, MOST_ADDED));
  const kernels = new Set([...range(Math.max(1, kernel - FARTHEST), kernel + added + 1), Math.ceil(kernel / stride) * stride]);
  const single: [keyof Window, number, number[]][] = [
    ["kernel", kernel, [...kernels].sort((a, b) => a - b)],
    ["stride", stride, range(Math.max(1, Math.min(kernel, stride - FARTHEST)), stride + FARTHEST + 1)],
    ["dilation", dilation, range(Math.max(1, dilation - FARTHEST), dilation + FARTHEST + 1)],
    ...(kind === "convt" ? [["outputPadding", now.outputPadding, range(0, Math.min(Math.max(stride, dilation), MOST_ADDED))] as [keyof Window, number, number[]]] : []),
  ];
  const found = single.flatMap(([option, value, values]) => values.filter((other) => other !== value).map((other): Move => [option, { [option]: other }]));
  const near = (pad: number) => range(Math.max(0, pad - FARTHEST), pad + FARTHEST + 1);
  for (const begin of near(padBegin)) {
    for (const end of near(padEnd)) {
      const alike = begin - padBegin === end - padEnd;
      if ((begin !== padBegin || end !== padEnd) && (alike || kind === "conv")) found.push(["padding", { padBegin: begin, padEnd: end }]);
    }
  }
  return found;
}

function costOf(before: Window, after: Window, growth: number, count: number): Cost {
  const distance = FIELDS.reduce((sum, field) => sum + Math.abs(before[field] - after[field]), 0);
  return [Number(before.stride !== after.stride), Number(growth !== 0), count, Math.abs(growth), Number(after.padBegin !== after.padEnd), distance];
}

/** The faultless windows after one change, and after two where no single one keeps the output size. */
function candidates(kind: Kind, window: Window, size: number): [Cost, Window][] {
  const now = outputSize(kind, window, size), tried = moves(kind, window);
  const found: [Cost, Window][] = [], alone = new Set<number>();
  let kept = false;
  tried.forEach(([, fields], place) => {
    const after = { ...window, ...fields }, output = validOutput(kind, after, size);
    if (!output) return;
    alone.add(place);
    kept ||= output === now && after.stride === window.stride;
    found.push([costOf(window, after, output - now, 1), after]);
  });
  for (let first = 0; first < tried.length && !kept; first++) {
    for (let second = first + 1; second < tried.length; second++) {
      const [[one, fields], [other, more]] = [tried[first], tried[second]];
      if (one === other) continue;
      const after = { ...window, ...fields, ...more }, output = validOutput(kind, after, size);
      if (output && (output === now || !(alone.has(first) || alone.has(second)))) found.push([costOf(window, after, output - now, 2), after]);
    }
  }
  return found;
}

function changes(before: Window, after: Window): string[] {
  const found = OPTIONS.filter((option) => before[option] !== after[option])
    .map((option) => `${option.replace("P", "_p")} ${before[option]} → ${after[option]}`);
  const [old, made] = [before, after].map(({ padBegin, padEnd }) => [padBegin, padEnd]);
  if (old[0] === made[0] && old[1] === made[1]) return found;
  const alike = old[0] === old[1] && made[0] === made[1];
  const words = alike ? `${old[0]} → ${made[0]}` : `(${old.join(", ")}) → (${made.join(", ")})`;
  return [...found, `padding ${words}`];
}

/** The best changes that leave no fault, as `sizes.fixes` finds them; empty where there is no fault, or no fix. */
export function fixes(kind: Kind, windows: Window[], sizes: number[], names: string[], limit = 3): Fix[] {
  const keys = windows.map((window, axis) => JSON.stringify([FIELDS.map((field) => window[field]), sizes[axis]]));
  const different = windows.map((_, axis) => axis).filter((axis) => keys.indexOf(keys[axis]) === axis);
  const faulty = different.filter((axis) => isFaulty(kind, windows[axis], sizes[axis]));
  if (!faulty.length) return [];
  let choices: [Cost, Window][][] = [[]];
  for (const axis of faulty) {
    const best = candidates(kind, windows[axis], sizes[axis]).sort(([a], [b]) => ascending(a, b)).slice(0, limit);
    choices = choices.flatMap((choice) => best.map((one) => [...choice, one]));
  }
  const total = (choice: [Cost, Window][]) => choice.reduce((sum: Cost, [cost]) => sum.map((value, k) => value + cost[k]), [0, 0, 0, 0, 0, 0]);
  choices.sort((a, b) => ascending(total(a), total(b)));
  const outputs = (all: Window[]) => all.map((window, axis) => outputSize(kind, window, sizes[axis])).join("x");
  return choices.slice(0, limit).map((choice) => {
    const after = windows.map((window, axis) => {
      const place = faulty.findIndex((other) => keys[other] === keys[axis]);
      return place < 0 ? window : choice[place][1];
    });
    const where = new Map<string, string[]>();
    after.forEach((window, axis) => changes(windows[axis], window).forEach((change) => where.set(change, [...(where.get(change) ?? []), names[axis]])));
    const said = [...where].map(([change, at]) => (at.length === windows.length ? change : `${change} for ${joined(at)}`));
    const [now, made] = [outputs(windows), outputs(after)];
    return { windows: after, text: `${said.join(", ")}: output ${made === now ? `${made} as now` : `${made} instead of ${now}`}` };
  });
}
