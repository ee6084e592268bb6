// The live view's script: follows the feed and puts its events above the rows that the server made, which it looks
// like by filling in the page's own pattern (#feed-row). What comes faster than it can be shown is counted, and
// only the newest rows are made; what comes while the rows are held waits in the same way.
"use strict";
(() => {
  const one = (selector, within = document) => within.querySelector(selector);
  const feed = one("[data-feed]");
  if (!feed || !window.EventSource) return;

  const MOST = 200; // rows in the page
  const HIGHLIGHTED = 20; // of so many at once none stands out
  const SILENCE = 25000; // a stream that says nothing for longer is stale; it beats every ten seconds
  const LOST = 15000; // and so is one that cannot be had for longer
  const AWAY = 60000; // after longer in another tab the rows are read anew
  const TYPES = ["transaction.created", "transaction.updated", "trade.settled", "trade.rejected"];
  const count = (number) => Math.round(number).toLocaleString("en-US");

  // ---- a row -------------------------------------------------------------------------------------

  const format = (locale, options) => new Intl.DateTimeFormat(locale, { ...options, timeZone: feed.dataset.zone });
  const clock = format("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" });
  const day = format("sv-SE", { year: "numeric", month: "2-digit", day: "2-digit" });
  const zoned = format("en-US", { timeZoneName: "short" });
  const zoneName = (at) => zoned.formatToParts(at).find(({ type }) => type === "timeZoneName").value;
  const segment = (id) => id === "live" ? "%6Cive" : encodeURIComponent(id);
  function cut(text) {
    const characters = [...text];
    const rest = characters.length - 40;
    return rest <= 0 ? text : `${characters.slice(0, 40).join("")}… (and ${rest} more character${rest === 1 ? "" : "s"})`;
  }
  // Amounts are texts: exact, whatever their length.
  function amount(text) {
    const [whole, decimals = ""] = text.replace("-", "").split(".");
    const sign = text.startsWith("-") ? "\u2212" : "";
    return [sign + whole.replace(/\B(?=(\d{3})+$)/g, ","), `.${decimals.replace(/0+$/, "").padEnd(2, "0")}`];
  }
  const decimal = (text) => amount(String(text)).join("").replace(/\.00$/, "");
  function subject({ ticker, stock_name: name, shares, volume, price, merchant_id: merchant, product_id: product }) {
    const stock = ticker ?? name;
    if (stock == null) return [merchant, product].filter((one) => one != null).map(cut).join(" · ");
    const many = shares ?? volume;
    return (many == null ? "" : `${decimal(many)} × `) + cut(stock) + (price == null ? "" : ` at ${decimal(price)}`);
  }

  const pattern = one("#feed-row").content.firstElementChild;
  const badges = new Map([...one("#feed-badges").content.children].map((span) => [span.dataset.state, span.firstElementChild]));
  function row(text) {
    const event = JSON.parse(text);
    const { transaction, trade } = event;
    const told = transaction ?? trade;
    const id = transaction ? transaction.transaction_id : trade.id;
    const made = pattern.cloneNode(true);
    const [at, kind, what, client, money, state, name] = made.children;
    made.dataset.key = event.id;
    const moment = new Date(event.at);
    const shown = clock.format(moment);
    Object.assign(at.firstElementChild, { dateTime: event.at, textContent: shown, title: `${day.format(moment)} ${shown} ${zoneName(moment)}` });
    const [link, note] = kind.children;
    link.href = transaction ? `/ui/transactions/${segment(id)}` : `/ui/trades/${id}`;
    link.textContent = transaction ? transaction.kind : trade.side;
    note.textContent = transaction ? (event.type === "transaction.updated" ? "was pending" : "")
      : trade.reversal_of ? "trade, takes back" : "trade";
    what.textContent = subject(told);
    client.firstElementChild.href = `/ui/clients/${encodeURIComponent(told.client_id)}`;
    client.firstElementChild.textContent = told.client_id;
    if (told.amount != null && told.currency != null) {
      const [whole, cents] = amount(told.amount);
      money.firstElementChild.firstChild.data = whole;
      one(".cents", money).textContent = cents;
      one(".currency", money).textContent = told.currency;
    } else {
      money.textContent = "–";
      money.classList.add("none");
    }
    state.firstElementChild.replaceWith(badges.get(transaction ? told.status : told.state).cloneNode(true));
    state.lastElementChild.textContent = (trade?.reason ?? "").replaceAll("_", " ");
    Object.assign(one("code", name), { textContent: [...id].slice(-8).join(""), title: id });
    one(".copy", name).dataset.copy = id;
    return made;
  }

  // ---- rows that wait, and rows that are shown ------------------------------------------------------

  let queue = []; // the newest texts, oldest first
  let waiting = 0; // all that have come and are not shown, of which the queue may have lost some
  let [scheduled, ready] = [false, 0];
  function schedule() {
    if (scheduled) return;
    scheduled = true;
    setTimeout(() => requestAnimationFrame(flush), Math.max(0, ready - performance.now()));
  }
  function flush() {
    scheduled = false;
    if (!held() && queue.length) {
      const texts = queue.slice(-MOST).reverse();
      const fresh = document.createDocumentFragment();
      for (const text of texts) {
        const made = row(text);
        if (texts.length <= HIGHLIGHTED) made.classList.add("fresh");
        fresh.append(made);
      }
      const body = one("tbody", feed);
      if (texts.length === MOST) body.replaceChildren();
      body.prepend(fresh);
      while (body.rows.length > MOST) body.lastElementChild.remove();
      one("#feed-empty").hidden = true;
      one("table", feed).hidden = false;
      forget();
      // Many rows at once take the browser its time: it gets some for everything else.
      ready = performance.now() + texts.length * 2;
    }
    tell();
  }
  function forget() { [queue, waiting] = [[], 0]; }

  // ---- holding: by hand, under the pointer, under the keyboard, further down -------------------------

  let [paused, pointed] = [false, false];
  const focused = () => one("tbody :focus-visible", feed) !== null;
  const passed = () => {
    const first = one("tbody tr", feed);
    return first !== null && first.getBoundingClientRect().bottom < 48;
  };
  const held = () => paused || pointed || focused() || passed();
  function why() {
    if (paused) return "Paused. Nothing moves until you resume.";
    if (focused()) return "Held while the keyboard is in the rows; Esc leaves them.";
    if (pointed) return "Held while the pointer is on the rows.";
    return "Held while you read further down.";
  }
  function release() {
    [paused, pointed] = [false, false];
    if (feed.contains(document.activeElement)) document.activeElement.blur();
    if (passed()) scrollTo({ top: 0 });
    if (late) load(location.href); else flush();
  }
  function toggle() {
    if (paused) release(); else { paused = true; tell(); }
  }
  feed.addEventListener("pointerover", (event) => {
    pointed = event.pointerType === "mouse" && event.target.closest("tbody") !== null;
    flush();
  });
  feed.addEventListener("pointerleave", () => { pointed = false; flush(); });
  feed.addEventListener("focusin", flush);
  feed.addEventListener("focusout", () => setTimeout(flush));
  addEventListener("scroll", schedule, { passive: true });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || one("dialog[open]")) return;
    if (event.key === "Escape" && focused()) { document.activeElement.blur(); return; }
    if (event.target.closest("input, select, textarea")) return;
    const space = event.key === " " && !event.target.closest("a, button, summary");
    if (event.key === "p" || space) { event.preventDefault(); toggle(); }
  });

  // ---- what is said of it: state, what waits, rate, lag ----------------------------------------------

  const sign = one("[data-live-state]");
  const pause = one("[data-pause]");
  const pill = one("[data-waiting]");
  const tally = document.createElement("span");
  // Not a word at each event for those who listen to the page.
  tally.setAttribute("aria-hidden", "true");
  sign.append(tally);
  const told = {
    connecting: ["Listening …", "Waiting for the first word from the server."],
    live: [`Newest first; the latest ${MOST} stay here.`, "Rows come by themselves. Click to pause."],
    reconnecting: ["The connection is gone. It comes back by itself, and nothing is lost.", "Reconnecting."],
    stale: ["Nothing has been heard for a while: what you see may be old. It goes on by itself.", "What you see may be old."],
    paused: ["", "Paused. Click to resume."],
  };
  function standing() {
    const now = performance.now();
    if (connected) return now - heardAt > SILENCE ? "stale" : "live";
    if (lostAt === null) return "connecting";
    return now - lostAt > LOST ? "stale" : "reconnecting";
  }
  function put(node, text) { if (node.textContent !== text) node.textContent = text; }
  function tell() {
    const connection = standing();
    const state = held() ? "paused" : connection;
    sign.hidden = false;
    sign.dataset.state = state;
    sign.title = told[state][1];
    put(one("[data-live-word]", sign), state);
    put(tally, waiting && state === "paused" ? `· ${count(waiting)}` : "");
    const trouble = connection === "reconnecting" || connection === "stale" ? ` ${told[connection][0]}` : "";
    const bare = state === "live" && one("table", feed).hidden;
    put(one("[data-words]"), state === "paused" ? why() + trouble : bare ? "Listening: what comes shows up here at once." : told[state][0]);
    put(one("[data-word]", pause), paused ? "Resume" : "Pause");
    one('[data-shape="pause"]', pause).hidden = paused;
    one('[data-shape="play"]', pause).hidden = !paused;
    pill.hidden = state !== "paused" || waiting === 0;
    put(pill, `Show ${count(waiting)} new`);
  }

  const perSecond = new Array(60).fill(0); // whole seconds, the last one last
  let second = 0;
  let total = 0;
  let lags = [];
  let skew = Infinity; // this clock's lead over the server's, as far as the shortest way of a beat tells
  function lag(text, now) {
    // One in a few is enough: a median of many costs more than it tells.
    if (skew === Infinity || (lags.length && now - lags.at(-1).now < 20)) return;
    const at = /"at":"([^"]+)"/.exec(text);
    if (at) lags.push({ now, ms: Math.max(0, now - Date.parse(at[1]) - skew) });
  }
  const svg = one("[data-spark]");
  const bars = perSecond.map((_, index) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    bar.setAttribute("x", index * 4);
    bar.setAttribute("width", 3);
    svg.append(bar);
    return bar;
  });
  const numbers = one("[data-numbers]");
  const cells = perSecond.map((_, index) => {
    const line = one("tbody", numbers).insertRow(0);
    line.insertCell().textContent = index === 59 ? "the last" : `${60 - index} s ago`;
    const cell = line.insertCell();
    cell.className = "number";
    return cell;
  });
  function figures() {
    const now = Date.now();
    const rate = perSecond.slice(-5).reduce((sum, one) => sum + one, 0) / 5;
    const most = Math.max(...perSecond);
    put(one("[data-rate]"), rate < 10 ? String(Math.round(rate * 10) / 10) : count(rate));
    put(one("[data-total]"), count(total));
    lags = lags.filter((sample) => now - sample.now < 10000).slice(-500);
    const sorted = lags.map((sample) => sample.ms).sort((a, b) => a - b);
    const median = sorted[sorted.length >> 1];
    put(one("[data-lag]"), median === undefined ? "–" : median < 10000 ? count(median) : count(median / 1000));
    put(one("[data-lag-unit]"), median === undefined ? "" : median < 10000 ? "ms" : "s");
    put(one("[data-most]"), most ? `most ${count(most)}/s` : "quiet");
    bars.forEach((bar, index) => {
      const height = most ? Math.max(perSecond[index] / most * 39, perSecond[index] ? 1.5 : 0) : 0;
      bar.setAttribute("y", 40 - height);
      bar.setAttribute("height", height);
    });
    svg.setAttribute("aria-label", most ? `${one("[data-rate]").textContent} events a second now, at most ${count(most)} in a second of the last minute.` : "Nothing came in the last minute.");
    if (numbers.open) cells.forEach((cell, index) => put(cell, count(perSecond[index])));
  }
  numbers.addEventListener("toggle", figures);
  setInterval(() => {
    perSecond.push(second);
    perSecond.shift();
    second = 0;
    if (document.hidden) return;
    figures();
    tell();
  }, 1000);

  function notice(name, text) {
    const note = one(`[data-notice="${name}"]`);
    note.hidden = false;
    if (text) put(one("[data-text]", note), text);
    for (const link of note.querySelectorAll("[data-again]")) link.href = location.href;
  }
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-live-state], [data-pause]")) toggle();
    if (event.target.closest("[data-waiting]")) release();
    const hide = event.target.closest("[data-hide]");
    if (hide) { hide.parentElement.hidden = true; missed = 0; }
  });

  // ---- the stream ---------------------------------------------------------------------------------

  let source = null;
  let again = null;
  let last = feed.dataset.since; // the id that the rows, or those that wait, reach to
  let [connected, heardAt, lostAt] = [false, 0, null];
  let [missed, resetAt] = [0, -Infinity];
  let late = false; // the rows are too old to be gone on with

  function heard() { [connected, lostAt, heardAt] = [true, null, performance.now()]; }
  function lose() {
    [connected, lostAt] = [false, lostAt ?? performance.now()];
    tell();
  }
  function close() {
    clearTimeout(again);
    source?.close();
    source = null;
  }
  function connect() {
    close();
    const address = new URL(feed.dataset.stream, location.href);
    address.searchParams.set("since", last);
    const opened = new EventSource(address);
    source = opened;
    const on = (name, act) => opened.addEventListener(name, (event) => { if (opened === source) act(event); });
    const learn = ({ data }) => { skew = Math.min(skew, Date.now() - Date.parse(JSON.parse(data).at)); };
    for (const type of TYPES) {
      on(type, (event) => {
        const now = Date.now();
        heard();
        last = event.lastEventId;
        [total, second, waiting] = [total + 1, second + 1, waiting + 1];
        lag(event.data, now);
        queue.push(event.data);
        if (queue.length > 2 * MOST) queue.splice(0, queue.length - MOST);
        schedule();
      });
    }
    for (const sign of ["hello", "beat"]) on(sign, (event) => { heard(); learn(event); tell(); });
    on("gap", ({ data }) => {
      missed += JSON.parse(data).missed;
      notice("gap", `${count(missed)} event${missed === 1 ? " was" : "s were"} left out because this browser was too slow.`);
    });
    on("reset", ({ data }) => {
      const { reason } = JSON.parse(data);
      notice("reset", reason === "epoch" ? "The feed began anew." : "What came meanwhile is more than the feed keeps.");
      // One that says so each time is not asked without end.
      close();
      again = setTimeout(() => load(location.href), performance.now() - resetAt < 10000 ? 5000 : 0);
      resetAt = performance.now();
    });
    on("error", () => {
      lose();
      // The browser comes back by itself unless the server refused.
      if (opened.readyState === EventSource.CLOSED) { close(); again = setTimeout(retry, 3000); }
    });
  }
  async function retry() {
    const answer = await fetch(location.href, { method: "HEAD" }).catch(() => null);
    if (answer?.redirected) notice("session"); else connect();
  }

  // Reads the rows anew, as the server has them for this address, and listens from there.
  let loading = null;
  async function load(address) {
    loading?.abort();
    loading = new AbortController();
    const { signal } = loading;
    close();
    lose();
    try {
      const answer = await fetch(address, { headers: { Accept: "text/html" }, signal });
      if (!answer.ok) throw new Error("not now");
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const wanted = fresh.getElementById("feed");
      if (answer.redirected || !wanted) { location.assign(address); return; }
      const part = (selector, within = fresh) => [...one(selector, within).childNodes];
      one("tbody", feed).replaceChildren(...part("tbody", wanted));
      one("#feed-empty").replaceChildren(...part("#feed-empty"));
      one("#feed-complaint").replaceChildren(...part("#feed-complaint"));
      one("#feed-empty").hidden = one("#feed-empty", fresh).hidden;
      one("table", feed).hidden = one("table", wanted).hidden;
      // Who types goes on typing.
      if (form.contains(document.activeElement)) one("#feed-clear").replaceChildren(...part("#feed-clear"));
      else form.replaceChildren(...part("#feed-filter"));
      [feed.dataset.stream, last, late] = [wanted.dataset.stream, wanted.dataset.since, false];
      forget();
      perSecond.fill(0);
      [second, total, lags] = [0, 0, []];
      figures();
      connect();
    } catch (error) {
      if (error.name !== "AbortError") again = setTimeout(() => load(address), 3000);
    }
  }

  const form = one("#feed-filter");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const filled = [...new FormData(form)].filter(([, value]) => value.trim() !== "");
    const query = new URLSearchParams(filled).toString();
    go(form.getAttribute("action") + (query && `?${query}`));
  });
  document.addEventListener("click", (event) => {
    const clear = event.target.closest("[data-clear], #feed-empty a[href='/ui/transactions/live']");
    if (!clear || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(clear.getAttribute("href"));
  });
  function go(address) { history.pushState(null, "", address); load(address); }
  addEventListener("popstate", () => load(location.href));

  // A hidden tab holds no connection: browsers allow six to a server. It goes on where it was, or anew.
  let hiddenAt = 0;
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      hiddenAt = performance.now();
      close();
    } else if (performance.now() - hiddenAt < AWAY) connect();
    else if (paused) late = true;
    else load(location.href);
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => { if (event.persisted) load(location.href); });

  for (const hidden of [pause, one("[data-pulse]"), one("[data-line]")]) hidden.hidden = false;
  figures();
  tell();
  connect();
})();
