// firefox_models.cjs FOLDER: the page digits.html in FOLDER in Firefox.
//
// Prints what the page says of its own numbers, the answer to a digit that is drawn, and the answers to all pictures.
const { readFileSync, readdirSync } = require("node:fs");
const path = require("node:path");
const { browse } = require("./firefox.cjs");

const [folder] = process.argv.slice(2);

browse(async (open) => {
  const page = await open(path.join(folder, "digits.html"));
  const checked = await page.until("[role=status]", "^(?!Loading)");
  await page.draw("canvas.pad", [[0.4, 0.25], [0.6, 0.25], [0.47, 0.75]]);
  const drawn = await page.until(".answer", ".");
  const names = readdirSync(path.join(folder, "pictures")).sort();
  const pictures = await page.evaluate(async (all) => {
    const answers = [];
    for (const picture of all) {
      const bytes = Uint8Array.from(atob(picture), (character) => character.charCodeAt(0));
      answers.push(await globalThis.portableNN.predict(new Blob([bytes])).catch((error) => error.message));
    }
    return answers;
  }, names.map((name) => readFileSync(path.join(folder, "pictures", name)).toString("base64")));
  return { checked, drawn, names, pictures };
});
