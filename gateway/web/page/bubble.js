// One note in a thread.

import { attribute, element, icon, modified } from "./dom.js";
import { language, length, reason, say, time, total } from "./text.js";
import { keys, sliderKeys, waveform } from "./waveform.js";

// bubble makes a note's element. show() brings it up to date.
export function bubble(note, player) {
  const shown = note.media ? playable(note, player) : line(note);
  const article = element("article", { class: `note note-${note.kind}`, tabindex: -1, "data-id": note.id }, shown.element);
  if (shown.key) article.addEventListener("keydown", shown.key);
  const show = () => {
    article.classList.toggle("is-unplayed", isUnplayed(note));
    attribute(article, "aria-label", describe(note));
    shown.show();
  };
  show();
  return { note, element: article, show, tabbable: shown.tabbable ?? [], toggle: shown.toggle };
}

const isUnplayed = (note) => note.media && note.kind !== "missed" && !note.played;

// describe says in one sentence what is in a bubble, for a screen reader.
function describe(note) {
  const what = note.kind === "missed" ? say("missed_call") : say(note.kind);
  const parts = [what, (note.media || note.gone) && total(note), note.gone && say("gone"), reason(note), time(note)];
  if (note.partial) parts.push(say("cut_off"));
  if (isUnplayed(note)) parts.push(say("unplayed"));
  return parts.filter(Boolean).join(", ");
}

// when says why and at what time.
const when = (note) =>
  element(
    "span",
    { class: "when" },
    reason(note) && element("span", { class: "why" }, reason(note)),
    element("time", { datetime: note.called_at }, time(note)),
  );

// missedLine says that a call was missed.
const missedLine = (...more) =>
  element("div", { class: "line" }, icon("missed"), element("span", { class: "what" }, say("missed_call")), ...more);

// goneLine says that there was something to play.
const goneLine = (note) =>
  element(
    "div",
    { class: "line" },
    icon(note.kind),
    element("span", { class: "what" }, `${say(note.kind === "missed" ? "missed_call" : note.kind)}, ${total(note)}`),
    element("span", { class: "gone" }, say("gone")),
    when(note),
  );

// line is a call that left nothing to play, or nothing any more.
const line = (note) => ({
  element: note.gone ? goneLine(note) : missedLine(when(note)),
  show() {},
});

// playable is a note with its button, waveform and speed.
function playable(note, player) {
  const video = note.kind === "video" && element("video", { class: "picture", playsinline: true, preload: "none" });
  const toggle = () => player.toggle(note, video || undefined);
  const button = element("button", { class: "play", type: "button", onclick: toggle }, icon("play"), icon("pause"));
  const wave = waveform(note, (ms) => player.seek(note, ms));
  const clock = element("span", { class: "clock" });
  const speed = element("button", { class: "speed", type: "button", onclick: () => player.nextSpeed() });
  const error = element("p", { class: "unplayable", role: "alert", hidden: true }, say("unplayable"));
  const cut = note.partial && element("span", { class: "cut", title: say("cut_off_hint") }, icon("cut"), say("cut_off"));

  return {
    element: element(
      "div",
      { class: "body" },
      note.kind === "missed" && missedLine(),
      video,
      element("div", { class: "player" }, button, wave.element, speed),
      element("div", { class: "foot" }, clock, element("span", { class: "dot", "aria-hidden": "true" }), cut, when(note)),
      error,
    ),
    tabbable: [button, wave.element, speed],
    toggle,

    show() {
      const at = player.position(note);
      const playing = player.playing(note);
      const label = playing ? say("pause") : say(note.kind === "missed" ? "play_anyway" : "play");
      const article = button.closest(".note"); // none while it is made
      article?.classList.toggle("is-playing", playing);
      article?.classList.toggle("is-current", player.note === note);
      attribute(button, "aria-label", label);
      wave.show(at);
      clock.textContent = at > 0 || playing ? `${length(at)} / ${total(note)}` : total(note);
      speed.textContent = `${player.speed.toLocaleString(language)}×`;
      attribute(speed, "aria-label", say("speed", speed.textContent));
      error.hidden = player.failed !== note;
    },

    key(event) {
      if (modified(event)) return;
      const move = (event.target === wave.element ? sliderKeys : keys)[event.key];
      if (move) player.seek(note, move(player.position(note), note.duration_ms));
      else if (event.key === " " && !(event.target instanceof HTMLButtonElement)) toggle();
      else return;
      event.preventDefault();
    },
  };
}
