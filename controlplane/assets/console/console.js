// The console: who is signed in, which view is shown, and when it looks again.

import { get, token } from "./api.js";
import { chip, h, note } from "./page.js";
import { shards } from "./shards.js";
import { streams } from "./streams.js";
import { sessions } from "./sessions.js";
import { config } from "./config.js";
import { events } from "./events.js";

const LOOK_MS = 2000;
const VIEWS = { streams, sessions, shards, events, config };
const TITLES = { streams: "Streams", sessions: "Sessions", shards: "Shards", events: "Events", config: "Configuration" };

const view = document.getElementById("view");
const header = document.getElementById("top");
const health = document.getElementById("health");
let [running, timer] = [null, null];

document.getElementById("leave").addEventListener("click", () => {
  token.forget();
  signIn();
});
// While somebody signs in, the form tells by itself that the token is wrong.
addEventListener("unauthorized", () => { if (running) signIn("The token is no longer right."); });
addEventListener("hashchange", open);
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });

function named() {
  const name = location.hash.replace(/^#\//, "").split("/")[0];
  return VIEWS[name] ? name : "streams";
}

function stop() {
  clearTimeout(timer);
  running?.stop?.();
  running = null;
}

/** Shows the view that the address names. */
function open() {
  if (!token.get()) return signIn();
  stop();
  const name = named();
  document.title = `${TITLES[name]} · Grandstand`;
  header.hidden = false;
  document.getElementById("nav").replaceChildren(...Object.keys(VIEWS).map((other) =>
    h("a", { href: `#/${other}`, "aria-current": other === name && "page" }, TITLES[other])));
  view.replaceChildren();
  running = VIEWS[name](view, look);
  look();
}

/** Looks once more, and then again after a while. */
async function look() {
  clearTimeout(timer);
  const mine = running;
  if (!mine) return;
  try {
    const [state] = await Promise.all([get("/api/v1/health"), mine.look?.()]);
    const words = state.reasons.map((reason) => reason.message).join("\n");
    health.replaceChildren(chip(state.ready ? (words ? "attention" : "ready") : "draining"));
    health.title = words;
    health.className = "";
  } catch (error) {
    health.replaceChildren(chip("silent"));
    health.title = error.message;
  }
  if (mine === running && !document.hidden) {
    clearTimeout(timer);
    timer = setTimeout(look, LOOK_MS);
  }
}

function signIn(why) {
  stop();
  header.hidden = true;
  document.title = "Sign in · Grandstand";
  const wrong = h("p", { class: "wrong", role: "alert", hidden: !why }, why ?? "");
  const input = h("input", { id: "token", type: "password", autocomplete: "current-password", required: true, autofocus: true });
  const form = h("form", { class: "card sign-in" },
    h("h1", {}, "Grandstand"),
    h("p", {}, "The token is in the file ", h("code", {}, "api-token"), " of the data directory, which the server names when it starts."),
    h("label", { for: "token" }, "Token"), input, wrong,
    h("button", { class: "primary", type: "submit" }, "Sign in"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    token.set(input.value.trim());
    try {
      await get("/api/v1/health");
      open();
    } catch (error) {
      token.forget();
      wrong.textContent = error.status === 401 ? "This is not the token." : error.message;
      wrong.hidden = false;
      input.select();
    }
  });
  view.replaceChildren(form);
  input.focus();
}

addEventListener("unhandledrejection", (event) => note(event.reason?.message ?? "something went wrong", true));
open();
