// Looks at pages with charts in Chromium: that each is drawn, in the theme's colours, from this host alone,
// within the pages' policy, and that a page without script or on a narrow screen is whole. Called by
// tests/it/charts.rs:
//   node --experimental-websocket charts.mjs CHROMIUM URL USERNAME PASSWORD PATH…
// Says what it saw as one line of JSON.
import { drive } from "./driver.mjs";

const [chromium, url, username, password, ...paths] = process.argv.slice(2);

await drive(chromium, async ({ call, evaluate, until, logIn, photograph, scheme, narrow, wide, noises, requests }) => {
  const drawn = `(() => {
    const charts = [...document.querySelectorAll(".chart")];
    return charts.length > 0 && charts.every((chart) => chart.querySelector(".js-plotly-plot .main-svg .bars .point")) && charts.length;
  })()`;
  // The colour of a bar, of a number at the axis, and how far the page is wider than its window.
  const look = () => evaluate(`({
    bar: getComputedStyle(document.querySelector(".bars .point path")).fill,
    tick: getComputedStyle(document.querySelector(".ytick text")).fill,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    plot: document.querySelector(".main-svg").getBoundingClientRect().width,
  })`);
  const goto = async (path) => {
    await evaluate("window.left = false");
    await call("Page.navigate", { url: url + path });
    await until("the page", `window.left === undefined && document.readyState === "complete"`);
  };
  await logIn(url, username, password, "/ui");
  await until("the overview", `location.pathname === "/ui"`);
  const seen = [];
  for (const [index, path] of paths.entries()) {
    await scheme("light");
    await goto(path);
    const charts = await until("the charts", drawn);
    const bars = await evaluate(`document.querySelectorAll(".chart .bars .point").length`);
    const lines = await evaluate(`document.querySelectorAll(".chart .scatterlayer .js-line").length`);
    // What Plotly was given, and the numbers of the table, the earliest period first.
    const numbers = await evaluate(`[...document.querySelectorAll(".chart")].map((chart) => ({
      drawn: chart.querySelector(".js-plotly-plot").data.flatMap(({ x, y }) => x.map((day, at) => [day, y[at]])),
      table: [1, 2].flatMap((column) => [...chart.querySelectorAll("tbody tr")].reverse()
        .filter(({ cells }) => cells[column])
        .map(({ cells }) => [cells[0].dataset.day ?? cells[0].textContent, parseFloat(cells[column].textContent.split(",").join(""))])),
    }))`);
    const light = await look();
    await photograph(`chart-${index}-light`);
    // Where the pointer is, the exact numbers are.
    const { x, y } = await evaluate(`(() => {
      document.querySelector(".plot").scrollIntoView({ block: "center" });
      const box = document.querySelector(".bars .point path").getBoundingClientRect();
      return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
    })()`);
    await call("Input.dispatchMouseEvent", { type: "mouseMoved", x, y });
    const hover = await until("the hover", `document.querySelector(".hoverlayer .legend, .hoverlayer .hovertext")?.textContent`);
    await photograph(`chart-${index}-hover`);
    await scheme("dark");
    await until("other colours", `getComputedStyle(document.querySelector(".bars .point path")).fill !== ${JSON.stringify(light.bar)}`);
    const dark = await look();
    await photograph(`chart-${index}-dark`);
    await narrow(360);
    await goto(path);
    await until("the narrow charts", drawn);
    const small = await look();
    await photograph(`chart-${index}-narrow`);
    await wide();
    await scheme("light");
    await call("Emulation.setScriptExecutionDisabled", { value: true });
    await call("Page.navigate", { url: url + path });
    await new Promise((resolve) => setTimeout(resolve, 700));
    const { root } = await call("DOM.getDocument", { depth: -1 });
    const found = async (selector) => (await call("DOM.querySelectorAll", { nodeId: root.nodeId, selector })).nodeIds.length;
    const still = { tables: await found(".chart details tbody tr"), drawn: await found(".main-svg") };
    await photograph(`chart-${index}-still`);
    await call("Emulation.setScriptExecutionDisabled", { value: false });
    seen.push({ path, charts, bars, lines, numbers, light, dark, small, hover, still });
  }
  const foreign = requests.filter((address) => !address.startsWith(url) && !address.startsWith("data:") && !address.startsWith("about:"));
  return { seen, noises, foreign };
});
