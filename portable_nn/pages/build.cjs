// Checks the sources with tsc and bundles them with esbuild.
//
//   node build.cjs [FOLDER]     check, and build each page of src/ into FOLDER (built/ beside this file)
//   node build.cjs --test       check, and run tests/pages/*.test.ts in Node's runner
//   node build.cjs --run FILE.ts [ARGUMENT]…    run a script in Node, as it is
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

/** Bundle scripts for Node, and call `use` with the bundles. */
function inNode(scripts, use) {
  const folder = mkdtempSync(path.join(tmpdir(), "pages-"));
  process.on("exit", () => rmSync(folder, { recursive: true }));
  bundle(scripts, folder, { format: "cjs", platform: "node", sourcemap: "inline" });
  use(here(folder, [".js"]));
}

const [option, ...rest] = process.argv.slice(2);
if (option === "--run") inNode([path.resolve(rest[0])], ([script]) => run("--enable-source-maps", script, ...rest.slice(1)));
else {
  check();
  if (option === "--test") inNode(here(TESTS, [".test.ts"]), (scripts) => run("--test", "--enable-source-maps", ...scripts));
  else build(path.resolve(option ?? path.join(__dirname, "built")));
}
