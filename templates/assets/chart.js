// Draws the figures that the server made (script[data-figure]) with Plotly, in the theme's colours, from the numbers in
// each chart's table: a row for each period, the latest first, a column for each trace.
"use strict";
(() => {
  if (!window.Plotly) return;
  const figures = [...document.querySelectorAll("script[data-figure]")];
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  // A figure names the theme's tokens, `var(--accent)`; Plotly wants what they stand for just now.
  const themed = (_, value) => {
    if (typeof value !== "string" || !value.startsWith("var(")) return value;
    probe.style.color = value;
    return getComputedStyle(probe).color;
  };
  const touched = matchMedia("(pointer: coarse)");

  const tableOf = (figure) => figure.closest("figure").querySelector("tbody");
  // A cell that is not there is a gap.
  const number = (text) => text === "" ? null : Number(text.replaceAll(",", "").replace("\u2212", "-"));

  function draw(figure) {
    const { data, layout, config } = JSON.parse(figure.textContent, themed);
    const rows = [...tableOf(figure).rows].reverse();
    const x = rows.map(({ cells: [period] }) => period.dataset.day ?? period.textContent);
    data.forEach((trace, index) => {
      const hovertext = rows.map(({ cells }) => cells[index + 1]?.textContent ?? "");
      Object.assign(trace, { x, y: hovertext.map(number), hovertext });
    });
    layout.font.family = getComputedStyle(document.body).fontFamily;
    // A finger that moves over a chart scrolls the page; what was zoomed stays so in another theme.
    if (touched.matches) layout.dragmode = false;
    layout.uirevision = "kept";
    return window.Plotly.react(document.getElementById(figure.dataset.figure), data, layout, config);
  }
  const drawAll = () => figures.forEach(draw);

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  new MutationObserver(drawAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  // The page's script brings a figure and its table up to date by their texts.
  for (const figure of figures) {
    const changed = new MutationObserver(() => draw(figure));
    for (const part of [figure, tableOf(figure)]) {
      changed.observe(part, { attributes: true, childList: true, characterData: true, subtree: true });
    }
  }
  drawAll();
})();
