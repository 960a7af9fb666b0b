// firefox_gestures.cjs FOLDER: a digit drawn on the page digits.html in FOLDER in Firefox, by a finger, a hand that rests, and a pen.
//
// Fingers are real to the page: Firefox makes the events of what WebDriver BiDi performs, as for hands (isTrusted). It performs
// no pen: those events are made by a script, which cannot capture a pointer that is none.
const path = require("node:path");
const { browse } = require("./firefox.cjs");

const [folder] = process.argv.slice(2);
const SEVEN = [[0.4, 0.25], [0.6, 0.25], [0.47, 0.75]];

const penned = (page) => page.evaluate(async (points) => {
  const pad = document.querySelector("canvas.pad"), { left, top, width, height } = pad.getBoundingClientRect();
  pad.setPointerCapture = () => undefined;
  const send = (type, [x, y], buttons) => pad.dispatchEvent(new PointerEvent(type, {
    pointerId: 7, pointerType: "pen", pressure: buttons / 2, buttons, bubbles: true, cancelable: true, clientX: left + x * width, clientY: top + y * height,
  }));
  send("pointerdown", points[0], 1);
  for (const point of points.slice(1)) send("pointermove", point, 1);
  send("pointerup", points[points.length - 1], 0);
}, SEVEN);

const GESTURES = {
  finger: (page) => page.draw("canvas.pad", SEVEN, "touch"),
  resting: (page) => page.draw("canvas.pad", SEVEN, "touch", [[0.9, 0.9]]),
  pen: penned,
};

browse(async (open) => {
  const found = {};
  for (const [name, act] of Object.entries(GESTURES)) {
    const page = await open(path.join(folder, "digits.html"));
    await page.until("[role=status]", "^(?!Loading)");
    await page.evaluate(async () => {
      globalThis.met = [];
      const note = ({ type, pointerType, isTrusted }) => globalThis.met.push([type, pointerType, isTrusted]);
      for (const kind of ["pointerdown", "pointermove"]) document.querySelector("canvas.pad").addEventListener(kind, note);
    });
    await act(page);
    const answer = await page.until(".answer", ".");
    found[name] = await page.evaluate(async (text) => {
      const pad = document.querySelector("canvas.pad"), levels = pad.getContext("2d").getImageData(0, 0, pad.width, pad.height).data;
      const ink = levels.filter((level, k) => k % 4 === 0 && level < 128).length;
      return { answer: text, met: globalThis.met, ink };
    }, answer);
  }
  return found;
});
