// firefox_lesson_games.cjs MIXED: a start dragged in the triangle of strategies in Firefox, by mouse and by finger.
const { browse } = require("./firefox.cjs");

const [mixedFile] = process.argv.slice(2);

browse(async (open) => {
  const found = {};
  for (const kind of ["mouse", "touch"]) {
    const page = await open(mixedFile);
    await page.draw('.grabbable [data-player="1"]', [[0.5, 0.5], [1.5, -0.5], [2.5, -1.5]], kind);
    found[kind] = await page.evaluate(async () => {
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      return document.querySelector('[aria-label="The same on the command line"]').textContent.trim();
    });
  }
  return found;
});
