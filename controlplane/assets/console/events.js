// The events, as they come.

import { events as listen } from "./api.js";
import { h, table } from "./page.js";

const KEPT_MAX = 500;

export function events(view) {
  const leaving = new AbortController();
  const body = h("div", { class: "log" });
  const state = h("span", { class: "chip" }, "connecting");
  const find = h("input", { type: "search", placeholder: "Type or stream", "aria-label": "Find", oninput: () => draw() });
  const pause = h("button", { type: "button", onclick: () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    draw();
  } }, "Pause");
  view.append(h("div", { class: "bar" }, h("h1", {}, "Events"), state, find, pause), body);

  let [kept, paused, waits] = [[], false, false];
  const more = ({ data }) => Object.keys(data ?? {}).length
    ? h("details", {}, h("summary", { class: "dim" }, summary(data)), h("pre", { class: "mono" }, JSON.stringify(data, null, 2)))
    : null;
  const columns = [
    ["Time", (e) => h("span", { class: "mono" }, (e.time ?? "").slice(11, 23))],
    ["Type", (e) => h("span", { class: "name" }, e.type ?? "")],
    ["Stream", (e) => h("span", {}, e.stream ?? "", h("span", { class: "dim mono" }, e.stream_id ?? ""))],
    ["", more],
  ];
  const draw = () => {
    waits = false;
    if (paused) return;
    const words = find.value.trim().toLowerCase();
    const found = kept.filter((e) => `${e.type} ${e.stream ?? ""}`.toLowerCase().includes(words));
    body.replaceChildren(found.length ? table(columns, found, (e) => e.id) : h("p", { class: "empty" }, "Nothing has happened yet."));
  };
  const each = ({ data, event }) => {
    let value;
    try { value = JSON.parse(data); } catch { value = { data: { text: data } }; }
    kept.unshift({ type: event, ...value });
    kept.length = Math.min(kept.length, KEPT_MAX);
    if (!waits) requestAnimationFrame(draw);
    waits = true;
  };
  const tell = (word, error) => {
    state.className = `chip ${word === "live" ? "good" : "warn"}`;
    state.textContent = word === "live" ? "live" : "not connected";
    state.title = error?.message ?? "";
  };
  draw();
  listen(each, tell, leaving.signal);
  return { stop: () => leaving.abort() };
}

const summary = (fields) => Object.entries(fields)
  .map(([name, value]) => `${name} ${typeof value === "object" ? "…" : value}`).join(", ").slice(0, 120);
