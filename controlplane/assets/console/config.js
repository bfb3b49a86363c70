// The configuration: what is in force, who set it, and the reload.

import { get, post } from "./api.js";
import { attempt, chip, h, note, show, table } from "./page.js";

const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));

export function config(view, again) {
  const body = h("div", {});
  const file = h("span", { class: "dim mono" });
  const find = h("input", { type: "search", placeholder: "Key", "aria-label": "Find", oninput: () => draw() });
  const set = h("input", { type: "checkbox", id: "set", onchange: () => draw() });
  const reload = h("button", { type: "button", class: "primary", onclick: () => attempt("", async () => {
    const { applied, restart, warnings } = await post("/api/v1/config/reload");
    note(applied.length ? `In force: ${applied.join(", ")}` : "Nothing changed that a reload applies.");
    if (restart.length) note(`Waits for a restart: ${restart.join(", ")}`, true);
    warnings.forEach((warning) => note(warning, true));
    again();
  }) }, "Reload");
  view.append(h("div", { class: "bar" }, h("h1", {}, "Configuration "), file,
    h("label", { for: "set" }, set, " only what is set"), find, reload), body);

  const columns = [
    ["Key", (k) => h("span", { class: "name mono", title: k.about }, k.key)],
    ["Value", (k) => h("span", { class: "mono" }, shown(k.value), k.pending !== null && k.pending !== undefined
      ? h("span", { class: "dim" }, `after a restart: ${shown(k.pending)}`) : null)],
    ["Default", (k) => h("span", { class: "mono dim" }, shown(k.default))],
    ["Set by", (k) => h("span", {}, k.origin === "default" ? "" : chip(k.origin), h("span", { class: "dim" }, k.place ?? ""))],
    ["A change applies", (k) => `at a ${k.applies}`],
  ];
  let keys = [];
  const draw = () => {
    const words = find.value.trim().toLowerCase();
    const found = keys.filter((k) => k.key.includes(words) && (!set.checked || k.origin !== "default"));
    show(body, found.length ? table(columns, found, (k) => k.key) : h("p", { class: "empty" }, "No key is called so."));
  };
  const look = async () => {
    const answer = await get("/api/v1/config");
    file.textContent = answer.file ?? "no file";
    const fresh = JSON.stringify(answer.keys);
    if (fresh === JSON.stringify(keys)) return;
    keys = answer.keys;
    draw();
  };
  return { look };
}
