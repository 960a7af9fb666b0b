// firefox_decoding.cjs FOLDER: what a page reads in the pictures of FOLDER in Firefox.
const { browse } = require("./firefox.cjs");
const { page, readAll } = require("./decoding.cjs");

const [folder] = process.argv.slice(2);

browse(async (open) => {
  const opened = await open(page(folder));
  return readAll(folder, opened.evaluate);
});
