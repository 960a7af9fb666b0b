// gestures.cjs BROWSER FOLDER: pictures drawn by finger and pen, dropped and pasted, on the pages in FOLDER.
const { readFileSync } = require("node:fs");
const path = require("node:path");
const { browse } = require("./browser.cjs");

const [browser, folder] = process.argv.slice(2);
const PHONE = { width: 390, height: 844, touch: true };
const SEVEN = [[0.4, 0.25], [0.6, 0.25], [0.47, 0.75]];

const answered = (page) => page.waitForFunction(() => document.querySelector(".answer")?.textContent, undefined, { timeout: 30_000 }).then((found) => found.jsonValue());
const picture = (name) => path.join(folder, `${name}.png`);

/** The points of a line, close to each other, in pixels of the window. */
async function wayOf(page, points) {
  const box = await page.locator("canvas.pad").boundingBox(), found = [];
  for (const [k, [x, y]] of points.entries()) {
    const [fromX, fromY] = points[Math.max(0, k - 1)];
    for (let step = 1; step <= 8; step++) {
      const share = step / 8;
      found.push({ x: box.x + box.width * (fromX + (x - fromX) * share), y: box.y + box.height * (fromY + (y - fromY) * share) });
    }
  }
  return found;
}

/** How many pixels of the sheet are dark, and which kinds of pointer it met. */
const ink = (page) => page.evaluate(() => {
  const pad = document.querySelector("canvas.pad");
  return pad.getContext("2d").getImageData(0, 0, pad.width, pad.height).data.filter((level, k) => k % 4 === 0 && level < 128).length;
});
const watch = (page) => page.evaluate(() => {
  globalThis.met = [];
  document.querySelector("canvas.pad").addEventListener("pointermove", ({ pointerType }) => globalThis.met.push(pointerType));
});
const met = (page) => page.evaluate(() => [...new Set(globalThis.met)]);

/** A line by a finger, while others may rest on the sheet. */
async function finger(page, points, resting = []) {
  const session = await page.context().newCDPSession(page);
  const touch = (type, touchPoints) => session.send("Input.dispatchTouchEvent", { type, touchPoints });
  const [first, ...others] = await wayOf(page, points), rest = (await wayOf(page, resting)).slice(-1).map((point) => ({ ...point, id: 1 }));
  await touch("touchStart", [{ ...first, id: 0 }]);
  if (rest.length) await touch("touchStart", [{ ...first, id: 0 }, ...rest]);
  for (const point of others) await touch("touchMove", [{ ...point, id: 0 }, ...rest.map((other) => ({ ...other, x: other.x + (point.x - first.x) / 20 }))]);
  await touch("touchEnd", []);
}

async function pen(page, points) {
  const session = await page.context().newCDPSession(page);
  const send = (type, point, buttons) => session.send("Input.dispatchMouseEvent", { type, ...point, button: "left", buttons, clickCount: 1, pointerType: "pen", force: buttons / 2 });
  const all = await wayOf(page, points);
  await send("mouseMoved", all[0], 0);
  await send("mousePressed", all[0], 1);
  for (const point of all.slice(1)) await send("mouseMoved", point, 1);
  await send("mouseReleased", all[all.length - 1], 0);
}

async function drawn(open, act, options) {
  const page = await open(path.join(folder, "digits.html"), options);
  await watch(page);
  await act(page, SEVEN);
  const found = { answer: await answered(page), met: await met(page), ink: await ink(page), scrolled: await page.evaluate(() => scrollY) };
  await page.close();
  return found;
}

/** Files that come from outside of the browser, let fall on the sheet. */
async function drop(page, ...files) {
  const session = await page.context().newCDPSession(page);
  const { x, y, width, height } = await page.locator("canvas.pad").boundingBox();
  const send = (type) => session.send("Input.dispatchDragEvent", { type, x: x + width / 2, y: y + height / 2, data: { items: [], files, dragOperationsMask: 1 } });
  await send("dragEnter");
  await send("dragOver");
  const marked = await page.locator("canvas.pad.dropping").count();
  await send("drop");
  return marked - (await page.locator("canvas.pad.dropping").count());
}

async function paste(page, file) {
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.evaluate(async (bytes) => {
    const blob = new Blob([Uint8Array.from(atob(bytes), (character) => character.charCodeAt(0))], { type: "image/png" });
    await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
  }, readFileSync(file).toString("base64"));
  await page.keyboard.press("Control+V");
}

async function given(open) {
  const page = await open(path.join(folder, "photos.html")), found = {};
  found.marked = await drop(page, picture("first"));
  await answered(page);
  found.dropped = await page.locator("tbody tr, .answer").allTextContents();
  await page.getByRole("button", { name: "Clear" }).click();
  await paste(page, picture("second"));
  await answered(page);
  found.pasted = await page.locator("tbody tr, .answer").allTextContents();
  await drop(page, path.join(folder, "words.txt"));
  await page.getByText("words.txt: expected a picture").waitFor();
  await drop(page, picture("first"), picture("second"), path.join(folder, "words.txt"));
  await page.getByRole("button", { name: "Save as CSV" }).waitFor();
  await page.getByRole("cell", { name: "expected a picture as a PNG, JPEG, WebP, GIF or BMP file" }).waitFor();
  found.several = await page.locator("table:has(th:text-is('picture')) tbody tr").evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
  found.shares = await page.evaluate((all) => Promise.all(all.map(async (bytes) => {
    const blob = new Blob([Uint8Array.from(atob(bytes), (character) => character.charCodeAt(0))]);
    return (await globalThis.portableNN.predict(blob))[0].outputs;
  })), ["first", "second"].map((name) => readFileSync(picture(name)).toString("base64")));
  found.licence = await page.evaluate(() => document.querySelector("footer details").textContent);
  await page.getByText("Software of others in ONNX Runtime").click();
  await page.waitForFunction(() => document.querySelector("footer .notices").textContent.length > 1000);
  found.notices = await page.evaluate(() => document.querySelector("footer .notices").textContent);
  return found;
}

browse(async (open) => ({
  finger: await drawn(open, finger, PHONE),
  resting: await drawn(open, (page, points) => finger(page, points, [[0.9, 0.9]]), PHONE),
  pen: await drawn(open, pen),
  given: await given(open),
}), browser);
