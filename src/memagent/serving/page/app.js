// The page: readings to choose from, a document to ask, one reading or two side by side. What is open stands in the
// address, so that links and the back button work.

import { html, render, useEffect, useState } from "./vendor/htm-preact.js";
import * as api from "./api.js";
import { ReadingView } from "./reading.js";

const place = () => new URLSearchParams(location.hash.slice(1));
const go = (parts) => { location.hash = new URLSearchParams(parts).toString(); };

function usePlace() {
  const [now, setNow] = useState(place());
  useEffect(() => {
    const moved = () => setNow(place());
    window.addEventListener("hashchange", moved);
    return () => window.removeEventListener("hashchange", moved);
  }, []);
  return now;
}

function Ask({ onBegun }) {
  const [file, setFile] = useState(null);
  const [kept, setKept] = useState([]);
  const [chosen, setChosen] = useState("");
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  useEffect(() => { api.files().then(setKept, () => {}); }, []);
  const drop = (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) setFile(event.dataTransfer.files[0]);
  };
  const ask = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError("");
    try {
      const id = file ? (await api.upload(file)).id : chosen;
      if (!id) throw new Error("Choose a document first.");
      onBegun((await api.begin({ file_ids: [id], problem })).id);
    } catch (failure) {
      setError(failure.message);
    } finally {
      setBusy(false);
    }
  };
  return html`<form class="ask" onSubmit=${ask} onDragOver=${(event) => event.preventDefault()} onDrop=${drop}>
    <label>Document: choose a file, or drop one here
      <input type="file" onChange=${(event) => setFile(event.target.files[0] || null)} />
    </label>
    ${file ? html`<p class="quiet">${file.name}</p>` : null}
    ${kept.length && !file ? html`<label>or one that is here already
      <select value=${chosen} onChange=${(event) => setChosen(event.target.value)}>
        <option value="">–</option>
        ${kept.map((one) => html`<option value=${one.id}>${one.filename}</option>`)}
      </select></label>` : null}
    <label>Question
      <input value=${problem} required onInput=${(event) => setProblem(event.target.value)} placeholder="Who inherits the house?" />
    </label>
    <button type="submit" aria-busy=${busy} disabled=${busy}>Read</button>
    ${error ? html`<p role="alert">${error}</p>` : null}
  </form>`;
}

function Library({ found, error, open, beside }) {
  if (error) return html`<p role="alert">${error}</p>`;
  if (!found) return html`<p aria-busy="true">Readings come</p>`;
  if (!found.length) return html`<p class="quiet">No readings yet.</p>`;
  return html`<ul class="library">
    ${found.map((one) => html`<li class=${one.id === open ? "open" : ""}>
      <a href=${`#reading=${one.id}`}>${one.problem}</a>
      <small>${one.document} · ${one.answer ?? (one.running ? "reading" : "unfinished")}</small>
      ${open && one.id !== open ? html`<a class="beside" href=${`#reading=${open}&beside=${one.id}`}
        aria-label="Compare with the open one">${one.id === beside ? "beside" : "compare"}</a>` : null}
    </li>`)}
  </ul>`;
}

function Evaluations() {
  const [found, setFound] = useState([]);
  useEffect(() => { api.evaluations().then(setFound, () => {}); }, []);
  if (!found.length) return null;
  return html`<details><summary>Evaluations</summary><ul>
    ${found.map((one) => html`<li><a href=${one.url} target="_blank" rel="noopener">${one.name}</a></li>`)}
  </ul></details>`;
}

function Key({ onSet }) {
  const [text, setText] = useState("");
  const save = (event) => (event.preventDefault(), api.key.set(text.trim()), onSet());
  return html`<form class="ask" onSubmit=${save}><label>Key
    <input type="password" value=${text} autocomplete="off" onInput=${(event) => setText(event.target.value)} />
  </label><button type="submit">Come in</button></form>`;
}

function App() {
  const now = usePlace();
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  const [where, setWhere] = useState(null);
  const reading = now.get("reading"), beside = now.get("beside");
  const look = () => api.readings().then((list) => (setFound(list), setError(null)), setError);
  useEffect(() => {
    look();
    setWhere(null);
    const timer = setInterval(look, 5000);
    return () => clearInterval(timer);
  }, [reading, beside]);
  if (error && error.status === 401) return html`<${Key} onSet=${look} />`;
  const open = (id) => go({ reading: id });
  return html`<div class="page">
    <aside>
      <h1><a href="#">memagent</a></h1>
      <details open=${!reading}><summary>Ask a document</summary><${Ask} onBegun=${open} /></details>
      <h2>Readings</h2>
      <${Library} found=${found} error=${error && error.message} open=${reading} beside=${beside} />
      <${Evaluations} />
    </aside>
    <div class=${beside ? "desk compared" : "desk"}>
      ${reading ? html`<${ReadingView} key=${reading} id=${reading} onOpen=${open} where=${beside ? where : null} onStep=${setWhere} />`
        : html`<p class="quiet">Ask a document, or open a reading. Left and right step through its chunks, up and down through
          its changes, <kbd>e</kbd> edits the memory.</p>`}
      ${beside ? html`<${ReadingView} key=${beside} id=${beside} onOpen=${open} where=${where} onStep=${setWhere} compact />` : null}
    </div>
  </div>`;
}

const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
