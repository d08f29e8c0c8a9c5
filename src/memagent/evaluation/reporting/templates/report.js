"use strict";
const rows = JSON.parse(document.getElementById("rows").textContent);
const sources = document.querySelectorAll("script.detail");
const [METHOD, TASK, LENGTH, INDEX, STATUS, SCORE] = [0, 1, 2, 3, 4, 5];
const OUTCOMES = {k: "kept", a: "added to", w: "written anew", d: "exit", m: "reply beside the protocol",
  e: "empty reply", f: "could not be read"};
const BATCH = 200; // problems that are listed at once
const PLAY = 700; // milliseconds a change, when playing
const list = document.getElementById("list"), detail = document.getElementById("detail");
const filters = document.getElementById("filters");
let passing = [], listed = 0, open = -1, reading = null;

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function button(text, label, action) {
  const made = element("button", text);
  made.type = "button";
  made.title = label;
  made.setAttribute("aria-label", label);
  made.addEventListener("click", action);
  return made;
}

// The list of problems.

const sameProblem = new Map();
rows.forEach((row, at) => {
  const key = JSON.stringify([row[TASK], row[LENGTH], row[INDEX]]);
  if (!sameProblem.has(key)) sameProblem.set(key, []);
  sameProblem.get(key).push(at);
});

function choice(label, options) {
  const made = element("select");
  made.setAttribute("aria-label", label);
  for (const [text, value] of options) made.append(new Option(text, value));
  made.addEventListener("change", draw);
  return made;
}

const columns = [[METHOD, "method"], [TASK, "task"], [LENGTH, "length"], [STATUS, "status"]].map(([column, name]) => {
  const values = [...new Set(rows.map(row => row[column]))];
  return [column, choice(name, [["every " + name, ""], ...values.map(value => [value, value])])];
});
const verdict = choice("right or wrong", [["right and wrong", ""], ["right", "right"], ["not all right", "wrong"]]);
const counted = element("span", "", "dim");
filters.append(...columns.map(([, made]) => made), verdict, counted);

function passes(row) {
  if (verdict.value && verdict.value !== (row[SCORE] === 1 ? "right" : "wrong")) return false;
  return columns.every(([column, made]) => !made.value || row[column] === made.value);
}

function scoreOf(row) {
  return element("span", (100 * row[SCORE]).toFixed(0) + "%", row[SCORE] === 1 ? "right" : "wrong");
}

function draw() {
  passing = rows.map((row, at) => at).filter(at => passes(rows[at]));
  listed = 0;
  list.replaceChildren();
  list.scrollTop = 0;
  more();
  counted.textContent = `${passing.length.toLocaleString()} of ${rows.length.toLocaleString()}`;
}

function more() {
  list.querySelector(".more")?.remove();
  for (const at of passing.slice(listed, listed + BATCH)) list.append(entry(at));
  listed = Math.min(passing.length, listed + BATCH);
  if (listed < passing.length) {
    const next = button(`${(passing.length - listed).toLocaleString()} more`, "list more problems", more);
    next.className = "more";
    list.append(next);
  }
}

function entry(at) {
  const row = rows[at], made = element("button");
  const text = element("span", `${row[TASK]} · ${row[LENGTH]} · ${row[INDEX] + 1} `);
  text.append(element("span", row[METHOD] + (row[STATUS] === "answered" ? "" : " · " + row[STATUS]), "dim"));
  made.append(scoreOf(row), text);
  made.dataset.at = at;
  made.setAttribute("aria-current", at === open);
  made.addEventListener("click", () => show(at));
  return made;
}

// One problem.

async function unpacked(at) {
  const packed = Uint8Array.from(atob(sources[at].textContent), letter => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

async function show(at, step) {
  stop();
  list.querySelector("[aria-current=true]")?.setAttribute("aria-current", false);
  open = at;
  reading = null;
  point(at);
  const found = await unpacked(at);
  if (open !== at) return; // another one was chosen meanwhile
  detail.replaceChildren(methods(at));
  section("Problem", found.question);
  section("Expected", found.references.join("\n"));
  section("Answer", found.answer || "(none)");
  if (found.reply.trim() && found.reply.trim() !== found.answer) section("Whole reply", found.reply);
  if (found.error) detail.append(element("p", found.error, "wrong"));
  const scores = Object.entries(found.scores).map(([name, score]) => `${name} ${(100 * score).toFixed(0)}%`).join(" · ");
  detail.append(element("p", `${scores} · ${found.facts}` + (found.reading ? ` · reading ${found.reading}` : ""), "dim"));
  reading = found.turns ? memory(found) : null;
  if (!reading) detail.append(element("p", "There is no memory to show: this is no reading, or it never began.", "dim"));
  else go(step ?? reading.changes[0] ?? 0);
  remember();
}

function point(at) {
  const place = passing.indexOf(at);
  while (listed <= place) more();
  const made = list.querySelector(`[data-at="${at}"]`);
  if (!made) return;
  made.setAttribute("aria-current", true);
  const top = made.offsetTop - list.offsetTop;
  if (top < list.scrollTop || top > list.scrollTop + list.clientHeight - made.offsetHeight)
    list.scrollTop = top - list.clientHeight / 2;
}

function methods(at) {
  const row = rows[at], made = element("div", undefined, "others");
  for (const other of sameProblem.get(JSON.stringify([row[TASK], row[LENGTH], row[INDEX]]))) {
    const jump = button("", "the same problem by " + rows[other][METHOD], () => show(other).then(() => detail.focus()));
    jump.append(rows[other][METHOD] + " ", scoreOf(rows[other]));
    jump.setAttribute("aria-current", other === at);
    made.append(jump);
  }
  return made;
}

function section(title, text) {
  detail.append(element("strong", title), element("pre", text));
}

// Its memory, step by step.

function memory(found) {
  const changes = Object.keys(found.memories).map(Number).sort((a, b) => a - b);
  const patterns = found.references.filter(one => one.trim()).map(pattern);
  const holds = changes.map(at => patterns.filter(one => one.test(found.memories[at])).length / (patterns.length || 1));
  const where = element("p", "", "dim"), text = element("pre"), notes = element("div");
  const play = button("play", "play the changes", () => reading.timer ? stop() : start());
  const steps = element("div");
  steps.id = "steps";
  steps.append(
    element("strong", "Memory"), button("« change", "the change before (Shift ←)", () => go(changeBefore())),
    button("‹ step", "one step back (←)", () => go(reading.step - 1)),
    button("step ›", "one step on (→)", () => go(reading.step + 1)),
    button("change »", "the next change (Shift →)", () => go(changeBehind())), play);
  const [strip, cursor] = drawStrip(found, changes, holds);
  detail.append(steps, strip, legend(patterns.length), where, text, notes);
  return {...found, changes, patterns, where, text, notes, play, strip, cursor, step: 0, timer: 0};
}

function pattern(reference) {
  const escaped = reference.trim().replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`(?<![\\p{L}\\p{N}])${escaped}(?![\\p{L}\\p{N}])`, "iu");
}

function drawStrip(found, changes, holds) {
  const strip = element("div"), canvas = element("canvas"), cursor = element("i");
  strip.id = "strip";
  strip.tabIndex = 0;
  for (const [name, value] of [["role", "slider"], ["aria-label", "step of the reading"], ["aria-valuemin", 1],
    ["aria-valuemax", found.turns.length]]) strip.setAttribute(name, value);
  strip.append(canvas, cursor);
  const paint = () => paintStrip(canvas, found, changes, holds);
  new ResizeObserver(paint).observe(strip);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => canvas.isConnected && paint());
  const follow = event => {
    const box = strip.getBoundingClientRect();
    go(Math.floor((event.clientX - box.left) / box.width * found.turns.length));
  };
  strip.addEventListener("pointerdown", event => { strip.setPointerCapture(event.pointerId); follow(event); });
  strip.addEventListener("pointermove", event => { if (event.buttons) follow(event); });
  return [strip, cursor];
}

function paintStrip(canvas, found, changes, holds) {
  const scale = devicePixelRatio || 1, box = canvas.getBoundingClientRect();
  canvas.width = Math.round(box.width * scale);
  canvas.height = Math.round(box.height * scale);
  const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const colour = name => style.getPropertyValue("--" + name).trim();
  const count = found.turns.length, width = canvas.width / count, foot = Math.round(canvas.height * 0.72);
  const gap = width > 4 * scale ? scale : 0;
  const bar = (at, paint) => {
    pen.fillStyle = paint;
    pen.fillRect(at * width, 0, Math.max(scale, width - gap), foot);
  };
  for (let at = 0; at < count; at++) bar(at, colour("kept"));
  for (const at of changes) bar(at, colour("mark"));
  for (let at = found.turns.indexOf("f"); at >= 0; at = found.turns.indexOf("f", at + 1)) bar(at, colour("wrong"));
  changes.forEach((at, number) => {
    const end = changes[number + 1] ?? count;
    const left = Math.round(at * width);
    pen.globalAlpha = holds[number];
    pen.fillStyle = colour("right");
    pen.fillRect(left, foot + 2 * scale, Math.round(end * width) - left, canvas.height - foot);
    pen.globalAlpha = 1;
  });
}

function legend(hasReferences) {
  const made = element("p", undefined, "dim");
  const keys = [["kept", "kept"], ["mark", "changed"], ["wrong", "could not be read"]];
  if (hasReferences) keys.push(["right", "an expected answer stands in the memory"]);
  for (const [colour, text] of keys) {
    const key = element("span", undefined, "key");
    key.style.background = `var(--${colour})`;
    made.append(key, text);
  }
  return made;
}

function changeBefore() {
  return reading.changes.filter(at => at < reading.step).pop() ?? reading.step;
}

function changeBehind() {
  return reading.changes.find(at => at > reading.step) ?? reading.step;
}

function start() {
  if (changeBehind() === reading.step) go(0);
  reading.play.textContent = "pause";
  reading.timer = setInterval(() => changeBehind() === reading.step ? stop() : go(changeBehind(), true), PLAY);
}

function stop() {
  if (!reading?.timer) return;
  clearInterval(reading.timer);
  reading.timer = 0;
  reading.play.textContent = "play";
}

function memoryBefore(step) {
  const change = reading.changes.filter(at => at < step).pop();
  return change === undefined ? "No previous memory" : reading.memories[change];
}

function go(at, isPlaying) {
  if (!isPlaying) stop();
  const count = reading.turns.length, step = Math.max(0, Math.min(count - 1, at));
  reading.step = step;
  reading.cursor.style.left = `${100 * (step + 0.5) / count}%`;
  reading.strip.setAttribute("aria-valuenow", step + 1);
  const letter = reading.turns[step], old = memoryBefore(step), now = reading.memories[step];
  reading.where.textContent = `chunk ${(step + 1).toLocaleString()} of ${count.toLocaleString()}: ` +
    `${OUTCOMES[letter] || letter} · up to character ${reading.places[step].toLocaleString()}`;
  const parts = now === undefined ? [["", old]] : difference(old, now);
  reading.text.replaceChildren(...parts.map(([tag, text]) => marked(tag, text)));
  const first = reading.text.querySelector("ins, del");
  if (first) reading.text.scrollTop = first.offsetTop - reading.text.offsetTop - reading.text.clientHeight / 2;
  const quotes = (reading.evidence[step] || []).map(quote => element("blockquote", quote));
  if (quotes.length) quotes.unshift(element("strong", "Quoted from the document"));
  if (reading.errors[step]) quotes.push(element("p", reading.errors[step], "wrong"));
  reading.notes.replaceChildren(...quotes);
  remember();
}

function marked(tag, text) {
  const made = tag ? element(tag) : document.createDocumentFragment();
  while (text) {
    const hits = reading.patterns.map(one => one.exec(text)).filter(hit => hit);
    const first = hits.sort((a, b) => a.index - b.index)[0];
    if (!first) break;
    made.append(text.slice(0, first.index), element("mark", first[0]));
    text = text.slice(first.index + first[0].length);
  }
  made.append(text);
  return made;
}

// Words that went and words that came, by the longest common subsequence between what is equal at both ends.

function difference(old, now) {
  const a = old.split(/(\s+)/), b = now.split(/(\s+)/);
  let start = 0, end = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  while (end < Math.min(a.length, b.length) - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const middle = changed(a.slice(start, a.length - end), b.slice(start, b.length - end));
  const whole = [["", a.slice(0, start).join("")], ...middle, ["", a.slice(a.length - end).join("")]];
  const merged = [];
  for (const [tag, text] of whole) {
    if (merged.length && merged[merged.length - 1][0] === tag) merged[merged.length - 1][1] += text;
    else merged.push([tag, text]);
  }
  return merged;
}

function changed(a, b) {
  if (a.length * b.length > 4e6) return [["del", a.join("")], ["ins", b.join("")]];
  const best = Array.from({length: a.length + 1}, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      best[i][j] = a[i] === b[j] ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
  const made = [];
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { made.push(["", a[i++]]); j++; }
    else if (j >= b.length || (i < a.length && best[i + 1][j] >= best[i][j + 1])) made.push(["del", a[i++]]);
    else made.push(["ins", b[j++]]);
  }
  return made;
}

// Keys, and an address for each step: #problem.step

let remembering = 0;

function remember() {
  clearTimeout(remembering);
  remembering = setTimeout(() => history.replaceState(null, "", `#${open + 1}` + (reading ? `.${reading.step + 1}` : "")), 250);
}

function walk(change) {
  const place = passing.indexOf(open) + change;
  if (passing[place] === undefined) return;
  show(passing[place]);
  list.querySelector("[aria-current=true]").focus();
}

document.getElementById("browser").addEventListener("keydown", event => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const keys = {ArrowDown: () => walk(1), ArrowUp: () => walk(-1)};
  if (reading) {
    keys.ArrowRight = () => go(event.shiftKey ? changeBehind() : reading.step + 1);
    keys.ArrowLeft = () => go(event.shiftKey ? changeBefore() : reading.step - 1);
    keys.Home = () => go(0);
    keys.End = () => go(reading.turns.length - 1);
  }
  if (!keys[event.key]) return;
  keys[event.key]();
  event.preventDefault();
});

function follow() {
  const [problem, step] = location.hash.slice(1).split(".").map(Number);
  if (!rows[problem - 1]) return;
  show(problem - 1, step ? step - 1 : undefined).then(() => detail.focus());
}

draw();
addEventListener("hashchange", follow);
follow();
