// The script of decoding.ts in a page, and what it reads there in all files of a folder.
const { readFileSync, readdirSync, writeFileSync } = require("node:fs");
const path = require("node:path");
const esbuild = require("esbuild");

/** Writes the page into the folder; gives its path. */
exports.page = function (folder) {
  const { outputFiles: [script] } = esbuild.buildSync({ entryPoints: [path.join(__dirname, "decoding.ts")], bundle: true, write: false, format: "iife" });
  const file = path.join(folder, "decoding.html");
  writeFileSync(file, `<!doctype html><meta charset="utf-8"><title>Decoding</title><link rel="icon" href="data:,"><script>${script.text}</script>`);
  return file;
};

/** What `evaluate` finds in the files of the folder's pictures, by their names. */
exports.readAll = async function (folder, evaluate) {
  const found = {};
  for (const name of readdirSync(path.join(folder, "pictures")).sort()) {
    found[name] = await evaluate(async (file) => globalThis.decodedIn(file), readFileSync(path.join(folder, "pictures", name)).toString("base64"));
  }
  return found;
};
