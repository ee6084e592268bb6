// Drives Chromium through a preview with the page's script running: a file is chosen, its columns are
// mapped without the page being left, and it is loaded. Called by tests/it/previews.rs:
//   node --experimental-websocket preview.mjs CHROMIUM URL USERNAME PASSWORD FILE
// Says what it saw as one line of JSON; a step that does not come true within 20 s ends it with an error.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [chromium, url, username, password, file] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), "millrace-browser-"));
const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-proxy-server",
  "--remote-debugging-port=0", `--user-data-dir=${profile}`, "--window-size=1280,900", "about:blank"];
const browser = spawn(chromium, flags, { stdio: ["ignore", "ignore", "pipe"] });

const endpoint = await new Promise((resolve, reject) => {
  let said = "";
  browser.stderr.on("data", (bytes) => {
    said += bytes;
    const found = said.match(/DevTools listening on (ws:\S+)/);
    if (found) resolve(found[1]);
  });
  browser.on("exit", () => reject(new Error(`the browser ended: ${said}`)));
});

const socket = new WebSocket(endpoint);
await new Promise((resolve) => { socket.onopen = resolve; });
let last = 0;
const waiting = new Map();
const noises = [];
socket.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  waiting.get(message.id)?.(message);
  if (message.method === "Runtime.exceptionThrown") noises.push(message.params.exceptionDetails.text);
  if (message.method === "Log.entryAdded" && message.params.entry.level === "error") noises.push(message.params.entry.text);
};
function send(method, params = {}, sessionId = undefined) {
  last += 1;
  const id = last;
  socket.send(JSON.stringify({ id, method, params, sessionId }));
  return new Promise((resolve, reject) => {
    waiting.set(id, (answer) => answer.error ? reject(new Error(`${method}: ${answer.error.message}`)) : resolve(answer.result));
  });
}

const { targetId } = await send("Target.createTarget", { url: "about:blank" });
const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
const page = (method, params) => send(method, params, sessionId);
for (const domain of ["Page", "Runtime", "DOM", "Log"]) await page(`${domain}.enable`);

async function evaluate(expression) {
  const { result, exceptionDetails } = await page("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
  if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description}`);
  return result.value;
}
async function until(what, expression) {
  for (const began = Date.now(); Date.now() - began < 20_000;) {
    // Between two pages there is nothing to ask.
    const value = await evaluate(expression).catch(() => undefined);
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`waited in vain for ${what}: ${await evaluate("document.body.innerText")}`);
}
const choose = (name, value) => evaluate(`(() => {
  const field = document.querySelector('[name="${name}"]');
  field.value = ${JSON.stringify(value)};
  field.dispatchEvent(new Event("change", { bubbles: true }));
})()`);
async function photograph(name) {
  if (!process.env.MILLRACE_SCREENSHOTS) return;
  const { data } = await page("Page.captureScreenshot", { captureBeyondViewport: true });
  writeFileSync(join(process.env.MILLRACE_SCREENSHOTS, `${name}.png`), Buffer.from(data, "base64"));
}

let status = 0;
try {
  await page("Page.navigate", { url: `${url}/ui/login?next=%2Fui%2Fuploads%2Fnew` });
  await until("the login", `!!document.querySelector('[name="password"]')`);
  await evaluate(`(() => {
    document.querySelector('[name="username"]').value = ${JSON.stringify(username)};
    document.querySelector('[name="password"]').value = ${JSON.stringify(password)};
    document.querySelector("form").requestSubmit();
  })()`);
  await until("the form", `!!document.querySelector("form[data-upload]")`);
  await photograph("new");
  const { root } = await page("DOM.getDocument");
  const { nodeId } = await page("DOM.querySelector", { nodeId: root.nodeId, selector: "input[type=file]" });
  await page("DOM.setFileInputFiles", { nodeId, files: [file] });
  await evaluate(`document.querySelector("form[data-upload] button.primary").click()`);
  await until("the preview", `!!document.querySelector("form[data-relook]")`);
  await evaluate("window.stayed = true");
  const refused = await evaluate(`document.querySelector(".bar .refusal").textContent`);
  await photograph("preview");
  const fields = ["transaction_id", "client_id", "occurred_at", "amount", "merchant_id"];
  for (const [column, field] of fields.entries()) await choose(`column.${column}`, field);
  const button = await until("the mapped rows", `(() => {
    const button = document.querySelector(".bar button.primary[type=submit]");
    return button && !document.querySelector("form[aria-busy]") && document.querySelectorAll(".rows th").length === 6 && button.textContent;
  })()`);
  const faults = await evaluate(`document.querySelectorAll("tr.fault").length`);
  const stayed = await evaluate("window.stayed === true");
  const address = await evaluate("location.search");
  await photograph("mapped");
  if (process.env.MILLRACE_SCREENSHOTS) {
    await page("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: "dark" }] });
    await photograph("mapped-dark");
    await page("Emulation.setDeviceMetricsOverride", { width: 390, height: 844, deviceScaleFactor: 1, mobile: true });
    await photograph("mapped-narrow");
    await page("Emulation.clearDeviceMetricsOverride");
    await page("Emulation.setEmulatedMedia", { features: [] });
  }
  await evaluate(`document.querySelector(".bar button.primary").click()`);
  await until("the upload", `location.pathname.startsWith("/ui/uploads/") && !!document.querySelector("#counts dl.sum")`);
  await until("its end", `/finished/.test(document.querySelector("#facts").textContent)`);
  const counts = await evaluate(`[...document.querySelectorAll("#counts dd")].map((count) => count.textContent)`);
  const rejects = await until("the rejects", `document.querySelector("#rejects h2")?.textContent`);
  await photograph("upload");
  process.stdout.write(`${JSON.stringify({ refused, button, faults, stayed, address, counts, rejects, noises })}\n`);
} catch (error) {
  process.stderr.write(`${error.stack}\n`);
  status = 1;
}
browser.removeAllListeners("exit");
const ended = new Promise((resolve) => browser.on("exit", resolve));
socket.close();
browser.kill();
await ended;
// Its helpers end a little later, and write until then.
for (let tries = 0; ; tries += 1) {
  try {
    rmSync(profile, { recursive: true, force: true });
    break;
  } catch (error) {
    if (tries === 50) throw error;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
process.exit(status);
