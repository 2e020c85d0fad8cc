// What /data says, drawn; and a click on a class, sent to /label. Names come from outside: they are only ever text.
"use strict";

const POLL_MS = 1000;
const STILL_MS = 4000; // the list stands still for so long after somebody touched it: no button moves under a finger
const FIRST = 4; // cards that style.css shows until all are asked for
const SVG = "http://www.w3.org/2000/svg";

const $ = (id) => document.getElementById(id);
const cards = new Map(); // by id of the sample
const whole = new Intl.NumberFormat("en-US");
let view = null;
let touched = -Infinity;

function node(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

function shape(tag, attributes, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

function setText(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function percent(share) {
  return share === null ? "–" : `${(100 * share).toFixed(share === 1 || share === 0 ? 0 : 1)} %`;
}

function bytes(n) {
  if (n === null) return "none";
  const units = ["B", "kB", "MB", "GB"];
  let step = 0;
  while (n >= 1000 && step < units.length - 1) [n, step] = [n / 1000, step + 1];
  return `${n.toFixed(step === 0 || n >= 100 ? 0 : 1)} ${units[step]}`;
}

function drawTiles() {
  const kinds = Object.entries(view.refused);
  setText("accuracy", percent(view.accuracy));
  setText("window", String(view.window));
  setText("samples", whole.format(view.samples));
  setText("answers", whole.format(view.answers));
  setText("rate", view.samples_per_second.toFixed(1));
  setText("saved", view.store_bytes === null ? "none" : whole.format(view.saved ?? 0));
  setText("saved-note", view.store_bytes === null ? "there is no store" : "events on the disk");
  setText("refused", whole.format(kinds.reduce((sum, [, n]) => sum + n, 0)));
  setText("refused-note", kinds.map(([kind, n]) => `${whole.format(n)} ${kind}`).join(", ") || "nothing");
  setText("process", bytes(view.process_bytes));
  setText("store", bytes(view.store_bytes));
  setText("ram", bytes(view.ram_bytes));
}

function ticks(last, most) {
  const rough = last / most;
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= rough) ?? 10 * power;
  return Array.from({ length: Math.floor(last / step) }, (_, i) => (i + 1) * step);
}

function drawCurve(pointed = null) {
  const box = $("curve");
  const points = view.curve;
  const [width, height] = [box.clientWidth, box.clientHeight];
  const [left, right, top, bottom] = [44, 12, 8, 22];
  const svg = shape("svg", { width, height, "aria-hidden": "true" });
  const last = Math.max(10, points.at(-1)?.[0] ?? 0);
  const x = (n) => left + (n / last) * (width - left - right);
  const y = (share) => top + (1 - share) * (height - top - bottom);
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    svg.append(shape("line", { class: "grid", x1: left, x2: width - right, y1: y(share), y2: y(share) }));
    svg.append(shape("text", { class: "axis", x: left - 8, y: y(share) + 4, "text-anchor": "end" }, `${100 * share} %`));
  }
  for (const n of ticks(last, Math.max(2, width / 130))) {
    const anchor = x(n) > width - 24 ? "end" : "middle";
    const at = anchor === "end" ? width - right : x(n);
    svg.append(shape("text", { class: "axis", x: at, y: height - 4, "text-anchor": anchor }, whole.format(n)));
  }
  svg.append(shape("text", { class: "axis", x: left, y: height - 4 }, "samples"));
  box.setAttribute("aria-label", points.length ? `${percent(view.accuracy)} after ${last} labeled samples` : "No labeled sample yet");
  if (points.length) {
    const line = points.map(([n, share]) => `${x(n).toFixed(1)},${y(share).toFixed(1)}`);
    const [first, end] = [points[0], points.at(-1)];
    svg.append(shape("polygon", { class: "area", points: [`${x(first[0])},${y(0)}`, ...line, `${x(end[0])},${y(0)}`].join(" ") }));
    svg.append(shape("polyline", { class: "curve", points: line.join(" ") }));
    const near = pointed === null ? end : points.reduce((a, b) => (Math.abs(x(b[0]) - pointed) < Math.abs(x(a[0]) - pointed) ? b : a));
    if (pointed !== null) svg.append(shape("line", { class: "cross", x1: x(near[0]), x2: x(near[0]), y1: top, y2: y(0) }));
    svg.append(shape("circle", { class: "dot", cx: x(near[0]), cy: y(near[1]), r: 4.5 }));
    box.replaceChildren(svg);
    if (pointed !== null) {
      const tip = node("div", { className: "tip", textContent: `${percent(near[1])} at sample ${whole.format(near[0])}` });
      box.append(tip);
      const middle = x(near[0]) - tip.offsetWidth / 2;
      tip.style.left = `${Math.max(left, Math.min(middle, width - right - tip.offsetWidth))}px`;
    }
  } else {
    box.replaceChildren(svg);
  }
}

function drawCosines() {
  const last = view.last;
  if (last === null) return;
  const what = last.label === null ? `answered ${last.answer}` : `labeled ${last.label}, answered ${last.answer}`;
  setText("last", last.id === null ? what : `${last.id}: ${what}`);
  $("cosines").replaceChildren(...last.cosines.map(([name, cosine]) => {
    const bar = node("span", { className: "bar" });
    bar.style.width = `${100 * Math.max(0, Math.min(1, cosine))}%`;
    return node("li", { className: name === last.answer ? "answer" : "" },
      node("span", { className: "name", title: name, textContent: name }),
      node("span", { className: "track" }, bar),
      node("span", { className: "value", textContent: cosine.toFixed(3).replace("-", "−") }));
  }));
}

function drawConfusion() {
  const { classes, counts, left_out: leftOut } = view.confusion;
  $("unconfused").hidden = classes.length > 0;
  setText("left-out", leftOut ? `${leftOut} classes with fewer samples are not shown` : "");
  if (!classes.length) return;
  const heading = (name, scope) => node("th", { scope, title: name }, node("span", { textContent: name }));
  const rows = counts.map((row, i) => {
    const sum = Math.max(1, row.reduce((a, b) => a + b, 0));
    return node("tr", {}, heading(classes[i], "row"), ...row.map((n, j) => {
      const cell = node("td", { textContent: whole.format(n), title: `${classes[i]}, answered ${classes[j]}` });
      cell.className = [n / sum > 0.55 && "strong", i === j && "right", n === 0 && "zero"].filter(Boolean).join(" ");
      cell.style.setProperty("--share", (n / sum).toFixed(3));
      return cell;
    }));
  });
  const corner = node("td", { className: "corner" });
  const head = node("thead", {}, node("tr", {}, corner, ...classes.map((name) => heading(name, "col"))));
  $("confusion").replaceChildren(head, node("tbody", {}, ...rows));
}

function picture({ kind, rows }) {
  if (kind === "picture") {
    const [width, height] = [rows[0].length, rows.length];
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", "shape-rendering": "crispEdges" });
    rows.forEach((row, y) => row.forEach((v, x) => {
      svg.append(shape("rect", { x, y, width: 1, height: 1, fill: `rgb(${v},${v},${v})` }));
    }));
    return svg;
  }
  const svg = shape("svg", { viewBox: "0 0 128 64", preserveAspectRatio: "none", "aria-hidden": "true" });
  const room = 56 / rows.length; // each channel has its own height, and may reach into its neighbors'
  rows.forEach((row, i) => {
    const tall = rows.length > 1 ? 1.8 * room : room;
    const at = row.map((v, t) => {
      const x = 3 + (122 * t) / Math.max(1, row.length - 1);
      return `${x.toFixed(1)},${(4 + room * (i + 0.5) - tall * (v / 255 - 0.5)).toFixed(1)}`;
    });
    svg.append(shape("polyline", { class: "line", points: at.join(" ") }));
  });
  return svg;
}

async function label(card, name) {
  card.pending = name;
  drawCard(card);
  let problem = "";
  try {
    const answer = await fetch("/label", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ id: card.sample.id, label: name }),
    });
    if (!answer.ok) problem = (await answer.json()).error;
  } catch {
    problem = "edgehff does not answer";
  }
  card.pending = problem ? null : name;
  $("told").className = problem ? "told bad" : "told";
  setText("told", problem || `${card.sample.id} is ${name}`);
  drawCard(card);
}

function drawCard(card) {
  const { sample, element } = card;
  const chosen = card.done ? card.pending : card.pending ?? sample.asked;
  element.classList.toggle("done", card.done);
  element.classList.toggle("unknown", sample.unknown && !card.done);
  const problem = card.pending ? "" : sample.problem;
  if (card.problem.textContent !== problem) card.problem.textContent = problem;
  card.answer.textContent = card.done ? (chosen ? `learned as ${chosen}` : "waits no more") : chosen ? `${chosen} …` : `answered ${sample.answer}`;
  const key = JSON.stringify(view.classes);
  if (card.key !== key) {
    card.key = key;
    card.choices.replaceChildren(...view.classes.map((name) => {
      const button = node("button", { type: "button", className: "chip", textContent: name, title: name });
      button.setAttribute("aria-label", `Label ${sample.id} as ${name}`);
      button.classList.toggle("answered", name === sample.answer);
      button.addEventListener("click", () => label(card, name));
      return button;
    }));
  }
  for (const control of element.querySelectorAll("button, input")) control.disabled = card.done || Boolean(chosen);
  card.details.hidden = !view.new_classes || card.done;
}

function makeCard(sample) {
  const card = { sample, done: false, pending: null, key: "" };
  card.answer = node("p", { className: "answer" });
  card.problem = node("p", { className: "problem" });
  card.choices = node("div", { className: "choices" });
  const input = node("input", { type: "text", maxLength: 255, required: true, autocomplete: "off" });
  const form = node("form", {},
    node("label", { className: "grow" }, node("span", { className: "unseen", textContent: `A new class for ${sample.id}` }), input),
    node("button", { type: "submit", textContent: "Add" }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.value.trim()) label(card, input.value.trim());
  });
  card.details = node("details", {}, node("summary", { textContent: "Another class" }), form);
  card.element = node("li", { className: "card" },
    node("div", { className: "top" },
      picture(sample.sketch),
      node("div", {},
        node("p", { className: "badge", hidden: !sample.unknown, textContent: "resembles no class" }),
        card.answer,
        node("p", { className: "id", textContent: sample.id }))),
    card.choices, card.details, card.problem);
  return card;
}

function isHeld() {
  const list = $("waiting");
  const hovered = matchMedia("(hover: hover)").matches && list.matches(":hover");
  const typed = list.contains(document.activeElement) && document.activeElement.tagName === "INPUT";
  return hovered || typed || performance.now() - touched < STILL_MS;
}

function drawWaiting(now = false) {
  const samples = new Map(view.waiting.map((sample) => [sample.id, sample]));
  const open = [...cards.values()].some((card) => !card.done && samples.has(card.sample.id));
  const held = !now && open && isHeld();
  for (const [id, card] of cards) {
    const sample = samples.get(id);
    if (sample && card.sample.problem !== sample.problem) card.pending = null; // it was refused: choose again
    if (sample && !card.done) card.sample = sample;
    else if (!sample && !held) {
      card.element.remove();
      cards.delete(id);
      continue;
    } else if (!sample) card.done = true;
    drawCard(card);
  }
  const fresh = view.waiting.filter((sample) => !cards.has(sample.id));
  $("fresh").hidden = !held || !fresh.length;
  setText("fresh", `Show ${fresh.length} new`);
  if (!held) {
    const list = $("waiting");
    view.waiting.forEach((sample, i) => {
      let card = cards.get(sample.id);
      if (!card || card.done) {
        card?.element.remove();
        card = makeCard(sample);
        cards.set(sample.id, card);
        drawCard(card);
      }
      if (list.children[i] !== card.element) list.insertBefore(card.element, list.children[i] ?? null);
    });
  }
  const more = view.waiting_in_all - view.waiting.length;
  setText("waiting-count", whole.format(view.waiting_in_all));
  $("waiting-count").title = more > 0 ? `the first ${view.waiting.length} are shown` : "";
  $("none").hidden = cards.size > 0;
  $("all").hidden = cards.size <= FIRST;
  setText("all", `Show ${cards.size - FIRST} more`);
}

function setState(kind, text) {
  $("state").className = `state ${kind}`;
  setText("state", text);
}

async function poll() {
  try {
    const answer = await fetch("/data");
    if (answer.status === 403) {
      setState("lost", "this page needs its token: open the address that edgehff printed");
    } else {
      view = await answer.json();
      setState("live", "learning");
      drawTiles();
      drawCurve();
      drawCosines();
      drawConfusion();
      drawWaiting();
    }
  } catch (error) {
    if (!(error instanceof TypeError)) console.error(error);
    setState("lost", "the stream has ended, or edgehff cannot be reached");
  }
  setTimeout(poll, POLL_MS);
}

if (location.search) history.replaceState(null, "", "/"); // the token is in a cookie now
for (const kind of ["pointermove", "pointerdown", "keydown", "focusin"]) {
  $("waiting").addEventListener(kind, () => { touched = performance.now(); });
}
$("fresh").addEventListener("click", () => { touched = -Infinity; drawWaiting(true); });
$("all").addEventListener("click", () => $("waiting").classList.add("all"));
$("curve").addEventListener("pointermove", (event) => view && drawCurve(event.clientX - $("curve").getBoundingClientRect().left));
$("curve").addEventListener("pointerleave", () => view && drawCurve());
addEventListener("resize", () => view && drawCurve());
poll();
