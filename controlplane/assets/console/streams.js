// The streams: what is wanted, what is on the air, and what can be done about it.

import * as api from "./api.js";
import { age, attempt, bits, chip, count, dialog, h, show, table } from "./page.js";

const SHOWN = 200;
const STATES = ["all", "live", "grace", "idle", "disabled"];

export function streams(view, again) {
  const body = h("div", {});
  const total = h("span", { class: "count" });
  const find = h("input", { type: "search", placeholder: "Name", "aria-label": "Find", oninput: again });
  const state = h("select", { "aria-label": "State", onchange: again },
    STATES.map((word) => h("option", { value: word === "all" ? "" : word }, word)));
  const fresh = h("button", { type: "button", class: "primary", onclick: () => create(again) }, "New stream");
  view.append(h("div", { class: "bar" }, h("h1", {}, "Streams", total), state, find, fresh), body);

  let player = null;
  const play = (stream) => player && (stream.state === "live" || stream.state === "grace")
    ? h("a", { class: "button", href: `${player}/${stream.name}`, target: "_blank", rel: "noreferrer" }, "Play") : null;
  const columns = [
    ["Stream", (s) => h("span", { class: "name" }, s.name, h("span", { class: "dim" }, s.spec?.description || s.spec?.name || ""))],
    ["State", (s) => chip(s.state)],
    ["Declared", (s) => h("span", {}, s.origin ?? "", h("span", { class: "dim" }, s.template ? `template ${s.template}` : ""))],
    ["Media", (s) => h("span", {}, media(s.tracks), h("span", { class: "dim" }, s.publisher ? `${s.protocol}, ${age(s.age_ms)}` : ""))],
    ["Bit rate", (s) => (s.tracks.length ? bits(s.tracks.reduce((all, t) => all + t.bps, 0)) : ""), "num"],
    ["Players", (s) => count(s.players), "num"],
    ["Viewers", (s) => count(s.viewers), "num"],
    ["", (s) => h("div", { class: "actions" }, play(s), deeds(s, again))],
  ];

  const look = async () => {
    player ??= await playerAddress();
    const page = await api.get("/api/v1/streams", { limit: 1000, q: find.value.trim(), state: state.value });
    const found = page.streams;
    fresh.hidden = found.some((stream) => stream.origin === undefined);
    total.textContent = `${count(found.length)}${page.next ? "+" : ""}`;
    const none = find.value || state.value ? "No stream is like that." : "No stream is on the air. Publish one, or declare it here.";
    show(body, found.length ? table(columns, found.slice(0, SHOWN), (s) => s.name) : h("p", { class: "empty" }, none),
      found.length > SHOWN && h("p", { class: "dim" }, `The first ${SHOWN} are shown.`));
  };
  return { look };
}

function media(tracks) {
  const of = (kind) => tracks.find((track) => track.kind === kind);
  const [video, audio] = [of("video"), of("audio")];
  const picture = video && [video.codec, video.width && `${video.width}×${video.height}`, video.fps && `${Math.round(video.fps)} fps`];
  return [picture, audio && [audio.codec]].filter(Boolean).map((part) => part.filter(Boolean).join(" ")).join(" + ");
}

/** Where streams are played: the HTTP listener of the same host. */
async function playerAddress() {
  const { listeners } = await api.get("/api/v1/config");
  const wanted = location.protocol === "https:" ? "https" : "http";
  const listener = (listeners ?? []).find(({ kind }) => kind === wanted);
  const port = listener && /:(\d+)$/.exec(listener.addr)?.[1];
  return port ? `${wanted}://${location.hostname}:${port}` : "";
}

function deeds(stream, again) {
  const button = (word, deed, kind) => h("button", { type: "button", class: kind, onclick: deed }, word);
  const path = api.streamPath(stream.name);
  const stored = stream.origin === "api";
  const restart = () => attempt(`${stream.name} was restarted`, async () => { await api.post(`${path}/restart`); again(); });
  const enable = () => attempt(`${stream.name} is enabled`, async () => { await api.patch(path, { disabled: false }); again(); });
  const disable = async () => {
    if (await sure(`Disable ${stream.name}?`, "Disable", path, "PATCH", { disabled: true })) again();
  };
  const drop = async () => {
    if (await sure(`Delete ${stream.name}?`, "Delete", path, "DELETE")) again();
  };
  return [
    stream.publisher && stream.origin && button("Restart", restart),
    stored && button("Edit", () => edit(stream, again)),
    stored && (stream.spec?.disabled ? button("Enable", enable) : button("Disable", disable)),
    stored && button("Delete", drop, "danger"),
  ];
}

/** Says who would be dropped, and does it after a yes. */
async function sure(title, yes, path, method, change) {
  const dry = { dry_run: true };
  const told = h("p", { class: "dim" }, "Looking who would be dropped…");
  const plan = method === "DELETE" ? api.remove(path, dry) : api.patch(`${path}?dry_run=true`, change);
  plan.then((answer) => { told.textContent = dropped(answer?.dropped); }, (error) => { told.textContent = error.message; });
  return dialog(title, told, yes, {
    danger: true,
    check: () => (method === "DELETE" ? api.remove(path) : api.patch(path, change)).then(() => true),
  });
}

function dropped(plan) {
  const [players, publishers] = [plan?.players ?? 0, plan?.publishers ?? 0];
  if (!players && !publishers) return "Nobody is dropped by this.";
  const words = [publishers && "the publisher", players && `${count(players)} player${players === 1 ? "" : "s"}`];
  return `This drops ${words.filter(Boolean).join(" and ")}.`;
}

async function create(again) {
  const name = h("input", { id: "new-name", required: true, pattern: "[A-Za-z0-9_\\-]+(/[A-Za-z0-9_\\-]+)*", placeholder: "news/studio-1", autofocus: true });
  const about = h("input", { id: "new-about" });
  const key = h("input", { id: "new-key", autocomplete: "off" });
  const field = (label, input) => [h("label", { for: input.id }, label), input];
  const form = h("div", {},
    field("Name, as in the address that encoders publish to", name),
    field("Description", about),
    field("Stream key, which is kept hashed and never shown again; empty for none", key));
  const made = await dialog("New stream", form, "Declare", {
    check: () => api.put(api.streamPath(name.value.trim()), {
      description: about.value, inputs: [{ url: "publish://" }], ...(key.value ? { stream_key: key.value } : {}),
    }).then(() => true),
  });
  if (made) again();
}

async function edit(stream, again) {
  let state;
  if (!(await attempt("", async () => { state = await api.read(api.streamPath(stream.name)); }))) return;
  const text = h("textarea", { id: "edit-spec", spellcheck: "false" });
  text.value = JSON.stringify(state.value.spec ?? {}, null, 2);
  const changed = await dialog(`Edit ${stream.name}`, [h("label", { for: "edit-spec" }, "What is wanted, as JSON"), text], "Save", {
    check: async () => {
      let wanted;
      try { wanted = JSON.parse(text.value); } catch (error) { throw new Error(`This is not JSON: ${error.message}`); }
      await api.put(api.streamPath(stream.name), wanted, state.etag);
      return true;
    },
  });
  if (changed) again();
}
