// One reading: its chunks as a strip, the memory at each with what changed, the source, the evidence, and reading on
// from a memory that was edited. It knows no lists.

import { html, useCallback, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import * as api from "./api.js";
import { Strip } from "./strip.js";

const NONE = "No previous memory";
const AGAIN = 1000; // milliseconds between two looks at a reading under way

// The reading by its id, kept up to date while it runs. Turns are only ever added.
// Another `round` looks again from the start.
export function useReading(id, round = 0) {
  const [found, setFound] = useState(null);
  const [error, setError] = useState("");
  useEffect(() => {
    let timer = 0, gone = false, turns = { outcomes: "", starts: [], ends: [], changes: [] };
    const look = async () => {
      try {
        const news = await api.reading(id, turns.outcomes.length);
        if (gone) return;
        turns = {
          outcomes: turns.outcomes + news.turns.outcomes,
          starts: turns.starts.concat(news.turns.starts),
          ends: turns.ends.concat(news.turns.ends),
          changes: turns.changes.concat(news.turns.changes),
        };
        setFound({ ...news, turns });
        if (news.running) timer = setTimeout(look, AGAIN);
      } catch (failure) {
        if (!gone) setError(failure.message);
      }
    };
    setFound(null);
    setError("");
    look();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [id, round]);
  return [found, error];
}

// The memory as it was behind chunk `at`, the one before its last change, and whether that change was at `at`.
export function memoryAt(found, at) {
  const first = found.start ? found.start.memory : NONE;
  let before = first, memory = first, here = false;
  for (const change of found.turns.changes) {
    if (change.at > at) break;
    before = memory;
    memory = change.memory;
    here = change.at === at;
  }
  return { before, memory, here };
}

function Memory({ before, memory, here }) {
  if (!here) return html`<pre class="memory">${memory}</pre>`;
  const parts = window.Diff.diffWordsWithSpace(before === NONE ? "" : before, memory);
  const marked = parts.map((part) =>
    part.added ? html`<ins>${part.value}</ins>` : part.removed ? html`<del>${part.value}</del>` : part.value);
  return html`<pre class="memory">${marked}</pre>`;
}

function Source({ id, start, end, marks, jump }) {
  const [text, setText] = useState(null);
  const [why, setWhy] = useState("");
  const mark = useRef(null);
  useEffect(() => {
    let gone = false;
    api.text(id, start, end).then(
      (found) => !gone && (setText(found.text), setWhy("")),
      (failure) => !gone && (setText(null), setWhy(failure.message)),
    );
    return () => { gone = true; };
  }, [id, start, end]);
  useEffect(() => { if (mark.current) mark.current.scrollIntoView({ block: "center" }); }, [text, jump]);
  if (why) return html`<p class="quiet">${why}</p>`;
  if (text === null) return html`<p aria-busy="true">The text comes</p>`;
  // Places count characters as Python does, where a string here has two units for each beyond the first 65,536.
  const points = Array.from(text), part = (from, to) => points.slice(from, to).join("");
  const parts = [];
  let done = 0;
  for (const [from, to] of marks) {
    const a = Math.max(done, from - start), b = Math.min(points.length, to - start);
    if (b <= a) continue;
    parts.push(part(done, a), html`<mark ref=${mark}>${part(a, b)}</mark>`);
    done = b;
  }
  parts.push(part(done));
  return html`<pre class="source">${parts}</pre>`;
}

// Where a quote stands in the document; its own start and end count from the start of its file.
const span = (quote) => [quote.at, quote.at + quote.end - quote.start];

function Evidence({ found, onPick }) {
  const quotes = found.result ? found.result.evidence : [];
  if (!quotes.length) return null;
  return html`<ol class="evidence">
    ${quotes.map((one) => html`<li>
      <a href="#" onClick=${(event) => (event.preventDefault(), onPick(one))}>
        “${one.quote}” <small>${one.source}${one.page ? `, page ${one.page}` : ""}, ${one.start}–${one.end}</small>
      </a></li>`)}
  </ol>`;
}

function Editor({ memory, onSave, onCancel }) {
  const [text, setText] = useState(memory === NONE ? "" : memory);
  const save = (event) => (event.preventDefault(), onSave(text));
  return html`<form onSubmit=${save}>
    <label>The memory to read on with
      <textarea rows="6" value=${text} onInput=${(event) => setText(event.target.value)} autofocus></textarea>
    </label>
    <div class="row">
      <button type="submit">Read on from here</button>
      <button type="button" class="secondary" onClick=${onCancel}>Leave it</button>
    </div>
  </form>`;
}

// `where` is a character of the document: of two readings side by side each shows its own chunk that holds it.
export function ReadingView({ id, onOpen, where = null, onStep, compact = false }) {
  const [round, setRound] = useState(0);
  const again = () => setRound(round + 1);
  const [found, error] = useReading(id, round);
  const [own, setOwn] = useState(null);
  const [editing, setEditing] = useState(false);
  const [jump, setJump] = useState(null);
  const [problem, setProblem] = useState("");
  const chunks = found ? found.turns.outcomes.length : 0;
  const given = where === null || !found ? -1 : found.turns.ends.findIndex((end) => end >= where);
  const at = Math.max(0, Math.min(chunks - 1, given >= 0 ? given : own ?? chunks - 1));
  const place = useRef(at); // as it is after the last key, though it may not be drawn yet
  place.current = at;
  const step = useCallback((to) => {
    place.current = Math.max(0, Math.min(chunks - 1, to));
    setOwn(place.current);
    setJump(null);
    if (onStep && found) onStep(found.turns.ends[place.current]);
  }, [chunks, found, onStep]);
  const pick = useCallback((quote) => {
    const chunk = found.turns.ends.findIndex((end) => end > quote.at);
    step(chunk < 0 ? chunks - 1 : chunk);
    setJump(span(quote));
  }, [found, chunks, step]);
  const changed = useMemo(() => new Set(found ? found.turns.changes.map((one) => one.at) : []), [found]);

  useEffect(() => {
    if (compact) return undefined;
    const press = (event) => {
      if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.ctrlKey || event.metaKey) return;
      const places = [...changed].sort((a, b) => a - b), now = place.current;
      const moves = {
        ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: chunks - 1,
        ArrowDown: places.find((one) => one > now) ?? now, ArrowUp: places.findLast((one) => one < now) ?? now,
      };
      if (event.key in moves) (event.preventDefault(), step(moves[event.key]));
      if (event.key === "e" && chunks) (event.preventDefault(), setEditing(true));
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, [chunks, changed, step, compact]);

  if (error) return html`<p role="alert">${error}</p>`;
  if (!found) return html`<p aria-busy="true">The reading comes</p>`;
  const { before, memory, here } = memoryAt(found, at);
  const [start, end] = jump || [found.turns.starts[at], found.turns.ends[at]];
  const shown = jump ? [Math.max(0, start - 600), end + 600] : [start, end];
  const quotes = found.turns.changes.filter((one) => one.at === at).flatMap((one) => one.evidence);
  const marks = jump ? [jump] : quotes.map(span).sort((a, b) => a[0] - b[0]);
  const readOn = async (text) => {
    try {
      const begun = await api.readOn(id, found.turns.ends[at], text);
      setEditing(false);
      onOpen(begun.id);
    } catch (failure) {
      setProblem(failure.message);
    }
  };
  const goOn = async () => {
    try {
      await api.resume(id);
      again();
    } catch (failure) {
      setProblem(failure.message);
    }
  };
  return html`<article class="reading">
    <header>
      <h2>${found.problem}</h2>
      <p class="quiet">${found.document} · ${id}${found.start ? ` · read on from character ${found.start.characters}` : ""}</p>
      ${found.result ? html`<p class="answer"><strong>${found.result.answer || "no answer"}</strong>
        <span class="badge ${found.result.status}">${found.result.status.replace("_", " ")}</span></p>` : null}
      ${found.running ? html`<progress value=${found.share} max="1"></progress>` : null}
      ${!found.running && !found.result ? html`<p class="quiet">This reading was broken off.
        <button class="outline" onClick=${goOn}>Go on with it</button></p>` : null}
      ${found.error ? html`<p role="alert">${found.error}</p>` : null}
      <${Evidence} found=${found} onPick=${pick} />
    </header>
    <${Strip} outcomes=${found.turns.outcomes} changed=${changed} total=${found.total || chunks} at=${at} onPick=${step} />
    <p class="quiet place">
      ${chunks ? `Chunk ${at + 1} of ${chunks}${found.running ? " so far" : ""}, characters ${found.turns.starts[at]}–${found.turns.ends[at]}` : "No chunk yet"}
      ${here ? " · the memory changed here" : ""}
    </p>
    <div class="two">
      <section aria-label="Memory">
        <h3>Memory</h3>
        ${editing
          ? html`<${Editor} memory=${memory} onSave=${readOn} onCancel=${() => setEditing(false)} />`
          : html`<${Memory} before=${before} memory=${memory} here=${here} />
            ${compact || !chunks ? null : html`<button class="outline" onClick=${() => setEditing(true)}>Edit the memory here</button>`}`}
        ${problem ? html`<p role="alert">${problem}</p>` : null}
      </section>
      <section aria-label="Source">
        <h3>Source</h3>
        ${chunks ? html`<${Source} id=${id} start=${shown[0]} end=${shown[1]} marks=${marks} jump=${jump} />` : null}
      </section>
    </div>
  </article>`;
}
