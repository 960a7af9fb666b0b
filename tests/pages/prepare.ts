// prepare.ts FOLDER COLUMNS_FIRST: the examples that JavaScript makes of the pictures in FOLDER/cases.json, as FOLDER/made.json.
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

import { pillow } from "../../portable_nn/pages/src/preparation/resize";
import { prepare, type Step } from "../../portable_nn/pages/src/preparation/steps";

interface Case {
  file: string;
  height: number;
  width: number;
  steps: Step[];
}

const [folder, columnsFirst] = process.argv.slice(2) as [string, string];
const cases = JSON.parse(readFileSync(path.join(folder, "cases.json"), "utf8")) as Case[];
pillow.columnsFirst = columnsFirst === "true";
const made = cases.map(({ file, height, width, steps }, place) => {
  try {
    const examples = prepare(steps, { data: new Uint8Array(readFileSync(path.join(folder, file))), height, width });
    writeFileSync(path.join(folder, `made-${place}.bin`), Buffer.concat(examples.map(({ data }) => Buffer.from(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)))));
    return { shape: [examples.length, ...examples[0].shape], boxes: examples.map(({ box }) => box ?? null) };
  } catch (error) {
    return { error: (error as Error).message };
  }
});
writeFileSync(path.join(folder, "made.json"), JSON.stringify(made));
