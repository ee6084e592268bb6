// Millrace's one script. Every page works without it; with it, what is marked `data-live` follows the
// server, ids copy at a click, keys reach places, and files can be dropped. Nothing here decides
// anything: the server renders, this swaps.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("script");
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (selector, within = document) => within.querySelector(selector);

  // ---- keeping the page as the server would render it now --------------------------------------

  const keyOf = (node) => node.nodeType === 1 ? node.id || node.dataset.key || null : null;
  // What a person is doing to an element survives: open disclosures, typed text.
  const kept = (element, name) =>
    (name === "open" && /^(DETAILS|DIALOG)$/.test(element.nodeName)) ||
    (name === "value" && element === document.activeElement);

  function morph(from, to) {
    if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) return from.replaceWith(to);
    if (from.nodeType !== 1) {
      if (from.data !== to.data) from.data = to.data;
      return undefined;
    }
    // What is inside a dialog or a plot is the person's, or drawn by another script.
    if (from.isEqualNode(to) || from.nodeName === "DIALOG" || "plot" in from.dataset) return undefined;
    for (const { name } of [...from.attributes]) {
      if (!to.hasAttribute(name) && !kept(from, name)) from.removeAttribute(name);
    }
    for (const { name, value } of [...to.attributes]) {
      if (from.getAttribute(name) !== value && !kept(from, name)) from.setAttribute(name, value);
    }
    const keyed = new Map();
    for (const child of from.childNodes) if (keyOf(child)) keyed.set(keyOf(child), child);
    let place = from.firstChild;
    for (const wanted of [...to.childNodes]) {
      const key = keyOf(wanted);
      const match = key ? keyed.get(key) : place && !keyOf(place) && place.nodeName === wanted.nodeName ? place : null;
      if (!match) {
        if (wanted.nodeName === "TR" && keyed.size) wanted.classList.add("fresh");
        from.insertBefore(wanted, place);
        continue;
      }
      if (match === place) place = place.nextSibling;
      else from.insertBefore(match, place);
      morph(match, wanted);
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
    return undefined;
  }

  const selecting = (element) => {
    const selection = getSelection();
    return selection && !selection.isCollapsed && selection.containsNode(element, true);
  };

  let fetching = false;
  let again = false;
  async function refresh() {
    if (fetching) { again = true; return; }
    fetching = true;
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!response.ok || response.redirected) throw new Error("not this page");
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      for (const part of all("[data-live]")) {
        const wanted = fresh.getElementById(part.id);
        if (wanted && !selecting(part)) morph(part, wanted);
      }
      count();
    } catch {
      show("stale");
    }
    fetching = false;
    if (again) { again = false; setTimeout(refresh, 250); }
  }

  // ---- the live state: live, paused by hand, stale ----------------------------------------------

  // The live view follows a stream of its own, and shows there how that is (live.js).
  const feed = one("[data-feed]");
  const sign = feed ? null : one("[data-live-state]");
  const words = { live: "live", paused: "paused", stale: "stale" };
  const told = {
    live: "Updates by itself. Click to pause.",
    paused: "Paused. Click to go on.",
    stale: "The connection is gone; what you see may be old. It reconnects by itself.",
  };
  let source = null;
  let silence = null;
  let paused = false;

  function show(state) {
    if (!sign || sign.dataset.state === state) return;
    sign.dataset.state = state;
    sign.title = told[state];
    one("[data-live-word]", sign).textContent = words[state];
  }
  function heard() {
    show("live");
    clearTimeout(silence);
    silence = setTimeout(() => show("stale"), 25000);
  }
  function connect() {
    if (source || paused || document.hidden) return;
    source = new EventSource("/ui/live");
    let opened = false;
    source.onopen = () => { heard(); if (opened) refresh(); opened = true; };
    source.addEventListener("beat", heard);
    source.addEventListener("change", () => { heard(); refresh(); });
    source.addEventListener("trouble", () => show("stale"));
    source.onerror = () => {
      // A stream ends now and then and is opened anew: only a longer gap is worth showing.
      clearTimeout(silence);
      silence = setTimeout(() => show("stale"), 4000);
      if (source && source.readyState === EventSource.CLOSED) { source = null; setTimeout(connect, 5000); }
    };
  }
  function disconnect() {
    clearTimeout(silence);
    if (source) source.close();
    source = null;
  }
  if (sign && window.EventSource) {
    sign.hidden = false;
    sign.addEventListener("click", () => {
      paused = !paused;
      if (paused) { disconnect(); show("paused"); } else { connect(); refresh(); }
    });
    // A hidden tab holds no connection: browsers allow six to a server.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) disconnect(); else if (!paused) { connect(); refresh(); }
    });
    addEventListener("pagehide", disconnect);
    addEventListener("pageshow", (event) => { if (event.persisted) { connect(); refresh(); } });
    connect();
  }
  if (feed) setInterval(() => { if (!document.hidden) refresh(); }, 30000);

  // ---- times ------------------------------------------------------------------------------------

  function ago(seconds) {
    const past = Math.abs(seconds);
    const text = past < 60 ? `${Math.floor(past)} s` : past < 3600 ? `${Math.floor(past / 60)} min`
      : past < 172800 ? `${Math.floor(past / 3600)} h` : `${Math.floor(past / 86400)} d`;
    return past < 5 ? "now" : seconds > 0 ? `${text} ago` : `in ${text}`;
  }
  const began = one("[data-live-state]")?.dataset.now;
  const skew = began ? Date.now() - Date.parse(began) : 0;
  setInterval(() => {
    if (document.hidden || paused) return;
    for (const time of all("time[data-ago]")) {
      const text = ago((Date.now() - skew - Date.parse(time.dateTime)) / 1000);
      if (time.textContent !== text) time.textContent = text;
    }
  }, 10000);

  // ---- clicks -----------------------------------------------------------------------------------

  document.addEventListener("click", async (event) => {
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      event.preventDefault();
      const text = copy.dataset.copy || one("pre, code", copy.parentElement).textContent;
      try { await navigator.clipboard.writeText(text); } catch { return; }
      copy.classList.add("done");
      copy.setAttribute("aria-label", "Copied");
      setTimeout(() => { copy.classList.remove("done"); copy.setAttribute("aria-label", "Copy"); }, 1200);
    }
    if (event.target.closest("[data-dismiss]")) event.target.closest(".toast").remove();
    const closing = event.target.closest("[data-close]")?.closest("dialog");
    if (closing) { event.preventDefault(); closing.close(); }
    if (event.target.closest("[data-keys]")) one("#keys").showModal();
  });
  document.addEventListener("submit", (event) => {
    const dialog = event.target.dataset.confirm && document.getElementById(event.target.dataset.confirm);
    if (dialog) { event.preventDefault(); dialog.showModal(); }
  });
  // A filter that is chosen is applied; without the script the button does it.
  document.addEventListener("change", (event) => {
    if (event.target.matches("form[data-auto] select, form[data-auto] input[type=date]")) event.target.form.requestSubmit();
  });
  for (const button of all("form[data-auto] [data-apply]")) button.hidden = true;
  // Empty fields make no parameters: a filtered page has a short address.
  document.addEventListener("formdata", (event) => {
    if (event.target.method !== "get") return;
    for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
  });
  if (one(".toast")) {
    history.replaceState(null, "", location.href.replace(/([?&])notice=[^&]*&?/, "$1").replace(/[?&]$/, ""));
    setTimeout(() => one(".toast")?.remove(), 8000);
  }

  // ---- selecting rows ---------------------------------------------------------------------------

  function count() {
    const boxes = all("[data-pick]");
    const picked = boxes.filter((box) => box.checked).length;
    for (const button of all("[data-selected]")) {
      button.disabled = picked === 0;
      button.textContent = picked ? `${button.dataset.selected} ${picked} selected …` : `${button.dataset.selected} selected …`;
    }
    const whole = one("[data-pick-all]");
    if (!whole) return;
    whole.hidden = false;
    whole.checked = picked > 0 && picked === boxes.length;
    whole.indeterminate = picked > 0 && picked < boxes.length;
  }
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-pick-all]")) for (const box of all("[data-pick]")) box.checked = event.target.checked;
    if (event.target.matches("[data-pick], [data-pick-all]")) count();
  });
  addEventListener("pageshow", count);
  count();

  // ---- keys -------------------------------------------------------------------------------------

  let leader = 0;
  function step(by) {
    const rows = all("a.row");
    const next = rows[rows.indexOf(document.activeElement) + by] ?? (by > 0 ? rows[0] : rows.at(-1));
    next?.focus();
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || one("dialog[open]")) return;
    if (event.target.closest("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const led = Date.now() - leader < 1200;
    leader = 0;
    const place = all("[data-go]").find((link) => link.dataset.go === (led ? `g ${event.key}` : event.key));
    if (place) { event.preventDefault(); place.click(); }
    else if (event.key === "g") leader = Date.now();
    else if (event.key === "?") one("#keys")?.showModal();
    else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "x") one("[data-pick]", document.activeElement.closest("tr") ?? document.createElement("p"))?.click();
    else if (event.key === "/") {
      const field = one("[data-search]") ?? one("[data-find]");
      if (field) { event.preventDefault(); field.focus(); field.select(); }
    }
  });

  // ---- looking at a file ------------------------------------------------------------------------

  // A setting that is changed shows at once what it makes of the file; without the script "Look again"
  // does it.
  const looking = one("form[data-relook]");
  let asked = null;
  looking?.addEventListener("change", async () => {
    asked?.abort();
    asked = new AbortController();
    const { signal } = asked;
    const address = `${location.pathname}?${new URLSearchParams(new FormData(looking))}`;
    looking.setAttribute("aria-busy", "true");
    try {
      const response = await fetch(address, { headers: { Accept: "text/html" }, signal });
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      const wanted = fresh.getElementById(looking.id);
      if (!wanted) { location.assign(address); return; }
      const open = one("details.options", looking)?.open;
      const chosen = new Map(all("select", wanted).map((select) => [select.name, select.value]));
      morph(looking, wanted);
      // What was chosen by hand no longer follows the attributes.
      for (const select of all("select", looking)) if (chosen.has(select.name)) select.value = chosen.get(select.name);
      const details = one("details.options", looking);
      if (details) details.open = open;
      history.replaceState(null, "", address);
      looking.removeAttribute("aria-busy");
    } catch (error) {
      if (error.name !== "AbortError") location.assign(address);
    }
  });

  // ---- handing a file in ------------------------------------------------------------------------

  const form = one("form[data-upload]");
  if (!form) return;
  const zone = one(".drop", form);
  const field = one("input[type=file]", form);
  const bar = one("[data-sending]", form);
  const complaint = one("[data-complaint]", form);
  const size = (bytes) => bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
  const complain = (text) => {
    complaint.hidden = !text;
    one("[data-complaint-text]", complaint).textContent = text;
  };
  function chosen() {
    const file = field.files[0];
    one("[data-chosen]", form).textContent = file ? `${file.name} · ${size(file.size)}` : "";
    complain(file && file.size > Number(form.dataset.limit) ? `This file is larger than the limit of ${size(Number(form.dataset.limit))}.` : "");
  }
  let depth = 0;
  addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; zone.classList.add("over"); });
  addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) zone.classList.remove("over"); });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    zone.classList.remove("over");
    if (!event.dataTransfer.files.length) return;
    field.files = event.dataTransfer.files;
    chosen();
  });
  field.addEventListener("change", chosen);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const sending = new XMLHttpRequest();
    const target = event.submitter?.getAttribute("formaction") || form.action;
    const buttons = all("button[type=submit]", form);
    const began = performance.now();
    const over = () => { for (const button of buttons) button.disabled = false; bar.hidden = true; };
    sending.upload.onprogress = ({ loaded, total }) => {
      one("progress", bar).max = total;
      one("progress", bar).value = loaded;
      const rate = loaded / Math.max((performance.now() - began) / 1000, 0.1);
      one("[data-sent]", bar).textContent = loaded < total
        ? `${size(loaded)} of ${size(total)} · ${size(rate)}/s · ${Math.ceil((total - loaded) / rate)} s left`
        : "Stored; taking it in …";
    };
    sending.onload = () => {
      if (sending.status < 400) { location.assign(sending.responseURL); return; }
      over();
      const page = new DOMParser().parseFromString(sending.responseText, "text/html");
      complain(one("[data-error-text]", page)?.textContent.trim() || `The server refused the file (${sending.status}).`);
    };
    sending.onerror = () => { over(); complain("The connection broke before the whole file was sent. Nothing was stored; try again."); };
    sending.open("POST", target);
    sending.send(new FormData(form));
    complain("");
    bar.hidden = false;
    for (const button of buttons) button.disabled = true;
  });
})();
