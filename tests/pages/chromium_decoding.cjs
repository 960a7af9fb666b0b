// chromium_decoding.cjs BROWSER FOLDER: what a page reads in the pictures of FOLDER in Chromium.
const { browse } = require("./browser.cjs");
const { page, readAll } = require("./decoding.cjs");

const [browser, folder] = process.argv.slice(2);

browse(async (open) => {
  const opened = await open(page(folder));
  return readAll(folder, (work, file) => opened.evaluate(work, file));
}, browser);
