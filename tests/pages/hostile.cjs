// hostile.cjs BROWSER FOLDER: what pages show whose models fail, whose numbers do not fit, and whose names are scripts.
const path = require("node:path");
const { browse, violations } = require("./browser.cjs");

const [browser, folder, values, ...types] = process.argv.slice(2);
const inside = (page, name) => page.getByRole("region", { name, exact: true });

const ACTS = {
  async throws(page) {
    const said = await page.locator("[aria-live] .bad").first().textContent();
    await page.getByText("What the runtime says").click();
    return { said, raw: await page.locator("details[open] pre").first().textContent(), pictures: await page.locator("canvas").count() };
  },
  async infinite(page) {
    return { said: await page.locator("[aria-live] .bad").first().textContent(), pictures: await page.locator("canvas").count() };
  },
  async damaged(page) {
    await page.locator("canvas.pad").focus();
    for (let k = 0; k < 8; k++) await page.keyboard.press("Shift+ArrowDown");
    await inside(page, "Answer").locator(".bad").waitFor();
    return { said: await inside(page, "Answer").locator(".bad").textContent(), status: await page.textContent("[role=status]") };
  },
  async names(page) {
    await page.locator(".answer").waitFor();
    await page.getByLabel("Layer").selectOption({ index: 1 });
    await inside(page, "A look inside").locator("figcaption").waitFor();
    await page.getByText("Fill in from a row of a table").click();
    const text = page.locator("details textarea");
    await text.fill("1,5\t2,5\tblue");
    await page.getByRole("button", { name: "Fill in" }).click();
    const comma = await inside(page, "Answer").textContent();
    await page.getByLabel("decimal comma").check();
    await page.getByRole("button", { name: "Fill in" }).click();
    await page.locator(".answer").waitFor();
    return {
      comma, pasted: await page.locator("form input").evaluateAll((all) => all.map((each) => each.value)),
      hints: await page.locator("form input").evaluateAll((all) => all.map((each) => document.getElementById(each.getAttribute("aria-describedby"))?.textContent)),
      labels: await page.locator("form .name").allTextContents(), shares: await page.locator(".bars th[scope=row]").allTextContents(), scripts: await page.locator("main script, main img").count(), title: await page.title(),
    };
  },
  async many(page) {
    await page.locator("input[type=file]").first().setInputFiles(path.join(folder, "picture.png"));
    await page.locator(".answer").waitFor();
    return { note: await page.locator(".bars + p").textContent(), rows: await page.locator(".bars tbody tr").count() };
  },
};

/** The numbers that a model gives for each value in its first field, or its words. */
async function typed(page) {
  const found = {};
  for (const value of values.split(" ")) {
    await page.getByRole("textbox").first().fill(value);
    await page.waitForTimeout(150);
    found[value] = await inside(page, "Answer").locator(".bad, .answer").first().textContent();
  }
  return { found, status: await page.textContent("[role=status]") };
}

browse(async (open) => {
  const found = { axe: [] };
  for (const [name, act] of [...Object.entries(ACTS), ...types.map((type) => [type, typed])]) {
    const page = await open(path.join(folder, `${name}.html`), { width: 390, height: 844 });
    await page.waitForFunction(() => !/Loading/.test(document.querySelector("[role=status]").textContent));
    found[name] = await act(page);
    if (act !== typed) found.axe.push(...(await violations(page)));
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    if (wide > 390) found.axe.push(`${name}: the page is ${wide} pixels wide on a phone`);
    await page.close();
  }
  return found;
}, browser);
