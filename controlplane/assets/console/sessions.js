// The sessions: who publishes, who plays, and the kick.

import { get, remove } from "./api.js";
import { age, attempt, bytes, chip, count, h, show, table } from "./page.js";

const SHOWN = 200;

export function sessions(view, again) {
  const body = h("div", {});
  const total = h("span", { class: "count" });
  const find = h("input", { type: "search", placeholder: "Stream, peer or protocol", "aria-label": "Find", oninput: again });
  const role = h("select", { "aria-label": "Role", onchange: again },
    ["all", "publish", "play"].map((word) => h("option", { value: word === "all" ? "" : word }, word)));
  view.append(h("div", { class: "bar" }, h("h1", {}, "Sessions", total), role, find), body);

  const kick = (session) => attempt(`Session ${session.id} was kicked`, async () => {
    await remove(`/api/v1/sessions/${encodeURIComponent(session.id)}`);
    again();
  });

  const columns = [
    ["Session", (s) => h("span", { class: "mono" }, s.id)],
    ["Role", (s) => chip(s.role ?? s.state)],
    ["Stream", (s) => h("span", { class: "name" }, s.stream ?? "", h("span", { class: "dim" }, s.protocol, s.tls ? ` in ${s.tls === true ? "TLS" : s.tls}` : ""))],
    ["Peer", (s) => h("span", {}, s.peer, h("span", { class: "dim" }, s.agent))],
    ["Age", (s) => age(s.age_ms), "num"],
    ["In", (s) => bytes(s.bytes_in), "num"],
    ["Out", (s) => bytes(s.bytes_out), "num"],
    ["", (s) => h("div", { class: "actions" }, h("button", { type: "button", class: "danger", onclick: () => kick(s) }, "Kick"))],
  ];

  const look = async () => {
    const page = await get("/api/v1/sessions", { limit: 1000, role: role.value });
    const words = find.value.trim().toLowerCase();
    const fits = (s) => (!role.value || s.role === role.value)
      && [s.stream, s.peer, s.protocol, s.agent, s.id].some((text) => (text ?? "").toLowerCase().includes(words));
    const found = page.sessions.filter(fits);
    total.textContent = `${count(found.length)}${page.next ? "+" : ""}`;
    show(body, found.length
      ? table(columns, found.slice(0, SHOWN), (s) => s.id)
      : h("p", { class: "empty" }, "Nobody is here."),
      found.length > SHOWN && h("p", { class: "dim" }, `The first ${SHOWN} are shown.`));
  };
  return { look };
}
