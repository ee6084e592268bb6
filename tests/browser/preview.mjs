// Drives Chromium through a preview with the page's script running: a file is chosen, its columns are
// mapped without the page being left, and it is loaded. Called by tests/it/previews.rs:
//   node --experimental-websocket preview.mjs CHROMIUM URL USERNAME PASSWORD FILE
// Says what it saw as one line of JSON.
import { drive } from "./driver.mjs";

const [chromium, url, username, password, file] = process.argv.slice(2);

await drive(chromium, async ({ call, evaluate, until, logIn, photograph, scheme, narrow, wide, noises }) => {
  const choose = (name, value) => evaluate(`(() => {
    const field = document.querySelector('[name="${name}"]');
    field.value = ${JSON.stringify(value)};
    field.dispatchEvent(new Event("change", { bubbles: true }));
  })()`);
  await logIn(url, username, password, "/ui/uploads/new");
  await until("the form", `document.readyState === "complete" && !!document.querySelector("form[data-upload]")`);
  await photograph("new");
  const { result } = await call("Runtime.evaluate", { expression: `document.querySelector("input[type=file]")` });
  await call("DOM.setFileInputFiles", { objectId: result.objectId, files: [file] });
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
    await scheme("dark");
    await photograph("mapped-dark");
    await narrow(390);
    await photograph("mapped-narrow");
    await wide();
    await scheme();
  }
  await evaluate(`document.querySelector(".bar button.primary").click()`);
  await until("the upload", `location.pathname.startsWith("/ui/uploads/") && !!document.querySelector("#counts dl.sum")`);
  await until("its end", `/finished/.test(document.querySelector("#facts").textContent)`);
  const counts = await evaluate(`[...document.querySelectorAll("#counts dd")].map((count) => count.textContent)`);
  const rejects = await until("the rejects", `document.querySelector("#rejects h2")?.textContent`);
  await photograph("upload");
  return { refused, button, faults, stayed, address, counts, rejects, noises };
});
