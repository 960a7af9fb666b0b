// uses.cjs BROWSER FOLDER: what the pages in FOLDER say of what people type and choose wrongly, and of much at once.
const { readFileSync } = require("node:fs");
const path = require("node:path");
const { browse, violations } = require("./browser.cjs");

const [browser, folder] = process.argv.slice(2);

const inside = (page, name) => page.getByRole("region", { name, exact: true });
const choose = (page, ...names) => page.locator("input[type=file]").first().setInputFiles(names.map((name) => path.join(folder, name)));
const saved = async (page, name) => {
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name }).click()]);
  return { name: file.suggestedFilename(), text: readFileSync(await file.path(), "utf8") };
};
/** The colours of marks by the names beside them. */
const colours = (page, marks, name) => page.locator(marks).evaluateAll((all, tag) => Object.fromEntries(all.map((each) => [
  each.closest(tag).querySelector("th, li")?.textContent ?? each.closest(tag).textContent, getComputedStyle(each).backgroundColor,
])), name);

const ACTS = {
  async forty(page) {
    await page.locator(".legend").waitFor();
    return {
      answer: await page.textContent(".answer"), legend: await page.locator(".legend li").allTextContents(), strong: await page.locator(".legend .best").allTextContents(),
      lines: await colours(page, ".legend i", "li"), bars: await colours(page, ".bars .bar > i", "tr"),
    };
  },
  async wide(page) {
    const fields = await page.locator("form .field").count(), shown = () => page.locator("form .field:visible").count();
    await page.getByLabel("Find a column").fill("c15");
    const found = await shown();
    await page.getByLabel("Find a column").fill("");
    await page.getByText("Fill in from a row of a table").click();
    const file = page.locator("details input[type=file]").first();
    await file.setInputFiles(path.join(folder, "short.csv"));
    const fault = await page.locator("details .bad").textContent();
    await file.setInputFiles(path.join(folder, "rows.csv"));
    await page.getByText("Filled in with the first of 2 rows.").waitFor();
    const c7 = page.getByRole("textbox", { name: "c7", exact: true });
    const values = await c7.inputValue();
    await page.waitForTimeout(500);
    const shares = await page.locator("td.number").allTextContents();
    await c7.fill("1,500");
    const comma = await inside(page, "Answer").textContent();
    return { fields, found, fault, values, shares, comma };
  },
  async log(page) {
    return { answer: await inside(page, "Answer").textContent() };
  },
  async series(page) {
    const empty = { buttons: await page.getByRole("button").allTextContents(), sliders: await page.getByRole("slider").count() };
    await choose(page, "good.npy");
    await page.getByText("good.npy: 4 rows").waitFor();
    await choose(page, "bad.npy");
    await page.getByText("Below is still good.npy").waitFor();
    const bad = await page.locator(".bad").first().textContent(), kept = await saved(page, "Save answers as CSV");
    await choose(page, "holes.npy");
    await page.getByText("holes.npy: 4 rows").waitFor();
    return { empty, bad, kept, holes: await saved(page, "Save answers as CSV"), about: await inside(page, "Series").locator("p").first().textContent() };
  },
  async surface(page) {
    await page.getByText("Share of the rows").waitFor();
    return { shares: await inside(page, "Series").locator("td.number").allTextContents(), lines: await colours(page, ".legend i", "li"), bars: await colours(page, ".bars .bar > i", "tr") };
  },
  async lstm(page) {
    await page.getByLabel("Layer").selectOption({ index: 1 });
    const layer = await page.locator("figcaption").textContent();
    await page.getByRole("button", { name: "Run" }).click();
    await page.locator(".answer").waitFor();
    return { layer, answers: await page.locator(".answer").count(), inputs: await inside(page, "Inputs").textContent() };
  },
  async gather(page) {
    const run = async (text) => {
      await page.locator("textarea").fill(text);
      await page.getByRole("button", { name: "Run" }).click();
      await page.waitForTimeout(300);
      return inside(page, "Outputs").locator(".bad, pre").first().textContent();
    };
    const found = [];
    for (const text of ["[[1,2]]", "[[0.5,1]]", "[[10,0]]", "[[-9223372036854775808,0]]"]) found.push(await run(text));
    await page.getByText("What the runtime says").click();
    return { found, raw: await page.locator("details pre").first().textContent(), good: await run("[[2,0]]") };
  },
  async digits(page) {
    await choose(page, "seven.png", "blank.png", "a picture with a very long name that is wider than a telephone.png", "words.txt");
    await page.getByText("4 pictures", { exact: true }).waitFor();
    const table = page.locator("table.results"), rows = await table.locator("tbody tr").evaluateAll((all) => all.map((row) => [...row.children].map((cell) => cell.textContent)));
    return { rows, wide: await table.evaluate((each) => each.scrollWidth - each.parentElement.clientWidth), csv: (await saved(page, "Save as CSV")).text };
  },
};

browse(async (open) => {
  const found = { axe: [] };
  for (const [name, act] of Object.entries(ACTS)) {
    const page = await open(path.join(folder, `${name}.html`), { width: 390, height: 844, dark: true });
    await page.waitForFunction(() => !/Loading/.test(document.querySelector("[role=status]").textContent));
    found[name] = await act(page);
    found.axe.push(...(await violations(page)));
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    if (wide > 390) found.axe.push(`${name}: the page is ${wide} pixels wide on a phone`);
    await page.close();
  }
  return found;
}, browser);
