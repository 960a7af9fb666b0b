// lesson_games.cjs BROWSER MIXED PRODUCT: pages of games used by mouse, finger and keys: strategies, two rates, noise.
const { browse, violations } = require("./browser.cjs");

const [name, mixedFile, productFile] = process.argv.slice(2);

const number = (page, what) => page.getByLabel(`${what}, as a number`, { exact: true });
const drawn = (page) => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
const fact = (page, what) => page.locator(`dt:text-is("${what}") + dd`).textContent();

async function state(page) {
  await drawn(page);
  const command = await page.getByRole("group", { name: "The same on the command line" }).textContent();
  return { command: command.trim(), measured: await fact(page, "measured"), verdict: await page.locator("p.verdict").textContent() };
}

/** The middle of the start of a player in the triangle. */
async function startOf(page, player) {
  await page.locator(".grabbable").scrollIntoViewIfNeeded();
  const { x, y, width, height } = await page.locator(`.grabbable [data-player="${player}"]`).boundingBox();
  return { x: x + width / 2, y: y + height / 2 };
}

async function mixed(open) {
  const page = await open(mixedFile), found = { first: await state(page), x: await fact(page, "x in the end") };
  const from = await startOf(page, 1);
  await page.mouse.move(from.x, from.y);
  await page.mouse.down();
  await page.mouse.move(from.x + 30, from.y - 30);
  await page.mouse.move(from.x + 50, from.y - 50);
  await page.mouse.up();
  found.dragged = await state(page);
  await page.getByLabel("Shown up").selectOption("x0");
  found.shown = [await page.getByLabel("Shown across").inputValue(), await page.getByLabel("Shown up").inputValue()];
  await page.getByLabel("A rate for each player").check();
  await number(page, "Learning rate of y").fill("0.5");
  await page.getByText("Noise", { exact: true }).click();
  await number(page, "Noise: standard deviation").fill("0.2");
  await page.getByLabel("Seed: which random numbers", { exact: true }).focus();
  for (let times = 0; times < 3; times++) await page.keyboard.press("ArrowRight");
  found.noisy = await state(page);
  found.violations = await violations(page);
  await page.getByRole("button", { name: "As at first" }).click();
  found.again = await state(page);
  return found;
}

async function touched(open) {
  const page = await open(mixedFile, { width: 390, height: 844, touch: true });
  const from = await startOf(page, 0), session = await page.context().newCDPSession(page);
  const touch = (type, ...points) => session.send("Input.dispatchTouchEvent", { type, touchPoints: points });
  const before = await page.evaluate(() => scrollY);
  await touch("touchStart", from);
  for (let step = 1; step <= 5; step++) await touch("touchMove", { x: from.x + 4 * step, y: from.y + 8 * step });
  await touch("touchEnd");
  return { ...(await state(page)), scrolled: (await page.evaluate(() => scrollY)) - before, violations: await violations(page),
    wide: await page.evaluate(() => document.documentElement.scrollWidth) };
}

async function product(open) {
  const page = await open(productFile, { dark: true }), found = await state(page);
  return { ...found, one: await fact(page, "the same as one rate of"), orbits: await page.locator("ellipse.orbit").count(), violations: await violations(page) };
}

browse(async (open) => ({ mixed: await mixed(open), touched: await touched(open), product: await product(open) }), name);
