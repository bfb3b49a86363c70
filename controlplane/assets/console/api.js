// The API: requests with the token, pages of lists, events as they come.
//
// The token stays in this tab: it is gone when the tab is closed.

const KEY = "grandstand.token";

/** A refusal of the server, in its own words. */
export class Refusal extends Error {
  constructor(status, error) {
    super(error?.message ?? `the server answered ${status}`);
    this.status = status;
    this.code = error?.code;
    this.field = error?.field;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

const url = (path, query) => {
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== "");
  return pairs.length === 0 ? path : `${path}?${new URLSearchParams(pairs)}`;
};

async function ask(method, path, { query, body, etag, signal } = {}) {
  const headers = { Authorization: `Bearer ${token.get() ?? ""}` };
  if (body !== undefined) headers["Content-Type"] = method === "PATCH" ? "application/merge-patch+json" : "application/json";
  if (etag) headers["If-Match"] = etag;
  const answer = await fetch(url(path, query), {
    method, headers, signal, cache: "no-store",
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (answer.ok) return answer;
  const text = await answer.json().catch(() => null);
  if (answer.status === 401) dispatchEvent(new Event("unauthorized"));
  throw new Refusal(answer.status, text?.error);
}

const json = async (answer) => ((await answer).status === 204 ? null : (await answer).json());

export const get = (path, query) => json(ask("GET", path, { query }));
export const post = (path, body, query) => json(ask("POST", path, { body, query }));
export const put = (path, body, etag) => json(ask("PUT", path, { body, etag }));
export const patch = (path, body, etag) => json(ask("PATCH", path, { body, etag }));
export const remove = (path, query) => json(ask("DELETE", path, { query }));

/** What is at `path`, and the name of its state. */
export async function read(path) {
  const answer = await ask("GET", path);
  return { value: await answer.json(), etag: answer.headers.get("ETag") };
}

export const streamPath = (name) => `/api/v1/streams/${encodeURIComponent(name)}`;

/** Calls `each` with every event until `signal` aborts; the last id continues after a break. */
export async function events(each, state, signal) {
  let last = null;
  while (!signal.aborted) {
    try {
      const headers = { Authorization: `Bearer ${token.get() ?? ""}` };
      if (last) headers["Last-Event-ID"] = last;
      const answer = await fetch("/api/v1/events", { headers, signal, cache: "no-store" });
      if (!answer.ok) {
        const text = await answer.json().catch(() => null);
        throw new Refusal(answer.status, text?.error);
      }
      state("live");
      last = (await blocks(answer.body, each)) ?? last;
      state("away");
    } catch (error) {
      if (signal.aborted) return;
      state("away", error);
      if (error instanceof Refusal && error.status !== 503) return;
    }
    await new Promise((done) => setTimeout(done, 2000));
  }
}

/** Reads blocks of `id:`, `event:` and `data:` lines; the id of the last one. */
async function blocks(body, each) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let [rest, last] = ["", null];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return last;
    rest += value.replaceAll("\r\n", "\n");
    const parts = rest.split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const fields = { data: "" };
      for (const line of part.split("\n")) {
        const [, name, text] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
        if (name === "data") fields.data += fields.data ? `\n${text}` : text;
        else if (name) fields[name] = text;
      }
      if (fields.id) last = fields.id;
      if (fields.data) each(fields);
    }
  }
}
