// Adds to the plain pages: live updates, keyboard shortcuts, dialogs, a log that follows its attempt.
// Deliberately absent: state, templates, anything that the server did not draw.

const FRAGMENT = { "devstack-fragment": "main" };
const main = () => document.getElementById("main");
const ask = document.getElementById("ask");
const help = document.getElementById("help");

// ---- Live updates: after a change the <main> of this page is fetched again and updated in place.

const sign = document.getElementById("live");
let source, stale, wait = 1000, retry, fetching = false, again = false;

function state(name, text, title = "") {
  sign.dataset.state = name;
  if (sign.textContent !== text) sign.textContent = text;
  sign.title = title;
}

function connect() {
  clearTimeout(retry);
  source?.close();
  source = new EventSource(document.body.dataset.live);
  source.addEventListener("tick", () => {
    wait = 1000;
    stale = undefined;
    state("live", "live");
    refresh();
  });
  source.onerror = () => {
    source.close();
    stale ??= new Date();
    state("stale", `stale since ${stale.toLocaleTimeString()}`, "the node does not answer; trying again");
    // The session may have ended. Requesting the page shows it.
    retry = setTimeout(() => { refresh(); connect(); }, wait * (0.5 + Math.random()));
    wait = Math.min(wait * 2, 30000);
  };
}

function look() {
  if (document.hidden) {
    clearTimeout(retry);
    source?.close();
    state("paused", "paused");
  } else {
    connect();
  }
}

async function refresh() {
  if (fetching) { again = true; return; }
  fetching = true;
  try {
    do {
      again = false;
      const at = location.pathname + location.search;
      const answer = await fetch(at, { headers: { ...FRAGMENT, "if-none-match": main().dataset.tag }, cache: "no-store" });
      if (answer.status === 401) return location.reload();
      if (answer.ok && at === location.pathname + location.search) update(await answer.text());
    } while (again && !document.hidden);
  } catch {
    // The event stream notices that the node does not answer.
  } finally {
    fetching = false;
  }
}

function update(html) {
  const next = new DOMParser().parseFromString(html, "text/html").getElementById("main");
  if (!next) return;
  morph(main(), next);
  document.title = `${next.dataset.title} · devstack`;
  sign.classList.remove("beat");
  requestAnimationFrame(() => sign.classList.add("beat"));
  arrive();
}

// Updates `now` to `next` with the fewest changes, so that focus, selection, scroll and open details stay.
// Elements with `data-keep` belong to this module and are not changed.
function morph(now, next) {
  // The user decides which details are open.
  const theirs = (name) => name === "open" && now.nodeName === "DETAILS";
  for (const { name, value } of next.attributes) {
    if (now.getAttribute(name) !== value && !theirs(name)) now.setAttribute(name, value);
  }
  for (const { name } of [...now.attributes]) if (!next.hasAttribute(name) && !theirs(name)) now.removeAttribute(name);
  const keyed = new Map([...now.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = now.firstChild;
  for (const wanted of [...next.childNodes]) {
    const known = wanted.id ? keyed.get(wanted.id) : undefined;
    if (known && known !== at) now.insertBefore(known, at);
    const found = known ?? at;
    if (found && alike(found, wanted)) {
      if (found.nodeType !== 1) {
        if (found.data !== wanted.data) found.data = wanted.data;
      } else if (!found.hasAttribute("data-keep") && !typing(found)) {
        morph(found, wanted);
      }
      at = found.nextSibling;
    } else {
      now.insertBefore(document.importNode(wanted, true), at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id ?? "") === (b.id ?? "");
const typing = (node) => ["INPUT", "TEXTAREA", "SELECT"].includes(node.nodeName);

// ---- Times are updated without a request.

function short(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 1) return "now";
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

function tell() {
  for (const time of document.querySelectorAll("main time")) {
    const ms = Date.now() - Date.parse(time.dateTime);
    const text = ms < 1000 && ms > -1000 ? "now" : ms < 0 ? `in ${short(-ms)}` : "since" in time.dataset ? short(ms) : `${short(ms)} ago`;
    if (time.textContent !== text) time.textContent = text;
  }
}

// ---- Questions open in a dialog instead of on their own page.

document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-ask]");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  try {
    const answer = await fetch(link.href, { headers: FRAGMENT, cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
    ask.replaceChildren(...page.childNodes);
    ask.setAttribute("aria-label", page.dataset.title);
    ask.showModal();
    ask.querySelector("textarea, input:not([type=hidden]), button")?.focus();
  } catch {
    location.href = link.href;
  }
});
ask.addEventListener("click", (event) => {
  if (event.target === ask || event.target.closest("[data-close]")) {
    event.preventDefault();
    ask.close();
  }
});
document.addEventListener("submit", (event) => {
  // A second press would send the form again. The node acts once, and the button works once.
  const button = event.submitter;
  if (event.target.method === "post" && button) setTimeout(() => { button.disabled = true; });
});
addEventListener("pageshow", () => document.querySelectorAll("button[disabled]").forEach((one) => { one.disabled = false; }));

// ---- Keyboard shortcuts.

let leader = 0;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, dialog[open]")) return;
  const led = Date.now() - leader < 1500;
  leader = 0;
  if (led) {
    const place = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
    if (place) { event.preventDefault(); place.click(); }
    return;
  }
  if (event.key === "g") leader = Date.now();
  else if (event.key === "?") help.showModal();
  else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
  else if (event.key === "f") document.querySelector("[data-follow]")?.click();
  else if (event.key === "/") {
    const filter = document.querySelector("main [data-filter]");
    if (filter) { event.preventDefault(); filter.focus(); }
  }
});

function step(by) {
  const entries = [...document.querySelectorAll("main [data-entry]")];
  const at = entries.indexOf(document.activeElement);
  entries[at < 0 ? (by > 0 ? 0 : entries.length - 1) : Math.max(0, Math.min(entries.length - 1, at + by))]?.focus();
}

const keys = document.getElementById("keys");
keys.hidden = false;
keys.addEventListener("click", () => help.showModal());

// ---- The log of a running attempt: new output is appended as plain text, and only the newest lines are kept.

const LINES = 5000;
let following = true, logging;

function plain(text) {
  return text
    .replace(/\x1b\[[^@-~]*[@-~]?|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b./g, "")
    .replace(/[^\n]*\r(?!\n)/g, "")
    .replace(/[^\P{Cc}\n\t]/gu, "");
}

function follow() {
  const log = document.querySelector("pre[data-log]");
  const toggle = document.querySelector("[data-follow]");
  if (logging && !logging.log.isConnected) { logging.stop.abort(); logging = undefined; }
  if (!log || logging) return;
  logging = { log, stop: new AbortController() };
  toggle.hidden = false;
  toggle.onclick = () => hold(!following);
  log.addEventListener("scroll", () => {
    const end = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
    if (end !== following) hold(end);
  });
  hold(true);
  read(log, logging.stop.signal, toggle);
}

function hold(value) {
  following = value;
  const toggle = document.querySelector("[data-follow]");
  toggle.setAttribute("aria-pressed", String(following));
  toggle.textContent = following ? "Following" : "Paused: follow";
  if (following && logging) logging.log.scrollTop = logging.log.scrollHeight;
}

async function read(log, signal, toggle) {
  let from = Number(log.dataset.from), pause = 1000;
  for (;;) {
    try {
      const answer = await fetch(`${log.dataset.log}&from=${from}`, { signal, cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const reader = answer.body.getReader();
      const text = new TextDecoder();
      let open = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        from += value.length;
        pause = 1000;
        // Up to a complete line: an escape sequence or an overwritten line can be split.
        open += text.decode(value, { stream: true });
        const end = open.lastIndexOf("\n") + 1;
        append(log, plain(open.slice(0, end)));
        open = open.length - end > 65536 ? (append(log, plain(open.slice(end))), "") : open.slice(end);
      }
      append(log, plain(open));
      toggle.hidden = true;
      return;
    } catch {
      if (signal.aborted) return;
      await new Promise((go) => setTimeout(go, pause * (0.5 + Math.random())));
      pause = Math.min(pause * 2, 30000);
    }
  }
}

function append(log, text) {
  if (!text) return;
  log.append(text);
  log.lines = (log.lines ?? 0) + text.split("\n").length - 1;
  while (log.lines > LINES && log.childNodes.length > 1) {
    log.lines -= log.firstChild.data.split("\n").length - 1;
    log.firstChild.remove();
  }
  if (following) log.scrollTop = log.scrollHeight;
}

document.addEventListener("change", (event) => {
  if (event.target.matches("select[data-submit]")) event.target.form.requestSubmit();
});

// ---- The graph: panning, and zooming around the pointer. Links do the same without this module.

let scale;

const picture = () => document.querySelector(".canvas .dag");

function resize(svg) {
  if (scale === undefined) return;
  svg.parentElement.classList.remove("fit");
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  svg.setAttribute("width", width * scale);
  svg.setAttribute("height", height * scale);
}

function zoom(svg, factor, x, y) {
  const canvas = svg.closest(".canvas");
  const before = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  scale = Math.min(4, Math.max(0.1, before * factor));
  resize(svg);
  canvas.scrollLeft = (canvas.scrollLeft + x) * scale / before - x;
  canvas.scrollTop = (canvas.scrollTop + y) * scale / before - y;
}

document.addEventListener("wheel", (event) => {
  const canvas = event.target.closest?.(".canvas");
  if (!(event.ctrlKey || event.metaKey) || !canvas || canvas !== picture()?.parentElement) return;
  event.preventDefault();
  const at = canvas.getBoundingClientRect();
  zoom(picture(), Math.exp(-event.deltaY / 300), event.clientX - at.left, event.clientY - at.top);
}, { passive: false });

document.addEventListener("click", (event) => {
  const by = { in: 1.25, out: 0.8 }[event.target.closest("a[data-zoom]")?.dataset.zoom];
  const svg = picture();
  if (!by || !svg || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  zoom(svg, by, svg.parentElement.clientWidth / 2, svg.parentElement.clientHeight / 2);
});

document.addEventListener("pointerdown", (event) => {
  const canvas = event.target.closest(".canvas");
  // Touch screens scroll without help.
  if (!canvas || event.pointerType !== "mouse" || event.button || event.target.closest("a")) return;
  const from = { x: event.clientX + canvas.scrollLeft, y: event.clientY + canvas.scrollTop };
  const drag = (move) => {
    canvas.scrollLeft = from.x - move.clientX;
    canvas.scrollTop = from.y - move.clientY;
  };
  canvas.setPointerCapture(event.pointerId);
  canvas.addEventListener("pointermove", drag);
  canvas.addEventListener("lostpointercapture", () => canvas.removeEventListener("pointermove", drag), { once: true });
});

// The initial position: the task in focus, or else a running task.
function show() {
  const canvas = picture()?.parentElement;
  const first = canvas?.querySelector(".node.focus") ?? canvas?.querySelector(".n-wip, .n-testing");
  if (!first || location.hash) return;
  const [at, box] = [first.getBoundingClientRect(), canvas.getBoundingClientRect()];
  canvas.scrollLeft += at.left - box.left - (box.width - at.width) / 2;
  canvas.scrollTop += at.top - box.top - (box.height - at.height) / 2;
}

// ---- Start.

function arrive() {
  const svg = picture();
  if (svg) resize(svg);
  tell();
  const log = document.querySelector("pre.log:not([data-log])");
  if (log && !log.seen) { log.seen = true; log.scrollTop = log.scrollHeight; }
  follow();
}

if (location.search.includes("said=")) {
  const rest = new URLSearchParams(location.search);
  rest.delete("said");
  history.replaceState(null, "", location.pathname + (rest.size ? `?${rest}` : "") + location.hash);
}
arrive();
show();
setInterval(() => { if (!document.hidden) tell(); }, 1000);
if (document.body.dataset.live) {
  document.addEventListener("visibilitychange", look);
  look();
}
