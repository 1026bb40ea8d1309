// The page of one note, which a signed link opens. Without this script the
// browser's own controls play it.

import { Controls } from "./controls.js";
import { element } from "./dom.js";
import { Player } from "./player.js";

const letter = document.querySelector(".letter");
const note = JSON.parse(letter.dataset.note);
const native = letter.querySelector("audio, video");

function played() {
  if (note.played) return;
  note.played = true;
  fetch(`${location.pathname}/played${location.search}`, { method: "POST", keepalive: true }).catch(() => {});
}

if (native instanceof HTMLVideoElement) native.addEventListener("playing", played, { once: true });
else listen();

// listen puts the inbox's player in place of the browser's.
function listen() {
  const sources = [...native.querySelectorAll("source")];
  const source = sources.find((one) => native.canPlayType(one.type)) ?? sources[0];
  const player = new Player(() => source.src);
  const controls = new Controls(note, player);
  const show = () => {
    box.classList.toggle("is-unplayed", !note.played);
    controls.show();
  };
  const box = element(
    "div",
    { class: "note note-voice", onkeydown: (event) => controls.key(event) },
    controls.element,
    element("div", { class: "foot" }, element("span", { class: "facts" }, controls.clock, element("span", { class: "dot", "aria-hidden": "true" }))),
    controls.error,
  );
  for (const part of controls.tabbable) part.tabIndex = 0;
  player.onchange = show;
  player.onplay = () => {
    played();
    show();
  };
  native.replaceWith(box);
  show();
}
