// What the page asks of its server. It knows routes and the key, and nothing of what is shown.

const KEY = "memagent-key";

export const key = {
  get: () => sessionStorage.getItem(KEY) || "",
  set: (value) => sessionStorage.setItem(KEY, value),
};

async function call(path, options = {}) {
  const headers = { ...(options.headers || {}) };
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  const reply = await fetch(path, { ...options, headers });
  if (reply.ok) return reply.json();
  const body = await reply.json().catch(() => ({}));
  const error = new Error(body.error?.message || `${reply.status} ${reply.statusText}`);
  error.status = reply.status;
  throw error;
}

const post = (path, body) =>
  call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const readings = () => call("/api/readings");
export const reading = (id, after = 0) => call(`/api/readings/${id}?after=${after}`);
export const text = (id, start, end) => call(`/api/readings/${id}/text?start=${start}&end=${end}`);
export const files = () => call("/v1/files").then((found) => found.data);
export const evaluations = () => call("/api/evaluations");
export const begin = (asked) => post("/api/readings", asked);
export const resume = (id) => post(`/api/readings/${id}/resume`, {});
export const readOn = (id, characters, memory) => post(`/api/readings/${id}/on`, { characters, memory });

export async function upload(file) {
  const form = new FormData();
  form.append("file", file);
  form.append("purpose", "user_data");
  return call("/v1/files", { method: "POST", body: form });
}
