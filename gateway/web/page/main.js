// The page: the callers on one side, the chosen one's thread on the other; on a
// phone one after the other.

import * as api from "./api.js";
import { Callers, title } from "./callers.js";
import { Chats } from "./chats.js";
import { element, icon, name } from "./dom.js";
import { Notes } from "./notes.js";
import { Player } from "./player.js";
import { say, total } from "./text.js";
import { Thread } from "./thread.js";

const wide = matchMedia("(min-width: 720px)");
const notes = new Notes();
const mailbox = document.body.dataset;

let chosen = history.state?.thread ?? null; // the key of the thread that is open
let state = "loading"; // loading, ready, failed, over

const callers = new Callers(choose);
const thread = new Thread(new Player(api.mediaURL), {
  changed: show,
  back: () => (history.state?.pushed ? history.back() : choose(null)),
  older: () => read(notes.oldest),
});
const chats = new Chats();
const older = element("button", { class: "older quiet", type: "button", onclick: () => read(notes.oldest) }, say("older"));
const banner = element("p", { class: "banner", role: "status", hidden: true }, say("offline"));
const aside = element("div", { class: "state" }); // stands in for a list or a thread
const announcer = element("p", { class: "only-heard", role: "status" });

document.getElementById("app").append(
  element("nav", { class: "side" }, header(), banner, element("div", { class: "scroll" }, callers.element, older), chats.element),
  element("main", { class: "main" }, thread.element, aside),
  announcer,
);

function header() {
  const shown = mailbox.name || mailbox.number;
  return element(
    "header",
    { class: "bar" },
    "admin" in mailbox && element("a", { class: "back", href: "../", "aria-label": say("all_mailboxes") }, icon("back")),
    element("span", { class: "logo", "aria-hidden": "true" }, icon("inbox")),
    element("div", { class: "bar-text" }, element("h1", {}, name(shown)), shown !== mailbox.number && element("p", {}, name(mailbox.number))),
  );
}

// show brings everything up to date with what is known.
function show() {
  const threads = notes.threads();
  if (!chosen && wide.matches && threads.length) chosen = threads[0].key;
  const current = threads.find((t) => t.key === chosen);
  document.body.dataset.view = current ? "thread" : threads.length ? "list" : "none";
  document.body.toggleAttribute("data-loading", state === "loading");
  thread.element.hidden = !current;
  aside.hidden = Boolean(current);
  older.hidden = !notes.more;
  callers.show(threads, current?.key);
  if (current) thread.show(current, notes.more); // in sight already: it measures
  aside.replaceChildren(...standIn(threads));
  document.title = (notes.unread ? `(${notes.unread}) ` : "") + `${say("inbox")} · ${mailbox.name || mailbox.number}`;
}

function standIn(threads) {
  if (threads.length) return [element("p", {}, say("choose"))];
  if (state === "loading") return [element("p", { role: "status" }, say("loading"))];
  if (state === "over") return [icon("missed"), element("h2", {}, say("over")), element("p", {}, say("over_hint"))];
  if (state === "failed") {
    return [element("p", { role: "alert" }, say("failed")), element("button", { class: "primary", type: "button", onclick: changed }, say("retry"))];
  }
  return [icon("voice"), element("h2", {}, say("empty")), element("p", {}, say("empty_hint"))];
}

// choose opens a thread, or the list with null. The browser's own way back leads
// from a thread to the list where they are shown one after the other; the
// address stays as it is.
function choose(key) {
  if (key && !chosen && !wide.matches) history.pushState({ thread: key, pushed: true }, "");
  else history.replaceState({ ...history.state, thread: key }, "");
  open(key);
}

function open(key) {
  chosen = key;
  show();
  if (key) thread.focus();
  else callers.focus();
}

// read asks for all that is shown again, from the newest on, or for the notes
// before an id. What is no longer there was erased.
async function read(before) {
  try {
    if (before) ({ more: notes.more } = await more(before));
    else await readAgain();
    state = "ready";
  } catch (error) {
    if (error.message === api.gone) leave();
    else if (notes.size === 0) state = "failed";
  }
  show();
}

async function more(before) {
  const page = await api.page(before);
  return { ...page, fresh: notes.merge(page) };
}

async function readAgain() {
  const first = state !== "ready";
  const oldest = notes.oldest;
  const ids = new Set();
  const fresh = [];
  let page, last = "";
  do {
    page = await more(last);
    for (const note of page.notes) ids.add(note.id);
    fresh.push(...page.fresh);
    last = page.notes.at(-1)?.id ?? "";
  } while (page.more && last > oldest); // where nothing is shown, one page
  if (oldest === notes.none || !page.more) notes.more = page.more;
  for (const note of notes.keep(ids, page.more ? last : "")) thread.drop(note);
  if (!first) announce(fresh);
}

// leave forgets what the address no longer opens.
function leave() {
  state = "over";
  banner.hidden = chats.element.hidden = true;
  for (const note of notes.keep(new Set(), "")) thread.drop(note);
}

function announce(fresh) {
  announcer.textContent = fresh
    .map((note) => say("new_note", [title(note.caller), note.kind === "missed" ? say("missed_call") : `${say(note.kind)}, ${total(note)}`].join(", ")))
    .join(". ");
}

// Many changes at once are read once, and one at a time.
let reading = null, again = false;
async function changed() {
  if (reading) return (again = true);
  do {
    again = false;
    reading = read();
    await reading;
  } while (again);
  reading = null;
}

let offline = 0;
function connected(yes) {
  clearTimeout(offline);
  if (yes || state === "over") banner.hidden = true;
  else offline = setTimeout(() => (banner.hidden = state === "over"), 1500); // a short gap is nobody's business
}

addEventListener("popstate", () => open(history.state?.thread ?? null));
wide.addEventListener("change", show);
setInterval(() => document.visibilityState === "visible" && show(), 60_000); // today becomes yesterday
show();
changed();
chats.look();
api.watch(changed, connected);
