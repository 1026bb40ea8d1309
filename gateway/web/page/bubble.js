// One note in a thread.

import { Controls } from "./controls.js";
import { attribute, element, icon } from "./dom.js";
import { moment, reason, say, time, total, trust } from "./text.js";

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
  const parts = [what, (note.media || note.gone) && total(note), note.gone && say("gone"), reason(note), trust(note), time(note)];
  if (note.partial) parts.push(say("cut_off"));
  if (isUnplayed(note)) parts.push(say("unplayed"));
  return parts.filter(Boolean).join(", ");
}

// when says how far the caller's number is to be trusted, why, and at what time.
const when = (note) =>
  element(
    "span",
    { class: "when" },
    trust(note) && element("span", { class: `why trust-${note.caller.trust}` }, trust(note)),
    reason(note) && element("span", { class: "why" }, reason(note)),
    element("time", { datetime: note.called_at }, time(note)),
  );

// missedLine says that a call was missed.
const missedLine = (...more) =>
  element("div", { class: "line" }, icon("missed"), element("span", { class: "what" }, say("missed_call")), ...more);

// goneLine says that there was something to play.
const goneLine = (note, mark) =>
  element(
    "div",
    { class: "line" },
    icon(note.kind),
    element("span", { class: "what" }, `${say(note.kind === "missed" ? "missed_call" : note.kind)}, ${total(note)}`),
    element("span", { class: "gone" }, say("gone")),
    when(note),
    mark,
  );

// line is a call that left nothing to play, or nothing any more.
function line(note) {
  const mark = seen(note);
  return { element: note.gone ? goneLine(note, mark.element) : missedLine(when(note), mark.element), show: mark.show };
}

// playable is a note with what plays it.
function playable(note, player) {
  const video = note.kind === "video" && element("video", { class: "picture", playsinline: true, preload: "none" });
  const controls = new Controls(note, player, video || undefined);
  const cut = note.partial && element("span", { class: "cut", title: say("cut_off_hint") }, icon("cut"), say("cut_off"));
  const mark = seen(note);
  return {
    element: element(
      "div",
      { class: "body" },
      note.kind === "missed" && missedLine(),
      video,
      controls.element,
      element(
        "div",
        { class: "foot" },
        element("span", { class: "facts" }, controls.clock, element("span", { class: "dot", "aria-hidden": "true" }), cut),
        when(note),
        mark.element,
      ),
      controls.error,
    ),
    tabbable: controls.tabbable,
    toggle: () => controls.toggle(),
    show() {
      controls.show();
      mark.show();
    },
    key: (event) => controls.key(event),
  };
}

// seen is what the recipient did with a note, and when: here, or in a chat that
// tells of it.
function seen(note) {
  const shown = element("span", { class: "seen" });
  let last = "";
  return {
    element: shown,
    show() {
      const [what, picture, at] = note.played ? ["played_at", "checks", note.played_at] : ["read_at", "check", note.read_at];
      const text = at ? say(what, moment(at, note)) : "";
      if (text === last) return;
      last = text;
      shown.classList.toggle("is-played", note.played);
      shown.replaceChildren(...(text ? [icon(picture), text] : []));
    },
  };
}
