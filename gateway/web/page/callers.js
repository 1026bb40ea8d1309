// The list of threads: who called.

import { arrange, element, icon, name, rove } from "./dom.js";
import { recently, say, total } from "./text.js";

// title is what a caller is called.
export const title = (caller) =>
  caller.private ? say("private") : caller.name || caller.display || say("unknown");

// avatar is a circle with a caller's initials, in a colour of their own.
export function avatar(key, caller) {
  const initials = caller.private ? "" : initialsOf(caller.name ?? "");
  const hue = [...key].reduce((sum, c) => (sum * 31 + c.codePointAt(0)) % 997, 7) % 8;
  return element("span", { class: `avatar hue-${hue}`, "aria-hidden": "true" }, initials || icon("person"));
}

const initialsOf = (text) =>
  text
    .split(/\s+/)
    .filter((word) => /^\p{L}/u.test(word))
    .slice(0, 2)
    .map((word) => [...word][0].toLocaleUpperCase())
    .join("");

// Callers shows threads as a list, and calls open with the key of the chosen one.
export class Callers {
  element = element("ul", { class: "callers", "aria-label": say("callers"), onkeydown: (event) => this.#key(event) });
  #rows = new Map();
  #open;

  constructor(open) {
    this.#open = open;
  }

  show(threads, selected) {
    const rows = threads.map((thread) => this.#row(thread, thread.key === selected));
    arrange(this.element, rows);
    const buttons = rows.map((row) => row.firstChild);
    const stop = buttons.find((b) => b === document.activeElement) ?? buttons.find((b) => b.ariaCurrent) ?? buttons[0];
    for (const b of buttons) b.tabIndex = b === stop ? 0 : -1;
  }

  focus() {
    this.element.querySelector("[tabindex='0']")?.focus();
  }

  #row(thread, selected) {
    if (!this.#rows.has(thread.key)) {
      const button = element("button", { class: "caller", type: "button", onclick: () => this.#open(thread.key) });
      this.#rows.set(thread.key, { row: element("li", {}, button), button, seen: "" });
    }
    const { row, button } = this.#rows.get(thread.key);
    button.ariaCurrent = selected ? "true" : null;
    const seen = JSON.stringify([thread.caller, thread.notes.at(-1), thread.unread, new Date().toDateString()]);
    if (this.#rows.get(thread.key).seen !== seen) {
      this.#rows.get(thread.key).seen = seen;
      button.replaceChildren(...contents(thread));
    }
    return row;
  }

  #key(event) {
    const buttons = [...this.element.querySelectorAll(".caller")];
    const next = rove(buttons, document.activeElement, event);
    if (!next) return;
    event.preventDefault();
    for (const b of buttons) b.tabIndex = b === next ? 0 : -1;
    next.focus();
  }
}

function contents(thread) {
  const last = thread.notes.at(-1);
  return [
    avatar(thread.key, thread.caller),
    element("span", { class: "caller-name" }, name(title(thread.caller))),
    element("time", { class: "caller-time", datetime: last.called_at }, recently(last)),
    element("span", { class: "caller-last" }, ...preview(last), thread.unread > 0 && badge(thread.unread)),
  ];
}

function preview(note) {
  const text = note.kind === "missed" ? say("missed_call") : `${say(note.kind)} · ${total(note)}`;
  return [icon(note.kind), element("span", { class: "cut-short" }, text)];
}

const badge = (count) =>
  element(
    "span",
    { class: "badge" },
    element("span", { "aria-hidden": "true" }, String(count)),
    element("span", { class: "only-heard" }, say("unread", count)),
  );
