// Making elements. Text from outside only ever becomes a text node.

// element("button", {class: "play", onclick: f}, child, "text") makes a button.
// Properties that hold functions become listeners; null, undefined and false leave out.
export function element(name, properties = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value == null || value === false) continue;
    if (typeof value === "function") e.addEventListener(key.slice(2), value);
    else e.setAttribute(key, value === true ? "" : value);
  }
  e.append(...children.filter((child) => child != null && child !== false));
  return e;
}

// attribute sets one only when it changes, so that a screen reader is not told
// sixty times a second.
export function attribute(e, key, value) {
  if (e.getAttribute(key) !== String(value)) e.setAttribute(key, value);
}

// name isolates a text whose direction is not known, like a caller's name.
export const name = (text) => element("bdi", {}, text);

// Pictures in a square of 24: what is filled, and what is drawn as a line.
const pictures = {
  play: ["M8 5.5v13a.7.7 0 0 0 1.07.59l10-6.5a.7.7 0 0 0 0-1.18l-10-6.5A.7.7 0 0 0 8 5.5Z", ""],
  pause: ["", "M9 6.5v11M15 6.5v11"],
  phone: ["M4.5 4h3.2a1 1 0 0 1 .94.66l1.1 3a1 1 0 0 1-.3 1.1L7.9 10a13 13 0 0 0 6.1 6.1l1.24-1.54a1 1 0 0 1 1.1-.3l3 1.1a1 1 0 0 1 .66.94v3.2A1.5 1.5 0 0 1 18.5 21 15.5 15.5 0 0 1 3 5.5 1.5 1.5 0 0 1 4.5 4Z", ""],
  missed: ["M4.5 6h3a1 1 0 0 1 .94.66l1 2.8a1 1 0 0 1-.3 1.1l-1.4 1.2a12 12 0 0 0 4.5 4.5l1.2-1.4a1 1 0 0 1 1.1-.3l2.8 1a1 1 0 0 1 .66.94v3A1.5 1.5 0 0 1 16.5 21 13.5 13.5 0 0 1 3 7.5 1.5 1.5 0 0 1 4.5 6Z", "M14.5 3.5l6 6M20.5 3.5l-6 6"],
  voice: ["M12 3a3 3 0 0 1 3 3v5.5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3Z", "M5.8 11.5a6.2 6.2 0 0 0 12.4 0M12 17.7V21"],
  video: ["M5 6h9a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2V8a2 2 0 0 1 2-2Zm12.5 4.5L21 8v8l-3.5-2.5Z", ""],
  person: ["M12 4a4.2 4.2 0 1 1 0 8.4A4.2 4.2 0 0 1 12 4Zm0 10.2c4.3 0 7.8 2.2 7.8 4.9v.9H4.2v-.9c0-2.7 3.5-4.9 7.8-4.9Z", ""],
  back: ["", "M15 5l-7 7 7 7"],
  cut: ["", "M4 10v4M8 7v10M12 9.5v5M17 4v2.5M17 10.7v2.6M17 17.5V20"],
  next: ["M14 11v8.5l6.5-4.25Z", "M4 6.5h14M4 12h6M4 17.5h6"],
  check: ["", "M6 12.5l4 4 8-9"],
  checks: ["", "M2.5 12.5l4 4 8-9M11 16l.8.5 8-9"],
  chat: ["M5.5 4.5h13A2.5 2.5 0 0 1 21 7v7.5a2.5 2.5 0 0 1-2.5 2.5H12l-4.6 3.6a.5.5 0 0 1-.9-.4V17h-1A2.5 2.5 0 0 1 3 14.5V7a2.5 2.5 0 0 1 2.5-2.5Z", ""],
  telegram: ["M20.6 4.3 3.4 11a.6.6 0 0 0 0 1.1l4.2 1.5 1.7 5.2c.2.5.8.6 1.1.2l2.3-2.5 4.3 3.2c.4.3.9.1 1-.4l3-14.2a.6.6 0 0 0-.4-.8ZM9.6 14.2l7.6-6.4-6 7.4-.3 2.4Z", ""],
  whatsapp: ["M12 3a8.9 8.9 0 0 0-7.6 13.5L3.2 21l4.6-1.2A8.9 8.9 0 1 0 12 3Zm-3 4.6c.3 0 .6 0 .8.6l.7 1.6c.1.3 0 .5-.5 1.1-.2.2-.2.4 0 .7a6.3 6.3 0 0 0 2.9 2.5c.3.2.5.1.7-.1l.8-1c.2-.3.5-.2.7-.1l1.7.8c.4.2.5.4.4.9-.2 1-1.2 1.8-2.2 1.8-2.3 0-6.9-3.2-7.1-6.5 0-1.2.7-2 1.1-2.3Z", ""],
  next_step: ["", "M9 5l7 7-7 7"],
  close: ["", "M6 6l12 12M18 6L6 18"],
  inbox: ["", "M4 10.5v3M8 7.5v9M12 4v16M16 7v10M20 10.5v3"],
};

// icon is a picture that says nothing to a screen reader.
export function icon(which) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon icon-${which}`);
  svg.setAttribute("aria-hidden", "true");
  pictures[which].forEach((d, i) => {
    const path = document.createElementNS(svg.namespaceURI, "path");
    path.setAttribute("d", d);
    path.setAttribute("class", i === 0 ? "filled" : "drawn");
    svg.append(path);
  });
  return svg;
}

// arrange makes parent's children be these elements in this order, and moves
// none that is in its place: moving would take the focus away.
export function arrange(parent, children) {
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let next = parent.firstChild;
  for (const child of children) {
    if (child === next) next = next.nextSibling;
    else parent.insertBefore(child, next);
  }
}

// rove says which element of a list an arrow key leads to; only the one that the
// focus rests on can be reached by Tab (WAI-ARIA APG, roving tabindex).
export function rove(items, from, event) {
  const step = { ArrowDown: 1, ArrowUp: -1, Home: -items.length, End: items.length }[event.key];
  if (!step || modified(event) || items.length === 0) return null;
  return items[Math.max(0, Math.min(items.length - 1, items.indexOf(from) + step))];
}

// modified keys are the browser's: Alt and left is its way back.
export const modified = (event) => event.altKey || event.ctrlKey || event.metaKey;
