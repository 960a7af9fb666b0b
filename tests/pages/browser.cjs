// A page in a real browser, from the disk, with the network off: `browse(async (open) => result)` prints the result.
const { existsSync } = require("node:fs");
const { pathToFileURL } = require("node:url");
const { readFileSync } = require("node:fs");
const playwright = require("playwright-core");

const PROGRAMS = { chromium: ["/usr/bin/chromium"] };

/**
 * Open pages with `open(file, {width, height, dark, touch})`; the result of `act` is printed as JSON.
 *
 * Ends with 1 where a page wrote to the console, had an error, or asked for anything but files.
 */
exports.browse = async function (act, name = "chromium") {
  const executablePath = PROGRAMS[name].find(existsSync);
  const browser = await playwright[name].launch({ executablePath, args: name === "chromium" ? ["--no-sandbox"] : [] });
  const complaints = [];
  const open = async (file, { width = 1280, height = 900, dark = false, touch = false } = {}) => {
    const context = await browser.newContext({
      viewport: { width, height }, colorScheme: dark ? "dark" : "light", hasTouch: touch, offline: true,
    });
    const page = await context.newPage();
    page.on("console", (message) => complaints.push(`console: ${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => complaints.push(`error: ${error.stack}`));
    page.on("request", (request) => {
      if (!/^(file|blob|data):/.test(request.url())) complaints.push(`request: ${request.url()}`);
    });
    await page.goto(pathToFileURL(file).href);
    return page;
  };
  let result, failure;
  try {
    result = await act(open);
  } catch (error) {
    failure = error;
  }
  await browser.close();
  if (failure) complaints.push(failure.stack);
  if (complaints.length > 0) {
    console.error(complaints.join("\n"));
    process.exit(1);
  }
  console.log(JSON.stringify(result ?? null));
};

/** What axe-core finds on an open page: a line for each violation. */
exports.violations = async function (page) {
  await page.evaluate(readFileSync(require.resolve("axe-core/axe.min.js"), "utf8"));
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(" ")}`);
};
