// Places an order in Chromium and takes it back by the dialog; then looks at each page of stocks, trades and
// accounts in both themes and on a narrow screen: how far it is wider than its window. Called by
// tests/it/trade_pages.rs:
//   node --experimental-websocket trades.mjs CHROMIUM URL USERNAME PASSWORD
// Says what it saw as one line of JSON.
import { drive } from "./driver.mjs";

const [chromium, url, username, password] = process.argv.slice(2);

await drive(chromium, async ({ call, evaluate, until, logIn, photograph, scheme, narrow, wide, noises }) => {
  const goto = async (path) => {
    await evaluate("window.left = false");
    await call("Page.navigate", { url: url + path });
    await until("the page", `window.left === undefined && document.readyState === "complete"`);
  };
  await logIn(url, username, password, "/ui/trades/new?client=c1&ticker=ACME&side=buy");
  await until("the form", `!!document.querySelector('[name="volume"]')`);
  await evaluate(`(() => {
    document.querySelector('[name="volume"]').value = "3";
    document.querySelector('main form').requestSubmit();
  })()`);
  const placed = await until("the trade", `/^\\/ui\\/trades\\/[0-9a-f]{8}-/.test(location.pathname) && location.pathname`);
  await until("its settlement", `document.querySelector("#facts").textContent.includes("settled")`);
  await photograph("trade-settled");
  await evaluate(`document.querySelector('[data-confirm="reverse-trade"] button').click()`);
  const asked = await until("the question", `document.querySelector("#reverse-trade[open]")?.textContent`);
  await photograph("trade-question");
  await evaluate(`document.querySelector("#reverse-trade .primary").click()`);
  const reversal = await until("the reversal", `location.pathname !== ${JSON.stringify(placed)} && /trades\\/[0-9a-f]{8}-/.test(location.pathname) && location.pathname`);
  await until("what it took back", `document.body.textContent.includes("It took back")`);
  const paths = ["/ui/trades", "/ui/trades?client=nobody&state=pending", "/ui/trades/new?client=c1&ticker=ACME&side=sell",
    placed, reversal, "/ui/stocks", "/ui/stocks/ACME", "/ui/stocks/new", "/ui/clients", "/ui/clients/c1", "/ui/clients/new",
    "/ui/clients/c1/holdings", "/ui/clients/c1/statement", "/ui/clients/c1/statement?ticker=ACME", "/ui/admin"];
  const looks = [];
  for (const [index, path] of paths.entries()) {
    for (const [name, prepare] of [["light", () => scheme("light")], ["dark", () => scheme("dark")], ["narrow", () => narrow(360)]]) {
      await prepare();
      await goto(path);
      const overflow = await evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
      await photograph(`trades-${String(index).padStart(2, "0")}-${name}`);
      looks.push({ path, name, overflow });
    }
    await wide();
    await scheme("light");
  }
  return { asked, looks, noises };
});
