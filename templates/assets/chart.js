// Draws the figures that the server made (script[data-figure]) with Plotly, in the theme's colours. Without
// it the same numbers stand in each chart's table.
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

  function draw(figure) {
    const { data, layout, config } = JSON.parse(figure.textContent, themed);
    layout.font.family = getComputedStyle(document.body).fontFamily;
    // A finger that moves over a chart scrolls the page; what was zoomed stays so in another theme.
    if (touched.matches) layout.dragmode = false;
    layout.uirevision = "kept";
    return window.Plotly.react(document.getElementById(figure.dataset.figure), data, layout, config);
  }
  const drawAll = () => figures.forEach(draw);

  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  new MutationObserver(drawAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  // The page's script brings a figure up to date by its text.
  for (const figure of figures) {
    new MutationObserver(() => draw(figure)).observe(figure, { childList: true, characterData: true, subtree: true });
  }
})();
