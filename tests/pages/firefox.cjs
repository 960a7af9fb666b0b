// A page in Firefox, from the disk, through WebDriver BiDi, which Firefox speaks itself: `browse(async (open) => result)`
// prints the result.
const { spawn } = require("node:child_process");
const { existsSync, mkdtempSync, rmSync, writeFileSync } = require("node:fs");
const { tmpdir } = require("node:os");
const path = require("node:path");
const { pathToFileURL } = require("node:url");

const PROGRAM = ["/usr/bin/firefox-esr", "/usr/bin/firefox"].find(existsSync);
// No word to anybody when it starts.
const QUIET = { "browser.aboutConfig.showWarning": false, "datareporting.policy.dataSubmissionEnabled": false,
  "app.update.enabled": false, "network.dns.disabled": true, "remote.log.level": "Warn" };

/** Open pages with `open(file)`; the result of `act` is printed as JSON. Ends with 1 where a page wrote to the console. */
exports.browse = function (act) {
  started(act).then((found) => console.log(JSON.stringify(found)), (error) => { console.error(error.stack); process.exitCode = 1; });
};

async function started(act) {
  const profile = mkdtempSync(path.join(tmpdir(), "firefox-"));
  writeFileSync(path.join(profile, "user.js"), Object.entries(QUIET).map(([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});\n`).join(""));
  const browser = spawn(PROGRAM, ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"], { stdio: ["ignore", "ignore", "pipe"] });
  try {
    return await connected(await listening(browser), act);
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

async function connected(address, act) {
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
  const result = await act((file) => opened(send, file));
  socket.close();
  if (complaints.length) throw new Error(complaints.join("\n"));
  return result;
}

/** A page: what is done in it, and by its pointer and keys. */
async function opened(send, file) {
  const { context } = await send("browsingContext.create", { type: "tab" });
  await send("browsingContext.navigate", { context, url: pathToFileURL(file).href, wait: "complete" });
  /** What an async function gives in the page, from arguments and to a result that JSON can say. */
  const evaluate = async (work, ...given) => {
    const expression = `(${work})(...${JSON.stringify(given)}).then(JSON.stringify)`;
    const found = await send("script.evaluate", { expression, target: { context }, awaitPromise: true });
    if (found.type === "exception") throw new Error(found.exceptionDetails.text);
    return JSON.parse(found.result.value ?? "null"); // Nothing, where it gives nothing.
  };
  /** The text of an element, once it is as wanted. */
  const until = (selector, pattern) => evaluate(async (place, wanted) => {
    for (let tries = 0; tries < 300; tries++) {
      const text = document.querySelector(place)?.textContent ?? "";
      if (new RegExp(wanted).test(text)) return text;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return `nothing: ${document.body.innerText}`;
  }, selector, pattern);
  const perform = (actions) => send("input.performActions", { context, actions });
  return {
    evaluate,
    until,
    /** A line by a mouse, a finger ("touch") or a pen, through points in shares of an element; other fingers may rest on it. */
    async draw(selector, points, pointerType = "mouse", resting = []) {
      const box = await evaluate(async (place) => {
        const element = document.querySelector(place);
        element.scrollIntoView({ block: "center" });
        const { x, y, width, height } = element.getBoundingClientRect();
        return { x, y, width, height };
      }, selector);
      const move = ([x, y]) => ({ type: "pointerMove", duration: 100, x: Math.round(box.x + x * box.width), y: Math.round(box.y + y * box.height) });
      const line = ([first, ...others]) => [move(first), { type: "pointerDown", button: 0 }, ...others.map(move), { type: "pointerUp", button: 0 }];
      const rest = ([first]) => [{ type: "pause" }, ...line(Array(points.length).fill(first))]; // Begins after the line, and stays.
      const sources = [line(points), ...resting.map((place) => rest([place]))];
      await perform(sources.map((actions, k) => ({ type: "pointer", id: `${pointerType}-${k}`, parameters: { pointerType }, actions })));
    },
    /** Keys, one after another, on an element. */
    async press(selector, ...keys) {
      await evaluate(async (place) => { document.querySelector(place).focus(); }, selector);
      await perform([{ type: "key", id: "keys", actions: keys.flatMap((value) => [{ type: "keyDown", value }, { type: "keyUp", value }]) }]);
    },
  };
}
