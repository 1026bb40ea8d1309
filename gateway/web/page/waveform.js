// The waveform: a picture of the note that is also its slider.

import { attribute, element } from "./dom.js";
import { length, say, total } from "./text.js";

const height = 32;
const pitch = 4; // from one bar to the next

// waveform draws a note's bars; seek is called with a place in milliseconds.
export function waveform(note, seek) {
  const levels = note.waveform.length ? note.waveform : new Array(64).fill(0);
  const bars = levels.map((level, i) => {
    const half = 1 + (level / 255) * (height / 2 - 3);
    return `M${i * pitch + 2} ${height / 2 - half}v${2 * half}`;
  });
  const slider = element(
    "div",
    { class: "waveform", role: "slider", tabindex: -1, "aria-label": say("position"), "aria-valuemin": 0, "aria-valuemax": Math.round(note.duration_ms / 1000) },
    picture(bars.join(""), levels.length, "bars"),
    picture(bars.join(""), levels.length, "bars bars-played"),
  );

  const at = (event) => {
    const box = slider.getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * note.duration_ms;
  };
  slider.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    slider.setPointerCapture(event.pointerId);
    seek(at(event));
  });
  slider.addEventListener("pointermove", (event) => {
    if (slider.hasPointerCapture(event.pointerId)) seek(at(event));
  });

  return {
    element: slider,
    // show moves the slider to a place in milliseconds.
    show(ms) {
      slider.style.setProperty("--played", note.duration_ms ? ms / note.duration_ms : 0);
      attribute(slider, "aria-valuenow", Math.round(ms / 1000));
      attribute(slider, "aria-valuetext", say("position_value", length(ms), total(note)));
    },
  };
}

// keys say where a key leads from a place in a note of some length, in
// milliseconds; sliderKeys are those of a slider (WAI-ARIA APG).
const step = (all) => Math.min(5000, Math.max(1000, all / 20));
export const keys = {
  ArrowLeft: (at, all) => at - step(all),
  ArrowRight: (at, all) => at + step(all),
};
export const sliderKeys = {
  ...keys,
  ArrowDown: keys.ArrowLeft,
  ArrowUp: keys.ArrowRight,
  PageDown: (at, all) => at - all / 5,
  PageUp: (at, all) => at + all / 5,
  Home: () => 0,
  End: (at, all) => all,
};

function picture(d, count, classes) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${count * pitch} ${height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", classes);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", d);
  svg.append(path);
  return svg;
}
