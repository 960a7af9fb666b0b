// models.cjs BROWSER FOLDER: uses the pages of models in FOLDER as people do, and says what they showed.
const { readFileSync, readdirSync } = require("node:fs");
const path = require("node:path");
const { browse, violations } = require("./browser.cjs");

const [browser, folder] = process.argv.slice(2);

// Strokes of digits, in a square of side 1.
const STROKES = {
  1: [[[0.5, 0.05], [0.5, 0.95]]],
  7: [[[0.2, 0.1], [0.8, 0.1], [0.45, 0.95]]],
  4: [[[0.35, 0.05], [0.2, 0.6], [0.8, 0.6]], [[0.65, 0.3], [0.65, 0.95]]],
  0: [[[0.5, 0.05], [0.25, 0.25], [0.2, 0.5], [0.27, 0.78], [0.5, 0.95], [0.73, 0.78], [0.8, 0.5], [0.75, 0.25], [0.5, 0.05]]],
  3: [[[0.25, 0.12], [0.5, 0.05], [0.75, 0.2], [0.68, 0.4], [0.45, 0.48], [0.72, 0.6], [0.75, 0.82], [0.5, 0.95], [0.22, 0.86]]],
};

async function draw(page, digit, left, side) {
  const box = await page.locator("canvas.pad").boundingBox();
  const at = ([x, y]) => [box.x + (left + x * side) * box.height, box.y + (0.5 + (y - 0.5) * side) * box.height];
  for (const [first, ...others] of STROKES[digit]) {
    await page.mouse.move(...at(first));
    await page.mouse.down();
    for (const point of others) await page.mouse.move(...at(point), { steps: 6 });
    await page.mouse.up();
  }
}

async function ready(page) {
  await page.waitForFunction(() => !/Loading/.test(document.querySelector("[role=status]").textContent));
  return page.textContent("[role=status]");
}

const answered = (page, text) => page.waitForFunction((wanted) => document.querySelector(".answer")?.textContent === wanted, text, { timeout: 10_000 });

async function drawn(open, found) {
  const began = Date.now(), page = await open(path.join(folder, "digits.html"));
  await draw(page, 7, 0.5, 0.6);
  await answered(page, "7");
  found.first = Date.now() - began;
  for (const digit of [1, 4, 0, 3]) {
    await page.getByRole("button", { name: "Clear" }).click();
    await draw(page, digit, 0.5, 0.6);
    await answered(page, String(digit));
  }
  await page.getByRole("button", { name: "Clear" }).click();
  for (const [place, digit] of [4, 0, 7].entries()) await draw(page, digit, 0.05 + place * 0.5, 0.45);
  await answered(page, "4 0 7");
  await page.getByRole("button", { name: "Which pixels decide?" }).click();
  await page.getByRole("img", { name: /Where covering/ }).waitFor();
  const layers = page.getByLabel("Layer");
  await layers.selectOption({ label: await layers.locator("option", { hasText: "Conv" }).first().textContent() });
  await page.getByRole("img", { name: /maps of/ }).waitFor();
  found.layer = await page.getByRole("img", { name: /maps of/ }).getAttribute("aria-label");
  found.axe.push(...(await violations(page)));
  // A line by the keyboard alone: a one.
  await page.getByRole("button", { name: "Clear" }).click();
  await page.locator("canvas.pad").focus();
  for (let k = 0; k < 16; k++) await page.keyboard.press("Shift+ArrowDown");
  await answered(page, "1");
  return page;
}

const predicted = (page, files) => page.evaluate(async (pictures) => {
  const answers = [];
  for (const picture of pictures) {
    const bytes = Uint8Array.from(atob(picture), (character) => character.charCodeAt(0));
    answers.push(await globalThis.portableNN.predict(new Blob([bytes])).catch((error) => error.message));
  }
  return answers;
}, files.map((file) => readFileSync(file).toString("base64")));

browse(async (open) => {
  const found = { axe: [], checked: [] };
  const page = await drawn(open, found);
  const names = readdirSync(path.join(folder, "pictures")).sort();
  found.names = names;
  found.pictures = await predicted(page, names.map((name) => path.join(folder, "pictures", name)));
  found.checked.push(await ready(page));

  await page.close();
  for (const [name, act] of Object.entries(ACTS)) {
    const opened = await open(path.join(folder, `${name}.html`), { width: 390, height: 844, dark: true, touch: true });
    found.checked.push(await ready(opened));
    found[name] = await act(opened);
    found.axe.push(...(await violations(opened)));
    const wide = await opened.evaluate(() => document.documentElement.scrollWidth);
    if (wide > 390) found.axe.push(`${name}: the page is ${wide} pixels wide on a phone`);
    await opened.close();
  }
  return found;
}, browser);

const pixels = (page) => page.evaluate(() => {
  const canvas = document.querySelector(".generated canvas");
  return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data].filter((_, k) => k % 4 === 0);
});

const ACTS = {
  async table(page) {
    await page.getByLabel("decimal comma").check();
    await page.getByRole("textbox", { name: /width/ }).fill("2,5");
    await page.getByRole("combobox", { name: "colour" }).selectOption("green");
    await page.waitForFunction(() => document.querySelector(".answer"));
    await page.waitForTimeout(300);
    const answer = await page.textContent(".answer"), shares = await page.locator("td.number").allTextContents();
    await page.getByRole("textbox", { name: /width/ }).fill("wide");
    const fault = await page.locator(".bad").first().textContent();
    await page.getByRole("textbox", { name: /width/ }).fill("2,5");
    await page.getByLabel("decimal comma").uncheck();
    return { answer, shares, fault, respelled: await page.getByRole("textbox", { name: /width/ }).inputValue() };
  },
  async generator(page) {
    await page.getByRole("button", { name: "7", exact: true }).tap();
    await page.getByRole("img", { name: "A 7 that the network makes" }).waitFor();
    const first = await pixels(page), way = page.getByLabel("The way from one picture to another");
    await way.fill("0.5");
    await page.waitForTimeout(300);
    const between = await pixels(page);
    await way.fill("0");
    await page.waitForTimeout(300);
    await page.getByText("numbers of the noise").tap();
    return { first, between, again: await pixels(page), noise: await page.locator(".sliders input").evaluateAll((all) => all.map((each) => Number(each.value))) };
  },
  async series(page) {
    await page.locator("svg.chart").first().waitFor();
    await page.getByRole("slider", { name: "Row" }).fill("7");
    const [height, spread] = [await page.locator(".answer").first().textContent(), await page.locator(".answer + p").first().textContent()];
    const charts = await page.locator("svg.chart").evaluateAll((all) => all.map((each) => each.getAttribute("aria-label")));
    const [saved] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save answers as CSV" }).tap()]);
    await page.getByLabel("Layer").selectOption({ index: 1 });
    const layer = page.locator("figcaption", { hasText: /maps? of/ });
    await layer.waitFor();
    const before = await layer.textContent();
    await page.getByRole("slider", { name: "Row" }).fill("250");
    await page.waitForFunction((text) => [...document.querySelectorAll("figcaption")].every((each) => each.textContent !== text), before);
    return { height, spread, charts, layers: [before, await layer.textContent()], csv: readFileSync(await saved.path(), "utf8") };
  },
  async numbers(page) {
    await page.getByRole("button", { name: "Run" }).tap();
    await page.locator("pre").first().waitFor();
    return JSON.parse(await page.locator("pre").first().textContent());
  },
};
