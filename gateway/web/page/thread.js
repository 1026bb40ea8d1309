// One thread: a caller and their notes, as a chat.

import { mark } from "./api.js";
import { bubble } from "./bubble.js";
import { avatar, title } from "./callers.js";
import { arrange, attribute, element, icon, name, rove } from "./dom.js";
import { day, say } from "./text.js";

const seenAfter = 1000; // milliseconds a note must be in sight to be read

export class Thread {
  #player;
  #changed;
  #back;
  #key = null;
  #newest = "";
  #shown = ""; // in the header
  #bubbles = new Map();
  #days = new Map();
  #inSight = new Set();
  #timer = 0;
  #observer = new IntersectionObserver((entries) => this.#sighted(entries), { threshold: 0.6 });

  #head = element("header", { class: "bar" });
  #older = element("button", { class: "older quiet", type: "button" }, say("older"));
  #list = element("div", {
    class: "notes",
    role: "log",
    "aria-live": "off", // new notes are announced for all threads at once
    onkeydown: (event) => this.#keydown(event),
    onfocusin: (event) => this.#rest(event.target.closest(".note")),
  });
  #scroll = element("div", { class: "scroll" }, this.#older, this.#list);
  #jump = element("button", { class: "jump primary", type: "button", onclick: () => this.#toEnd() }, say("newer"), " ↓");
  element = element("section", { class: "thread" }, this.#head, this.#scroll, this.#jump);

  // changed is called when a note was marked; back and older when those
  // buttons were pressed.
  constructor(player, { changed, back, older }) {
    this.#player = player;
    this.#changed = changed;
    this.#back = back;
    this.#older.addEventListener("click", older);
    this.#scroll.addEventListener("scroll", () => {
      if (this.#atEnd()) this.#jump.hidden = true;
    }, { passive: true });
    addEventListener("focus", () => this.#lookAgain());
    document.addEventListener("visibilitychange", () => this.#lookAgain());
    player.onchange = (note) => this.#bubbles.get(note.id)?.show();
    player.onplay = (note) => this.#mark(note, "played");
    player.onend = (note) => player.playOn && this.#playAfter(note);
  }

  // show shows a thread as it stands; more says that older notes can be had.
  show(thread, more) {
    if (thread.key !== this.#key) this.#open(thread);
    const follow = this.#atEnd();
    this.#header(thread);
    this.#older.hidden = !more;
    const children = [];
    let last = "";
    for (const note of thread.notes) {
      const today = day(note);
      if (today !== last) children.push(this.#day((last = today)));
      children.push(this.#bubble(note).element);
    }
    arrange(this.#list, children);
    this.#rest(this.#list.querySelector(".note[tabindex='0']") ?? this.#list.querySelector(".note:last-of-type"));
    const newest = thread.notes.at(-1).id;
    if (follow) this.#toEnd();
    else if (newest !== this.#newest) this.#jump.hidden = false;
    this.#newest = newest;
  }

  focus() {
    this.#list.querySelector(".note[tabindex='0']")?.focus({ preventScroll: true });
  }

  #open(thread) {
    this.#key = thread.key;
    this.#days.clear();
    this.#inSight.clear();
    this.#observer.disconnect();
    this.#list.replaceChildren();
    this.#head.replaceChildren();
    this.#jump.hidden = true;
  }

  #header(thread) {
    const { caller } = thread;
    const shown = title(caller);
    if (this.#head.firstChild && this.#shown === shown) return;
    this.#shown = shown;
    this.#head.replaceChildren(
      element("button", { class: "back", type: "button", "aria-label": say("back"), onclick: this.#back }, icon("back")),
      avatar(thread.key, caller),
      element("div", { class: "bar-text" }, element("h2", {}, name(shown)), number(caller, shown)),
      this.#playOn(),
      callBack(caller, shown),
    );
  }

  #playOn() {
    const press = () => {
      this.#player.setPlayOn(!this.#player.playOn);
      attribute(button, "aria-pressed", this.#player.playOn);
    };
    const button = element("button", { class: "play-on", type: "button", title: say("play_on_hint"), onclick: press }, icon("next"), element("span", {}, say("play_on")));
    attribute(button, "aria-pressed", this.#player.playOn);
    return button;
  }

  // drop forgets a note that is gone.
  drop(note) {
    this.#player.stop(note);
    const shown = this.#bubbles.get(note.id);
    if (!shown) return;
    this.#observer.unobserve(shown.element);
    shown.element.remove();
    this.#bubbles.delete(note.id);
    this.#inSight.delete(note.id);
  }

  #bubble(note) {
    if (this.#bubbles.get(note.id)?.toggle && !note.media) this.drop(note); // its audio is no longer kept
    if (!this.#bubbles.has(note.id)) this.#bubbles.set(note.id, bubble(note, this.#player));
    const shown = this.#bubbles.get(note.id);
    shown.show();
    this.#observer.observe(shown.element);
    return shown;
  }

  #day(text) {
    if (!this.#days.has(text)) this.#days.set(text, element("h3", { class: "day" }, element("span", {}, text)));
    return this.#days.get(text);
  }

  // Notes are read when they were in sight for a moment, of a page in front.

  #sighted(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.#inSight.add(target.dataset.id);
      else this.#inSight.delete(target.dataset.id);
    }
    this.#lookAgain();
  }

  #lookAgain() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (document.visibilityState !== "visible" || !document.hasFocus()) return;
      for (const id of this.#inSight) this.#mark(this.#bubbles.get(id)?.note, "read");
    }, seenAfter);
  }

  #mark(note, what) {
    if (!note || note[what]) return;
    note[what] = note.read = true;
    note[`${what}_at`] ??= new Date().toISOString();
    mark(note, what);
    this.#changed();
  }

  #playAfter(note) {
    const shown = this.#articles().map((e) => this.#bubbles.get(e.dataset.id));
    const at = shown.findIndex((b) => b.note === note);
    const next = at >= 0 && shown.slice(at + 1).find((b) => b.toggle && !b.note.played);
    if (!next) return;
    next.toggle();
    next.element.scrollIntoView({ block: "nearest" });
  }

  // Keys: up and down between notes, Space and left and right within one.

  #keydown(event) {
    if (event.target.getAttribute("role") === "slider") return;
    const next = rove(this.#articles(), event.target.closest(".note"), event);
    if (!next) return;
    event.preventDefault();
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }

  // rest makes a note and what is in it the one that Tab reaches.
  #rest(article) {
    if (!article) return;
    for (const e of this.#articles()) {
      for (const part of [e, ...this.#bubbles.get(e.dataset.id).tabbable]) part.tabIndex = e === article ? 0 : -1;
    }
  }

  #articles() {
    return [...this.#list.querySelectorAll(".note")];
  }

  #atEnd() {
    return this.#scroll.scrollHeight - this.#scroll.scrollTop - this.#scroll.clientHeight < 80;
  }

  #toEnd() {
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
    this.#jump.hidden = true;
  }
}

// number is the caller's, where it is not their name already.
const number = (caller, shown) => (caller.display && caller.display !== shown ? element("p", {}, name(caller.display)) : "");

// callBack is a link that dials, where there is a number to dial (RFC 3966).
function callBack(caller, shown) {
  if (!/^\+?[0-9*#]+$/.test(caller.number ?? "")) return "";
  const href = `tel:${caller.number.replaceAll("#", "%23")}`;
  return element("a", { class: "call", href, "aria-label": say("call_back_who", shown) }, icon("phone"), element("span", {}, say("call_back")));
}
