// png16.ts FOLDER: the levels that JavaScript finds in the files of FOLDER/cases.json: red of each pixel, null for files that are the browser's, or an error.
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

import { greyOf16Bits } from "../../portable_nn/pages/src/preparation/png16";

const [folder] = process.argv.slice(2) as [string];

async function read(name: string): Promise<unknown> {
  try {
    const found = await greyOf16Bits(new Uint8Array(readFileSync(path.join(folder, name))));
    return found ? { shape: [found.height, found.width], levels: [...found.data].filter((_, place) => place % 4 === 0) } : null;
  } catch (error) {
    return { error: (error as Error).message };
  }
}

const names = JSON.parse(readFileSync(path.join(folder, "cases.json"), "utf8")) as string[];
void Promise.all(names.map(read)).then((found) => writeFileSync(path.join(folder, "read.json"), JSON.stringify(found)));
