// What plays one note: its button, waveform, speed and clock.

import { attribute, element, icon, modified } from "./dom.js";
import { language, length, say, total } from "./text.js";
import { keys, sliderKeys, waveform } from "./waveform.js";

// Controls play a note with a player; video is the note's own element, if it has
// one. The clock and the error stand where the page wants them.
export class Controls {
  #note;
  #player;
  #video;
  #button = element("button", { class: "play", type: "button", onclick: () => this.toggle() }, icon("play"), icon("pause"));
  #wave;
  #speed = element("button", { class: "speed", type: "button", onclick: () => this.#player.nextSpeed() });
  clock = element("span", { class: "clock" });
  error = element("p", { class: "unplayable", role: "alert", hidden: true }, say("unplayable"));

  constructor(note, player, video) {
    this.#note = note;
    this.#player = player;
    this.#video = video;
    this.#wave = waveform(note, (ms) => player.seek(note, ms));
    this.element = element("div", { class: "player" }, this.#button, this.#wave.element, this.#speed);
    this.tabbable = [this.#button, this.#wave.element, this.#speed];
  }

  toggle() {
    this.#player.toggle(this.#note, this.#video);
  }

  // show brings them up to date, and what they stand in.
  show() {
    const note = this.#note;
    const player = this.#player;
    const at = player.position(note);
    const playing = player.playing(note);
    const article = this.element.closest(".note"); // none while it is made
    article?.classList.toggle("is-playing", playing);
    article?.classList.toggle("is-current", player.note === note);
    attribute(this.#button, "aria-label", playing ? say("pause") : say(note.kind === "missed" ? "play_anyway" : "play"));
    this.#wave.show(at);
    this.clock.textContent = at > 0 || playing ? `${length(at)} / ${total(note)}` : total(note);
    this.#speed.textContent = `${player.speed.toLocaleString(language)}×`;
    attribute(this.#speed, "aria-label", say("speed", this.#speed.textContent));
    this.error.hidden = player.failed !== note;
  }

  // key plays, pauses and moves.
  key(event) {
    if (modified(event)) return;
    const move = (event.target === this.#wave.element ? sliderKeys : keys)[event.key];
    if (move) this.#player.seek(this.#note, move(this.#player.position(this.#note), this.#note.duration_ms));
    else if (event.key === " " && !(event.target instanceof HTMLButtonElement)) this.toggle();
    else return;
    event.preventDefault();
  }
}
