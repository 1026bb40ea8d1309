// Linking a chat to the mailbox: new messages arrive there, too.

import * as api from "./api.js";
import { element, icon } from "./dom.js";
import { length, say } from "./text.js";

const again = 2; // seconds between two looks at whether the chat is linked
const known = { telegram: "Telegram", whatsapp: "WhatsApp", matrix: "Matrix" };
const nameOf = (chat) => known[chat.type] ?? chat.channel;

export class Chats {
  #chats = [];
  #timer = 0; // while a code is shown
  #title = element("h2", { id: "chats-title", tabindex: -1 });
  #back = element("button", { class: "back", type: "button", "aria-label": say("go_back"), onclick: () => this.#list() }, icon("back"));
  #body = element("div", { class: "chats-body" });
  #dialog = element(
    "dialog",
    { class: "chats", "aria-labelledby": "chats-title", onclose: () => this.#rest(), onclick: (event) => event.target === this.#dialog && this.#dialog.close() },
    element("header", { class: "chats-head" }, this.#back, this.#title, element("button", { class: "back", type: "button", "aria-label": say("close"), onclick: () => this.#dialog.close() }, icon("close"))),
    this.#body,
  );
  #label = element("span");
  #opener = element("button", { class: "chats-open", type: "button", "aria-haspopup": "dialog", onclick: () => this.#open() }, icon("chat"), this.#label, icon("next_step"));
  element = element("footer", { class: "chats-foot", hidden: true }, this.#opener, this.#dialog);

  constructor() {
    document.addEventListener("visibilitychange", () => this.#dialog.open && this.look()); // back from the chat
  }

  // look asks which chats there are, and which of them are linked.
  async look() {
    try {
      this.#chats = await api.chats();
    } catch {
      return; // what is known stays until the next look
    }
    const linked = this.#chats.filter((chat) => chat.linked).map(nameOf);
    this.#label.textContent = linked.length ? say("chat_arrive", linked.join(", ")) : say("chat_get");
    this.element.classList.toggle("is-linked", linked.length > 0);
    this.element.hidden = this.#chats.length === 0;
  }

  async #open() {
    this.#list();
    this.#dialog.showModal();
    const before = JSON.stringify(this.#chats);
    await this.look();
    if (this.#back.hidden && JSON.stringify(this.#chats) !== before) this.#list();
  }

  // put shows one step; only the steps behind the list lead back to it.
  #put(title, back, ...children) {
    this.#rest();
    this.#title.textContent = title;
    this.#back.hidden = !back;
    this.#body.replaceChildren(...children);
    if (this.#dialog.open) this.#title.focus();
  }

  #rest() {
    clearInterval(this.#timer);
  }

  #list() {
    const rows = this.#chats.map((chat) => element("li", {}, badge(chat), label(chat), chat.linked ? this.#unlink(chat) : this.#link(chat)));
    this.#put(say("chat_get"), false, element("p", { class: "chats-intro" }, say("chat_intro")), element("ul", { class: "chats-list" }, ...rows));
  }

  #link(chat) {
    return element("button", { class: "primary", type: "button", "aria-label": say("chat_with", nameOf(chat)), onclick: () => this.#begin(chat) }, say("chat_link"));
  }

  // unlink asks once more before it does.
  #unlink(chat) {
    const press = async () => {
      if (button.classList.replace("quiet", "sure")) return (button.textContent = say("chat_unlink_sure"));
      try {
        await api.unlink(chat.channel);
        await this.look();
        this.#list();
      } catch {
        this.#failed(chat);
      }
    };
    const button = element("button", { class: "quiet", type: "button", onclick: press }, say("chat_unlink"));
    return button;
  }

  async #begin(chat) {
    try {
      this.#code(chat, await api.code(chat.channel));
    } catch {
      this.#failed(chat);
    }
  }

  #failed(chat) {
    this.#put(nameOf(chat), true, element("p", { class: "chats-over", role: "alert" }, say("chat_failed")));
  }

  // code shows what links a chat, until it is linked or the code's time is over.
  #code(chat, code) {
    const until = performance.now() + code.left;
    const left = element("p", { class: "chats-left" });
    const ready = code.link?.includes(code.code); // not every service takes the text from a link
    const form = code.link ? [
      code.qr && element("div", { class: "chats-scan" }, drawing(code.qr), element("p", {}, say(ready ? "chat_scan" : "chat_scan_open"))),
      element("p", { class: "chats-tap" }, say(ready ? "chat_tap" : "chat_tap_open")),
      element("a", { class: "primary chats-go", href: code.link, target: "_blank", rel: "noopener noreferrer" }, badge(chat), say("chat_open", nameOf(chat))),
    ] : [];
    this.#put(
      say("chat_with", nameOf(chat)), true,
      ...form.filter(Boolean),
      element("p", { class: "chats-or" }, element("span", {}, say(ready || !code.link ? "chat_or" : "chat_then"))),
      byHand(code.say),
      left,
    );
    let seconds = 0;
    const tick = () => {
      const ms = until - performance.now();
      if (ms <= 0) return this.#over(chat);
      left.textContent = say("chat_left", length(ms));
      if (seconds++ % again === 0 && seconds > 1) this.#waitFor(chat);
    };
    tick();
    this.#timer = setInterval(tick, 1000);
  }

  async #waitFor(chat) {
    const timer = this.#timer;
    await this.look();
    if (timer === this.#timer && this.#dialog.open && this.#chats.find((c) => c.channel === chat.channel)?.linked) this.#done(chat);
  }

  #over(chat) {
    this.#put(
      say("chat_with", nameOf(chat)), true,
      element("p", { class: "chats-over", role: "alert" }, say("chat_over")),
      element("button", { class: "primary chats-go", type: "button", onclick: () => this.#begin(chat) }, say("chat_again")),
    );
  }

  #done(chat) {
    this.#put(
      say("chat_done", nameOf(chat)), true,
      element("div", { class: "chats-done", role: "status" }, icon("check"), element("p", {}, say("chat_done_hint"))),
      element("button", { class: "primary chats-go", type: "button", onclick: () => this.#dialog.close() }, say("done")),
    );
  }
}

const badge = (chat) => element("span", { class: `brand brand-${chat.type ?? "chat"}`, "aria-hidden": "true" }, icon(chat.type in known && chat.type !== "matrix" ? chat.type : "chat"));

// label names a channel, as the gateway's configuration does where that says more.
const label = (chat) =>
  element(
    "span",
    { class: "chats-name" },
    element("span", { class: "cut-short" }, nameOf(chat)),
    chat.linked ? element("span", { class: "chats-linked" }, icon("check"), say("chat_linked")) : nameOf(chat) !== chat.channel && element("span", { class: "cut-short chats-channel" }, chat.channel),
  );

// byHand shows a text to be sent, which a press copies where the browser lets it.
function byHand(text) {
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = say("chat_copied");
  };
  const button = navigator.clipboard && element("button", { class: "quiet", type: "button", onclick: copy }, say("chat_copy"));
  return element("div", { class: "chats-say" }, element("code", {}, text), button);
}

// drawing is a QR code with its quiet zone.
function drawing({ size, path }) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `-4 -4 ${size + 8} ${size + 8}`);
  svg.setAttribute("class", "qr");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", say("chat_qr"));
  const modules = document.createElementNS(svg.namespaceURI, "path");
  modules.setAttribute("d", path);
  svg.append(modules);
  return svg;
}
