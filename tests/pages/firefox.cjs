// firefox.cjs FOLDER: the page digits.html in FOLDER in Firefox, through WebDriver BiDi, which it speaks itself.
//
// Prints what the page says of its own numbers, the answer to a digit that is drawn, and the answers to all pictures.
const { spawn } = require("node:child_process");
const { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } = require("node:fs");
const { tmpdir } = require("node:os");
const path = require("node:path");
const { pathToFileURL } = require("node:url");

const [folder] = process.argv.slice(2);
const PROGRAM = ["/usr/bin/firefox-esr", "/usr/bin/firefox"].find(existsSync);
// No word to anybody when it starts.
const QUIET = { "browser.aboutConfig.showWarning": false, "datareporting.policy.dataSubmissionEnabled": false,
  "app.update.enabled": false, "network.dns.disabled": true, "remote.log.level": "Warn" };

async function main() {
  const profile = mkdtempSync(path.join(tmpdir(), "firefox-"));
  writeFileSync(path.join(profile, "user.js"), Object.entries(QUIET).map(([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});\n`).join(""));
  const browser = spawn(PROGRAM, ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"], { stdio: ["ignore", "ignore", "pipe"] });
  try {
    return await visit(await listening(browser));
  } finally {
    browser.kill();
    await new Promise((resolve) => (browser.exitCode === null ? browser.once("exit", resolve) : resolve()));
    rmSync(profile, { recursive: true, force: true });
  }
}

function listening(browser) {
  return new Promise((resolve, reject) => {
    let said = "";
    browser.stderr.on("data", (part) => {
      const found = /listening on (ws:\S+)/.exec((said += part));
      if (found) resolve(`${found[1]}/session`);
    });
    browser.once("exit", () => reject(new Error(`Firefox ended: ${said}`)));
  });
}

async function visit(address) {
  const socket = new WebSocket(address), waiting = new Map(), complaints = [];
  await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.method === "log.entryAdded") complaints.push(`${message.params.level}: ${message.params.text}`);
    const [resolve, reject] = waiting.get(message.id) ?? [];
    if (message.type === "error") reject?.(new Error(`${message.error}: ${message.message}`));
    else resolve?.(message.result);
  };
  let count = 0;
  const send = (method, params) => new Promise((resolve, reject) => {
    waiting.set(++count, [resolve, reject]);
    socket.send(JSON.stringify({ id: count, method, params }));
  });
  await send("session.new", { capabilities: {} });
  await send("session.subscribe", { events: ["log.entryAdded"] });
  const { context } = await send("browsingContext.create", { type: "tab" });
  await send("browsingContext.navigate", { context, url: pathToFileURL(path.join(folder, "digits.html")).href, wait: "complete" });
  const evaluate = async (work, ...given) => {
    const expression = `(${work})(...${JSON.stringify(given)}).then(JSON.stringify)`;
    const found = await send("script.evaluate", { expression, target: { context }, awaitPromise: true });
    if (found.type === "exception") throw new Error(found.exceptionDetails.text);
    return JSON.parse(found.result.value);
  };
  const until = (selector, pattern) => evaluate(async (place, wanted) => {
    for (let tries = 0; tries < 300; tries++) {
      const text = document.querySelector(place)?.textContent ?? "";
      if (new RegExp(wanted).test(text)) return text;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return `nothing: ${document.body.innerText}`;
  }, selector, pattern);
  const checked = await until("[role=status]", "^(?!Loading)");
  const box = await evaluate(async () => {
    const { x, y, width, height } = document.querySelector("canvas.pad").getBoundingClientRect();
    return { x, y, width, height };
  });
  const points = [[0.4, 0.25], [0.6, 0.25], [0.47, 0.75]].map(([x, y]) => ({ type: "pointerMove", duration: 100, x: Math.round(box.x + x * box.width), y: Math.round(box.y + y * box.height) }));
  const [first, ...others] = points;
  await send("input.performActions", { context, actions: [{ type: "pointer", id: "pen", actions: [first, { type: "pointerDown", button: 0 }, ...others, { type: "pointerUp", button: 0 }] }] });
  const drawn = await until(".answer", ".");
  const names = readdirSync(path.join(folder, "pictures")).sort();
  const pictures = await evaluate(async (all) => {
    const answers = [];
    for (const picture of all) {
      const bytes = Uint8Array.from(atob(picture), (character) => character.charCodeAt(0));
      answers.push(await globalThis.portableNN.predict(new Blob([bytes])).catch((error) => error.message));
    }
    return answers;
  }, names.map((name) => readFileSync(path.join(folder, "pictures", name)).toString("base64")));
  socket.close();
  if (complaints.length) throw new Error(complaints.join("\n"));
  return { checked, drawn, names, pictures };
}

main().then((found) => console.log(JSON.stringify(found)), (error) => { console.error(error.stack); process.exitCode = 1; });
