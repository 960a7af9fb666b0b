// What the lessons compute for the cases in the file process.argv[2], as JSON; needs esbuild.
const esbuild = require("esbuild");
const { readFileSync } = require("node:fs");
const path = require("node:path");

const SOURCES = path.join(__dirname, "../../portable_nn/pages/src/lessons");
const lines = ["dynamics", "eigenvalues", "fixes", "program", "random", "readings", "sizes", "words"].map((name) => `export * as ${name} from "./${name}";`);
const built = esbuild.buildSync({
  stdin: { contents: lines.join("\n"), resolveDir: SOURCES, loader: "ts" },
  bundle: true, format: "cjs", write: false,
});
const module_ = { exports: {} };
new Function("module", "exports", built.outputFiles[0].text)(module_, module_.exports);
const modules = module_.exports;
const { distances, simulate, spectrum } = modules.dynamics;

modules.said = {
  normals: (seed, count) => {
    const generator = new modules.random.Generator(seed);
    return Array.from({ length: count }, () => generator.normal());
  },
  /** Whole numbers below each of some, and a normal one, so many times. */
  mixed: (seed, most, count) => {
    const generator = new modules.random.Generator(seed);
    return Array.from({ length: count }, () => [...most.map((limit) => generator.below(limit)), generator.normal()]);
  },
  /** What the page says of a run, and its distances at the start and at the end. */
  verdict(method, rest, { start, rate, steps, options = {}, decay = null, chance = { noise: 0, seed: 0, samples: null } }) {
    const path = simulate(method, start, rate, steps, options, decay, chance);
    const far = distances(path, rest), found = decay ? null : spectrum(method, rate, options);
    const [words, kind] = modules.readings.judgement({ method, rate, steps, start, options, chance, rest, far, path, found, decay: decay ? "falls" : "constant" });
    return { words, kind, far: [far[0], far[steps]], radius: found?.radius ?? null };
  },
};

/** Numbers that JSON has not, as Python's json reads them. */
const plain = (value) => {
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return Array.from(value, plain);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]));
  return value;
};

const { shared = {}, calls } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const given = (value) => (value && typeof value === "object" && "shared" in value ? shared[value.shared] : value);
console.log(JSON.stringify(calls.map(([module, name, ...values]) => plain(modules[module][name](...values.map(given))))));
