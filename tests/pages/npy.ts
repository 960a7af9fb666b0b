// npy.ts FOLDER: what JavaScript reads in the files of numpy in FOLDER/cases.json: types, shapes and numbers, or errors.
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

import { readNpy, writeNpy } from "../../portable_nn/pages/src/model/npy";

const [folder] = process.argv.slice(2) as [string];

async function read(name: string): Promise<unknown> {
  const bytes = readFileSync(path.join(folder, name));
  try {
    const found = readNpy(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer);
    writeFileSync(path.join(folder, `back-${name}`), Buffer.from(await writeNpy(found).arrayBuffer()));
    return { dtype: found.dtype, shape: found.shape };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

const names = JSON.parse(readFileSync(path.join(folder, "cases.json"), "utf8")) as string[];
void Promise.all(names.map(read)).then((found) => writeFileSync(path.join(folder, "read.json"), JSON.stringify(found)));
