// Checks the sources with tsc and bundles them with esbuild.
//
//   node build.cjs [FOLDER]     check, and build each page of src/ into FOLDER (built/ beside this file)
//   node build.cjs --test       check, and run tests/pages/*.test.ts in Node's runner
//
// The programs are found where NODE_PATH says, or in a node_modules here or above: npm ci installs them.
const { spawnSync } = require("node:child_process");
const { mkdtempSync, readdirSync, rmSync } = require("node:fs");
const { tmpdir } = require("node:os");
const path = require("node:path");
const esbuild = require("esbuild");

const SOURCES = path.join(__dirname, "src");
const TESTS = path.join(__dirname, "..", "..", "tests", "pages");

function here(folder, endings) {
  return readdirSync(folder).filter((name) => endings.some((ending) => name.endsWith(ending)))
    .sort().map((name) => path.join(folder, name));
}

function run(...command) {
  const done = spawnSync(process.execPath, command, { stdio: "inherit" });
  if (done.status !== 0) process.exit(done.status ?? 1);
}

function check() {
  const compiler = path.join(path.dirname(require.resolve("typescript/package.json")), "bin", "tsc");
  const types = path.dirname(path.dirname(require.resolve("@types/node/package.json")));
  run(compiler, "--noEmit", "-p", __dirname, "--typeRoots", types);
}

function bundle(entryPoints, outdir, options) {
  esbuild.buildSync({
    entryPoints, outdir, bundle: true, charset: "utf8", legalComments: "none", logLevel: "warning",
    // The same bytes wherever the checkout lies.
    absWorkingDir: __dirname, ...options,
  });
}

function build(outdir) {
  bundle(here(SOURCES, [".ts", ".css"]), outdir, { format: "iife", minify: true, target: ["es2022"] });
}

function test() {
  const folder = mkdtempSync(path.join(tmpdir(), "pages-"));
  try {
    bundle(here(TESTS, [".test.ts"]), folder, { format: "cjs", platform: "node", sourcemap: "inline" });
    run("--test", "--enable-source-maps", ...here(folder, [".js"]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

check();
if (process.argv[2] === "--test") test();
else build(path.resolve(process.argv[2] ?? path.join(__dirname, "built")));
