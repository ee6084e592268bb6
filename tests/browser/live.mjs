// Watches the live view in Chromium while transactions are sent: rows come, are held, filtered, and come after a lost
// connection; thousands at once. Called by tests/it/live_page.rs:
//   node --experimental-websocket live.mjs CHROMIUM URL USERNAME PASSWORD TOKEN
// The browser reaches the server by a way that can be cut. Says what it saw as one line of JSON.
import { createServer, connect as dial } from "node:net";
import { drive } from "./driver.mjs";

const [chromium, direct, username, password, token] = process.argv.slice(2);

async function ask(path, body) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const answer = await fetch(direct + path, { method: "POST", headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
}
const transaction = (id, more = {}) => ({ transaction_id: id, client_id: "c1", occurred_at: "2026-11-20T10:00:00Z", amount: "12.50", ...more });
const post = (id, more) => ask("/api/v1/transactions", transaction(id, more));
const postAll = (transactions) => ask("/api/v1/transactions:batch", { transactions });
const trade = (side, volume) => ask("/api/v1/trades", { client_id: "ann", ticker: "AAA", side, volume });

// A way to the server.
const open = new Set();
let way;
const restore = (port) => new Promise((resolve) => {
  way = createServer((client) => {
    const server = dial(Number(new URL(direct).port), "127.0.0.1");
    for (const [one, other] of [[client, server], [server, client]]) {
      open.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => { open.delete(one); other.destroy(); });
      one.pipe(other);
    }
  });
  way.listen(port, "127.0.0.1", () => resolve(way.address().port));
});
const cut = () => {
  way.close();
  for (const one of open) one.destroy();
};

await drive(chromium, async ({ call, evaluate, until, logIn, photograph, scheme, narrow, wide, noises }) => {
  const port = await restore(0);
  const url = `http://127.0.0.1:${port}`;
  const ids = (most = 1000) => evaluate(`[...document.querySelectorAll("#feed tbody tr")].slice(0, ${most}).map((row) => row.querySelector(".copy").dataset.copy)`);
  const shown = (id) => until(id, `document.querySelector("#feed tbody tr .copy")?.dataset.copy === ${JSON.stringify(id)}`);
  const sign = (state) => until(`the state ${state}`, `document.querySelector("[data-live-state]").dataset.state === "${state}"`);
  const pill = (text) => until(text, `document.querySelector("[data-waiting]").textContent === "${text}" && !document.querySelector("[data-waiting]").hidden`);
  const key = async (name) => {
    for (const type of ["keyDown", "keyUp"]) await call("Input.dispatchKeyEvent", { type, key: name, text: type === "keyDown" ? name : undefined });
  };
  const point = (x, y) => call("Input.dispatchMouseEvent", { type: "mouseMoved", x, y });
  const goto = async (path) => {
    await evaluate("window.left = false");
    await call("Page.navigate", { url: url + path });
    await until("the page", `window.left === undefined && document.readyState === "complete"`);
  };
  const looks = [];
  const look = async (name) => {
    for (const [theme, prepare] of [["light", () => scheme("light")], ["dark", () => scheme("dark")], ["narrow", () => narrow(360)]]) {
      await prepare();
      await new Promise((resolve) => setTimeout(resolve, 200));
      looks.push({ name, theme, overflow: await evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") });
      await photograph(`live-${name}-${theme}`);
    }
    await wide();
    await scheme("light");
  };

  await logIn(url, username, password, "/ui/transactions/live");
  await sign("live");
  await look("empty");
  await post("a1");
  await post("b1", { client_id: "9f8b0e1c-0f4e-4f8f-9d6e-2b6f3c1d5a77", merchant_id: "coffee-corner-12", amount: "1234567.8901", currency: "EUR" });
  await shown("b1");
  const first = await ids();
  // Held by a key, shown by another.
  await key("p");
  await sign("paused");
  await post("c1", { status: "pending" });
  await post("d1", { kind: "refund", amount: "4" });
  await pill("Show 2 new");
  const paused = {
    rows: await ids(),
    pill: await evaluate(`document.querySelector("[data-waiting]").textContent`),
    sign: await evaluate(`document.querySelector("[data-live-word]").textContent`),
  };
  await look("paused");
  await key(" ");
  await shown("d1");
  const resumed = await ids();
  // Held while the pointer is on a row.
  const place = await evaluate(`(() => { const { x, y } = document.querySelector("#feed tbody tr").getBoundingClientRect(); return { x: x + 5, y: y + 5 }; })()`);
  await point(place.x, place.y);
  await sign("paused");
  await post("e1");
  await pill("Show 1 new");
  const pointed = { rows: await ids(), pill: await evaluate(`document.querySelector("[data-waiting]").textContent`) };
  await point(2, 2);
  await shown("e1");
  const left = await ids();
  // Of every form: the script's rows, and the server's of the same.
  await post("c1", { status: "success" });
  await post("live", { client_id: "a b/ü", status: "failed", channel: "web" });
  await post("s1", { kind: "buy", ticker: "ACME", shares: "12.5", price: "10.2", amount: "127.5" });
  await post("s2", { kind: "sell", stock_name: "A <b> name that goes on and on and on & on for ever", shares: "3", amount: "1" });
  await post("m1", { merchant_id: "M <i>&", product_id: "p\"1", currency: "JPY", amount: "0.0005" });
  await trade("buy", 3);
  await until("the trade", `document.querySelector("#feed tbody tr td:nth-child(6)").textContent.includes("settled")`);
  await trade("sell", 70);
  await until("the other", `document.querySelector("#feed tbody tr td:nth-child(6)").textContent.includes("rejected")`);
  const texts = () => evaluate(`[...document.querySelectorAll("#feed tbody tr")].map((row) => [row.dataset.key, row.querySelector("time").title, decodeURIComponent(row.querySelector("a.row").getAttribute("href")), ...[...row.cells].map((cell) => cell.textContent.replace(/\\s+/g, " ").trim())])`);
  const made = await texts();
  await goto("/ui/transactions/live");
  const rendered = await texts();
  await sign("live");
  // A filter, by the form: the page stays, and only what matches comes.
  await evaluate("window.stayed = true");
  await evaluate(`(() => {
    document.querySelector('[name="client_id"]').value = "cc";
    document.querySelector('[name="min_amount"]').value = "10";
    document.querySelector("#feed-filter").requestSubmit();
  })()`);
  await until("no row", `window.stayed && !document.querySelector("#feed tbody tr") && document.querySelector("#feed-empty").textContent.includes("matches so far")`);
  await look("none");
  await sign("live");
  await post("n1", { client_id: "cc", amount: "10" });
  await post("x1", { client_id: "cc", amount: "9.9999" });
  await post("x2", { amount: "99" });
  await post("n2", { client_id: "cc", amount: "10.01" });
  await shown("n2");
  const narrowed = { rows: await ids(), search: await evaluate("location.search") };
  await evaluate("history.back()");
  await until("all rows", `document.querySelectorAll("#feed tbody tr").length === 16`);
  const back = await evaluate(`document.querySelector('[name="client_id"]').value + location.search`);
  await sign("live");
  const quiet = [...noises];
  // The way breaks; what comes meanwhile is there afterwards.
  const rest = [];
  for (let at = 0; at < 30; at += 1) rest.push(`r${at}`);
  for (const id of rest.slice(0, 5)) await post(id);
  await shown("r4");
  cut();
  await sign("reconnecting");
  const lost = await evaluate(`document.querySelector("[data-live-word]").textContent`);
  await photograph("live-lost-light");
  for (const id of rest.slice(5, 25)) await post(id);
  await restore(port);
  await sign("live");
  for (const id of rest.slice(25)) await post(id);
  await shown("r29");
  const after = await ids(30);
  if (process.env.MILLRACE_SCREENSHOTS) {
    for (let at = 0; at < 40; at += 1) {
      await post(`z${at}`, [{}, { kind: "refund", merchant_id: "coffee-corner-12" }, { status: "pending", merchant_id: "bakery", product_id: "bread" }, { kind: "buy", ticker: "ACME", shares: "12", price: "10.2", amount: "122.4" }, { status: "failed", client_id: "9f8b0e1c-0f4e-4f8f-9d6e-2b6f3c1d5a77", amount: "12345.6" }][at % 5]);
      if (at % 10 === 0) await trade("buy", 1);
      await new Promise((resolve) => setTimeout(resolve, 60 * (at % 4)));
    }
  }
  await photograph("live-busy-light");
  await look("full");
  // Thousands at once: counted all, shown the newest, and the page answers meanwhile.
  await call("Page.addScriptToEvaluateOnNewDocument", { source: `window.EventSource = class extends EventSource {
    constructor(...all) { super(...all); window.stream = this; }
  };` });
  const total = `Number(document.querySelector("[data-total]").textContent.replace(",", ""))`;
  await goto("/ui/transactions/live");
  await sign("live");
  await evaluate(`(() => {
    window.longest = 0;
    let then = performance.now();
    setInterval(() => { const now = performance.now(); window.longest = Math.max(window.longest, now - then); then = now; }, 10);
  })()`);
  for (let part = 0; part < 5; part += 1) {
    await postAll(Array.from({ length: 1000 }, (_, at) => transaction(`f${part * 1000 + at}`, { client_id: `client-${at % 97}`, merchant_id: `merchant-${at % 13}`, amount: `${at}.${10 + at % 90}`, status: at % 5 ? "success" : "pending" })));
  }
  await shown("f4999");
  const flood = {
    newest: (await ids(1))[0],
    rows: (await ids()).length,
    longest: await evaluate("window.longest"),
  };
  await until("the count", `${total} >= 5000`);
  flood.total = await evaluate(total);
  // Notices: of what was left out; of a feed that began anew, which the test sees to.
  const said = (name) => until(name, `(() => {
    const note = document.querySelector('[data-notice="${name}"]');
    return !note.hidden && note.innerText.replace(/\\s+/g, " ");
  })()`);
  await evaluate(`window.stream.dispatchEvent(new MessageEvent("gap", { data: '{"missed":1234}' }))`);
  const gap = await said("gap");
  await post("renew");
  const reset = await said("reset");
  await until("the rows anew", `document.querySelectorAll("#feed tbody tr").length === 50`);
  await sign("live");
  await post("renewed");
  await shown("renewed");
  await look("notices");
  if (process.env.MILLRACE_SCREENSHOTS) {
    await goto("/ui/transactions");
    await photograph("live-transactions");
    await goto("/ui");
    await photograph("live-overview");
    await goto("/ui/transactions/live");
    await sign("live");
  }
  // Who is signed out is told so.
  await evaluate(`fetch("/ui/logout", { method: "POST", body: new URLSearchParams({ csrf_token: document.querySelector('[name="csrf_token"]').value }) })`);
  cut();
  await restore(port);
  const session = await said("session");
  await photograph("live-signed-out");
  cut();
  return { gap, reset, session, first, paused, resumed, pointed, left, made, rendered, narrowed, back, noises: quiet, lost, after, flood, looks };
});
