// Starts Chromium and drives one page of it over its debugging protocol; what the page complains of is noted.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// Runs `work` with a page and prints what it returns as one line of JSON; a step that does not come true
// within 20 s ends it with an error.
export async function drive(chromium, work) {
  const profile = mkdtempSync(join(tmpdir(), "millrace-browser-"));
  const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-proxy-server",
    "--remote-debugging-port=0", `--user-data-dir=${profile}`, "--window-size=1280,900", "about:blank"];
  const browser = spawn(chromium, flags, { stdio: ["ignore", "ignore", "pipe"] });
  let status = 0;
  let socket;
  try {
    socket = await connect(browser);
    const page = await open(socket);
    process.stdout.write(`${JSON.stringify(await work(page))}\n`);
  } catch (error) {
    process.stderr.write(`${error.stack}\n`);
    status = 1;
  }
  browser.removeAllListeners("exit");
  const ended = new Promise((resolve) => browser.on("exit", resolve));
  socket?.close();
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
}

async function connect(browser) {
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
  return socket;
}

async function open(socket) {
  let last = 0;
  const waiting = new Map();
  // Errors, warnings and what the policy refused; every address that was asked for.
  const noises = [];
  const requests = [];
  socket.onmessage = ({ data }) => {
    const { id, method, params } = JSON.parse(data);
    if (id) waiting.get(id)?.(JSON.parse(data));
    if (method === "Runtime.exceptionThrown") noises.push(params.exceptionDetails.text);
    if (method === "Log.entryAdded" && params.entry.level === "error") noises.push(params.entry.text);
    if (method === "Runtime.consoleAPICalled" && ["error", "warning"].includes(params.type)) noises.push(params.args.map((one) => one.value).join(" "));
    if (method === "Network.requestWillBeSent") requests.push(params.request.url);
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
  const call = (method, params) => send(method, params, sessionId);
  for (const domain of ["Page", "Runtime", "DOM", "Log", "Network"]) await call(`${domain}.enable`);

  async function evaluate(expression) {
    const { result, exceptionDetails } = await call("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
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
  async function logIn(url, username, password, next) {
    await call("Page.navigate", { url: `${url}/ui/login?next=${encodeURIComponent(next)}` });
    await until("the login", `!!document.querySelector('[name="password"]')`);
    await evaluate(`(() => {
      document.querySelector('[name="username"]').value = ${JSON.stringify(username)};
      document.querySelector('[name="password"]').value = ${JSON.stringify(password)};
      document.querySelector("form").requestSubmit();
    })()`);
  }
  // A picture for people, into the directory MILLRACE_SCREENSHOTS if that is set.
  async function photograph(name) {
    if (!process.env.MILLRACE_SCREENSHOTS) return;
    const { data } = await call("Page.captureScreenshot", { captureBeyondViewport: true });
    writeFileSync(join(process.env.MILLRACE_SCREENSHOTS, `${name}.png`), Buffer.from(data, "base64"));
  }
  const scheme = (value) => call("Emulation.setEmulatedMedia", { features: value ? [{ name: "prefers-color-scheme", value }] : [] });
  const narrow = (width) => call("Emulation.setDeviceMetricsOverride", { width, height: 844, deviceScaleFactor: 1, mobile: true });
  const wide = () => call("Emulation.clearDeviceMetricsOverride");
  return { call, evaluate, until, logIn, photograph, scheme, narrow, wide, noises, requests };
}
