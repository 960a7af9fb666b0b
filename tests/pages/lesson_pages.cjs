// The lessons in a browser, used by mouse and keys: what they say at each moment.
const { browse, violations } = require("./browser.cjs");

const [name, gameFile, sizeFile, undefinedFile] = process.argv.slice(2);

/** The value beside a name in a list of facts. */
const fact = (page, name) => page.locator(`dt:text-is("${name}") + dd`).textContent();
const number = (page, name) => page.getByLabel(name, { exact: true });
/** After the page has drawn what was asked for. */
const drawn = (page) => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));

async function state(page) {
  await drawn(page);
  return {
    verdict: await page.locator("p.verdict").textContent(),
    radius: await fact(page, "largest eigenvalue"),
    measured: await fact(page, "measured"),
    start: [await number(page, "Start x, as a number").inputValue(), await number(page, "Start y, as a number").inputValue()].map(Number),
    rate: Number(await number(page, "Learning rate η, as a number").inputValue()),
    turn: await page.getByLabel("Turn").inputValue(),
    path: await page.locator(".plane .line.path").getAttribute("d"),
  };
}

async function drag(page, from, to) {
  await page.mouse.move(...from);
  await page.mouse.down();
  await page.mouse.move((from[0] + to[0]) / 2, (from[1] + to[1]) / 2);
  await page.mouse.move(...to);
  await page.mouse.up();
}

async function game(open) {
  const page = await open(gameFile);
  const found = { first: await state(page) };
  await page.locator("[aria-roledescription='movable start']").scrollIntoViewIfNeeded();
  const box = await page.locator(".plane .handle").boundingBox();
  const middle = [box.x + box.width / 2, box.y + box.height / 2];
  await drag(page, middle, [middle[0] + 40, middle[1] + 30]);
  found.dragged = await state(page);
  await page.locator("[aria-roledescription='movable start']").focus();
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("Shift+ArrowUp");
  found.keys = await state(page);
  const canvas = page.locator("canvas");
  await canvas.scrollIntoViewIfNeeded();
  const area = await canvas.boundingBox();
  await drag(page, [area.x + 20, area.y + 20], [area.x + 120, area.y + 40]);
  found.turned = await state(page);
  await page.getByLabel("Learning rate η", { exact: true }).focus();
  await page.keyboard.press("ArrowRight");
  found.faster = await state(page);
  await page.getByLabel("Method", { exact: true }).selectOption("extragradient");
  await number(page, "Learning rate η, as a number").fill("0.3");
  await number(page, "gamma: extrapolation step size; by default the learning rate, as a number").fill("0.5");
  found.extragradient = await state(page);
  await page.getByLabel("Method", { exact: true }).selectOption("adam");
  await drawn(page);
  found.adam = await page.locator("p.verdict").textContent();
  await page.emulateMedia({ reducedMotion: "reduce" });
  await number(page, "Gradients so far, as a number").fill("100");
  await page.getByRole("button", { name: "Start the race" }).click();
  await drawn(page);
  found.race = await page.locator("tbody tr").filter({ has: page.locator(".swatch") }).evaluateAll((rows) =>
    rows.map((row) => [...row.children].map((cell) => cell.textContent)));
  await page.getByRole("button", { name: "As at first" }).click();
  found.again = await state(page);
  found.violations = await violations(page);
  return found;
}

/** A run that comes to where f is not defined, numbers that do not fit, and labels of levels that are near each other. */
async function left(open) {
  const page = await open(undefinedFile);
  await drawn(page);
  const command = await page.getByRole("group", { name: "The same on the command line" }).textContent();
  const found = { verdict: await page.locator("p.verdict").textContent(), measured: await fact(page, "measured"), gradients: await fact(page, "gradients"), command: command.trim() };
  const levels = await page.locator("text.tick.bad, .level ~ text.tick").filter({ hasText: /largest eigenvalue|as far as before/ }).all();
  found.labels = await Promise.all(levels.map(async (label) => (await label.boundingBox()).y));
  const rate = number(page, "Learning rate η, as a number");
  await rate.fill("-1");
  found.reason = await page.locator("p.bad.small:visible").textContent();
  found.violations = await violations(page);
  await rate.blur();
  found.rate = await rate.inputValue();
  found.reasons = await page.locator("p.bad.small:visible").count();
  return found;
}

async function cells(page) {
  await drawn(page);
  return {
    answer: (await page.locator("p.answer").textContent()).replaceAll("×", "x"),
    where: await page.locator("p.where").textContent(),
    warning: await page.locator("p[role='status']").textContent(),
    torch: await page.getByRole("group", { name: "PyTorch" }).textContent().then((text) => text.trim()),
    onnx: await page.getByRole("group", { name: "ONNX" }).textContent().then((text) => text.trim()),
    command: await page.getByRole("group", { name: "On the command line" }).textContent().then((text) => text.trim()),
    counts: await page.locator(".count").allTextContents(),
    kernel: await page.locator(".kernel").evaluateAll((found) => found.map((one) => [one.getAttribute("x"), one.getAttribute("y")].join())),
  };
}

async function size(open) {
  const page = await open(sizeFile);
  const found = { first: await cells(page) };
  await page.locator(".boards").focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowDown");
  found.keys = await cells(page);
  await page.keyboard.press("End");
  found.end = await cells(page);
  const box = await page.locator(".board").nth(1).boundingBox();
  await page.mouse.move(box.x + box.width * 0.4, box.y + box.height * 0.6);
  found.mouse = await cells(page);
  await page.getByLabel("Kernel", { exact: true }).focus();
  await page.keyboard.press("ArrowRight");
  found.kernel = await cells(page);
  await number(page, "Padding, as a number").fill("9");
  found.fault = await cells(page);
  await number(page, "Padding, as a number").fill("0");
  await page.getByLabel("Padding alike at both ends").uncheck();
  await number(page, "Padding at the end, as a number").fill("1");
  await number(page, "Groups, as a number").fill("2");
  await number(page, "Input channels, as a number").fill("4");
  await number(page, "Output channels, as a number").fill("6");
  found.groups = await cells(page);
  await number(page, "Input size, as a number").fill("60");
  found.large = await cells(page);
  await page.getByRole("button", { name: "As at first" }).click();
  await page.getByLabel("Operation").selectOption("conv");
  await page.getByLabel("How often each cell is read").check();
  found.conv = await cells(page);
  await page.getByLabel("Operation").selectOption("pool");
  await page.getByLabel("Of each window").selectOption("average");
  await page.getByLabel("Round up (ceil)").check();
  await drawn(page); // What is at the end is known when the page has been drawn.
  await page.locator(".boards").focus();
  await page.keyboard.press("End");
  found.average = await cells(page);
  await page.getByLabel("Count the padding").check();
  found.counted = await cells(page);
  found.violations = await violations(page);
  return found;
}

/** A board of many cells on a phone: it scrolls to the kernel, and the page stays. */
async function scrolled(open) {
  const page = await open(sizeFile, { width: 390, height: 844, touch: true });
  await page.getByLabel("Operation").selectOption("conv");
  await number(page, "Kernel, as a number").fill("3");
  await number(page, "Stride, as a number").fill("1");
  await number(page, "Input size, as a number").fill("40");
  await drawn(page);
  await page.locator(".boards").focus();
  await page.keyboard.press("End");
  const seen = await page.locator(".around").evaluateAll((boards) => boards.map((board) => {
    const [cell, around] = [board.querySelector(".over").lastElementChild, board].map((one) => one.getBoundingClientRect());
    return board.scrollWidth > board.clientWidth && cell.right <= around.right + 1 && cell.left >= around.left - 1 && cell.bottom <= around.bottom + 1;
  }));
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  return { where: (await cells(page)).where, seen: [...seen, width === 390], violations: await violations(page) };
}

async function looks(open) {
  const found = [];
  for (const file of [gameFile, sizeFile]) {
    for (const dark of [false, true]) {
      const page = await open(file, { width: 390, height: 844, touch: true, dark });
      await drawn(page);
      found.push(...(await violations(page)));
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      if (width > 390) found.push(`${file} is ${width} pixels wide`);
    }
  }
  return found;
}

/** Fingers: a tap puts the start, and the kernel, to a place. */
async function tapped(open) {
  const phone = { width: 390, height: 844, touch: true };
  const page = await open(gameFile, phone);
  await page.locator(".plane .handle").scrollIntoViewIfNeeded();
  const plane = await page.locator("[aria-roledescription='movable start'] .plane").boundingBox();
  await page.touchscreen.tap(plane.x + plane.width * 0.25, plane.y + plane.height * 0.4);
  const { start } = await state(page);
  const other = await open(sizeFile, phone);
  const board = await other.locator(".board").nth(1).boundingBox();
  await other.touchscreen.tap(board.x + board.width * 0.95, board.y + 5);
  const touched = await cells(other);
  await other.emulateMedia({ reducedMotion: "reduce" });
  await other.getByRole("button", { name: "Move the kernel" }).click();
  return { start, where: touched.where, next: (await cells(other)).where };
}

/** Sets the controls to extremes and to numbers in between, in an order that is the same each time. */
async function everything(open) {
  let seed = 1;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const found = [];
  for (const file of [gameFile, sizeFile]) {
    const page = await open(file);
    for (let round = 0; round < 15; round++) {
      for (const list of await page.locator("select").all()) {
        const names = await list.locator("option").allTextContents();
        if (names.length) await list.selectOption(names[Math.floor(random() * names.length)]);
      }
      for (const field of await page.locator("input[type=number]").all()) {
        if (random() < 0.5 || !(await field.isVisible())) continue;
        const ends = [await field.getAttribute("min"), await field.getAttribute("max")];
        await field.fill(random() < 0.3 ? ends[Math.floor(2 * random())] : String(Math.round(random() * 8)));
      }
      await drawn(page);
      const text = await page.locator("main").innerHTML();
      found.push(...(text.match(/.{40}(NaN|undefined|Infinity).{20}/g) ?? []));
    }
  }
  return found;
}

browse(async (open) => ({
  game: await game(open), left: await left(open), size: { ...(await size(open)), scrolled: await scrolled(open) }, looks: await looks(open), tapped: await tapped(open), everything: await everything(open),
}), name);
