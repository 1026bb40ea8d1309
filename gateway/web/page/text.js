// What the page says, in the mailbox's language, and how it writes times, days and lengths.

// The gateway wrote both into the page.
export const language = document.documentElement.lang;
const words = JSON.parse(document.getElementById("words").textContent);

// say("position_value", "0:04", "0:23") is a text with its gaps filled.
export function say(key, ...values) {
  return words[key].replace(/\{(\d)\}/g, (_, i) => values[i]);
}

// reason says why a call was not answered; "" when nobody knows.
export const reason = (note) => words[`reason_${note.reason}`] ?? "";

// trust says what the network knows of the caller's number; "" for nothing.
export const trust = (note) => words[`trust_${note.caller.trust}`] ?? "";

// length writes milliseconds as minutes and seconds.
export function length(ms) {
  const seconds = Math.floor(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

// total is the length of a note: what was said is never 0:00.
export const total = (note) => length(Math.max(1000, Math.round(note.duration_ms / 1000) * 1000));

// The browser knows which kind of English or German its reader writes.
const locale = navigator.languages.find((tag) => tag.slice(0, 2) === language.slice(0, 2)) ?? language;
const format = (options) => new Intl.DateTimeFormat(locale, options);
const clock = format({ hour: "numeric", minute: "2-digit" });
const weekday = format({ weekday: "long" });
const date = format({ day: "numeric", month: "long" });
const dateOfYear = format({ day: "numeric", month: "long", year: "numeric" });
const moments = format({ day: "numeric", month: "short", hour: "numeric", minute: "2-digit" });
const short = format({ day: "2-digit", month: "2-digit", year: "2-digit" });
const near = new Intl.RelativeTimeFormat(language, { numeric: "auto" });

export const time = (note) => clock.format(new Date(note.called_at));

// day writes the day of a note: "Today", "Yesterday", "Monday", "3 March".
export function day(note) {
  const at = new Date(note.called_at);
  const ago = daysAgo(at);
  if (ago <= 1) return capital(near.format(-ago, "day"));
  if (ago < 7) return weekday.format(at);
  return (at.getFullYear() === new Date().getFullYear() ? date : dateOfYear).format(at);
}

// recently writes when a note came in as few letters as will do.
export function recently(note) {
  const ago = daysAgo(new Date(note.called_at));
  if (ago === 0) return time(note);
  return ago < 7 ? day(note) : short.format(new Date(note.called_at));
}

// moment writes when something happened to a note, with the day unless that is
// the note's own, under which it stands.
export function moment(timestamp, note) {
  const at = new Date(timestamp);
  return (at.toDateString() === new Date(note.called_at).toDateString() ? clock : moments).format(at);
}

// daysAgo counts midnights, not hours.
function daysAgo(at) {
  const midnight = (d) => Date.UTC(d.getFullYear(), d.getMonth(), d.getDate());
  return Math.max(0, (midnight(new Date()) - midnight(at)) / 86_400_000);
}

const capital = (text) => text.charAt(0).toLocaleUpperCase(language) + text.slice(1);
