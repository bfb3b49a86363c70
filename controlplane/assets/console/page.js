// The page: elements, figures in people's units, questions and notes.

/** An element; `on...` are listeners, other values attributes. Text is never read as markup. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "width") element.style.width = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const scaled = (value, step, units, digits = 1) => {
  let at = 0;
  while (value >= step && at < units.length - 1) [value, at] = [value / step, at + 1];
  return `${at === 0 || value >= 100 ? Math.round(value) : value.toFixed(digits)} ${units[at]}`;
};

export const bytes = (value) => scaled(value ?? 0, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
export const bits = (value) => scaled(value ?? 0, 1000, ["b/s", "kb/s", "Mb/s", "Gb/s"]);
export const count = (value) => (value ?? 0).toLocaleString("en");
export const percent = (share) => `${Math.round((share ?? 0) * 100)} %`;

export function age(ms) {
  const seconds = Math.floor((ms ?? 0) / 1000);
  const [d, hours, m, s] = [seconds / 86400, (seconds / 3600) % 24, (seconds / 60) % 60, seconds % 60].map(Math.floor);
  if (d) return `${d} d ${hours} h`;
  if (hours) return `${hours} h ${m} min`;
  return m ? `${m} min ${s} s` : `${s} s`;
}

const GOOD = ["live", "running", "playing", "publishing", "active", "play", "publish", "ready"];
const WARN = ["grace", "draining", "idle play", "waiting"];
const BAD = ["disabled", "full", "silent", "error"];

export function chip(word) {
  const tone = GOOD.includes(word) ? "good" : WARN.includes(word) ? "warn" : BAD.includes(word) ? "bad" : "";
  return h("span", { class: `chip ${tone}` }, word ?? "");
}

export function meter(share, label) {
  const tone = share > 0.9 ? "bad" : share > 0.7 ? "warn" : "";
  const width = `${Math.min(100, Math.max(0, share * 100))}%`;
  return h("div", { class: "meter", role: "img", "aria-label": `${label}: ${percent(share)}` }, h("i", { class: tone, width }));
}

export const tile = (name, value, more) =>
  h("dl", { class: "card tile" }, h("dt", {}, name), h("dd", {}, value, more ? h("small", {}, ` ${more}`) : null));

/** A table; `columns` are [title, cell of a row, class]. */
export function table(columns, rows, key) {
  const heads = columns.map(([title, , kind]) => h("th", { scope: "col", class: kind }, title));
  const lines = rows.map((row) =>
    h("tr", { "data-key": key(row) }, columns.map(([, cell, kind]) => h("td", { class: kind }, cell(row)))));
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, lines)));
}

/** Replaces what `holder` shows, unless the person is at work inside of it. */
export function show(holder, ...children) {
  const busy = holder.querySelector("button:focus, button:active");
  const key = busy?.closest("[data-key]")?.dataset.key;
  const label = busy?.textContent;
  holder.replaceChildren(...children.filter(Boolean));
  if (!key) return;
  const row = [...holder.querySelectorAll("[data-key]")].find((row) => row.dataset.key === key);
  [...(row?.querySelectorAll("button") ?? [])].find((button) => button.textContent === label)?.focus();
}

/** Tells something for a moment. */
export function note(text, bad = false) {
  const element = h("div", { class: bad ? "note bad" : "note", role: bad ? "alert" : "status" }, text);
  document.getElementById("notes").append(element);
  setTimeout(() => element.remove(), bad ? 9000 : 5000);
}

/** Does something and tells what became of it. */
export async function attempt(what, action) {
  try {
    await action();
    if (what) note(what);
    return true;
  } catch (error) {
    note(error.message, true);
    return false;
  }
}

/** Asks before something is done; resolves to the content of the form, or null. */
export function dialog(title, content, yes, { danger = false, check } = {}) {
  return new Promise((resolve) => {
    const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
    const ok = h("button", { class: danger ? "danger" : "primary", type: "submit" }, yes);
    const no = h("button", { type: "button", onclick: () => box.close() }, "Cancel");
    const form = h("form", {}, h("h1", {}, title), content, wrong, h("div", { class: "actions" }, no, ok));
    const box = h("dialog", { onclose: () => { box.remove(); resolve(null); } }, form);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      ok.disabled = true;
      try {
        const value = (await check?.(form)) ?? true;
        resolve(value);
        box.close();
      } catch (error) {
        wrong.textContent = error.field ? `${error.field}: ${error.message}` : error.message;
        wrong.hidden = false;
        ok.disabled = false;
      }
    });
    document.body.append(box);
    box.showModal();
  });
}
