// firefox_lessons.cjs GAME SIZE: the pages of lessons in Firefox, used by mouse and keys: what they say at each moment.
const { browse } = require("./firefox.cjs");

const [gameFile, sizeFile] = process.argv.slice(2);

/** After the page has drawn: its facts by name, and the values and texts of some elements. */
const read = (page, texts) => page.evaluate(async (wanted) => {
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const text = (selector) => document.querySelector(selector).textContent.trim();
  const labelled = [...document.querySelectorAll("input[type=number]")].map((field) => [
    field.getAttribute("aria-label") ?? field.labels[0]?.textContent.trim(), Number(field.value)]);
  return {
    facts: Object.fromEntries([...document.querySelectorAll("dt")].map((name) => [name.textContent, name.nextElementSibling.textContent])),
    numbers: Object.fromEntries(labelled),
    groups: Object.fromEntries([...document.querySelectorAll("[role=group]")].map((group) => [group.getAttribute("aria-label"), group.textContent.trim()])),
    counts: [...document.querySelectorAll(".count")].map((count) => count.textContent),
    ...Object.fromEntries(Object.entries(wanted).map(([name, selector]) => [name, text(selector)])),
  };
}, texts);

/** A number or a choice put into the control of a name, as people do. */
const set = (page, name, value) => page.evaluate(async (wanted, given) => {
  const field = [...document.querySelectorAll("input, select")].find((each) =>
    each.getAttribute("aria-label") === wanted || each.labels[0]?.textContent.trim() === wanted);
  if (field.tagName === "SELECT") field.selectedIndex = [...field.options].findIndex((option) => option.value === given || option.textContent === given);
  else field.value = given;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.dispatchEvent(new Event("change", { bubbles: true }));
}, name, value);

const GAME = { verdict: "p.verdict" }, SIZE = { answer: "p.answer", where: "p.where" };
const RIGHT = "\uE014", DOWN = "\uE015";

browse(async (open) => {
  const game = await open(gameFile), found = { game: [await read(game, GAME)], size: [] };
  await game.draw(".plane .handle", [[0.5, 0.5], [1.5, 1.2], [2.5, 2]]);
  found.game.push(await read(game, GAME));
  await game.press("[aria-roledescription='movable start']", RIGHT);
  found.game.push(await read(game, GAME));
  await set(game, "Method", "extragradient");
  await set(game, "Learning rate η, as a number", "0.3");
  found.game.push(await read(game, GAME));
  const size = await open(sizeFile);
  found.size.push(await read(size, SIZE));
  await size.press(".boards", RIGHT, DOWN);
  found.size.push(await read(size, SIZE));
  await set(size, "Kernel, as a number", "4");
  found.size.push(await read(size, SIZE));
  return found;
});
