// What the page says, and how it writes times, days and lengths.

const table = {
  en: {
    inbox: "Inbox",
    all_mailboxes: "All mailboxes",
    callers: "Callers",
    loading: "Loading your messages",
    failed: "Your messages could not be loaded.",
    retry: "Try again",
    offline: "Connection lost. Trying again …",
    empty: "No messages yet",
    empty_hint: "When a call goes unanswered, the caller’s voice message appears here.",
    choose: "Choose a caller to listen",
    private: "Private number",
    unknown: "Unknown caller",
    missed_call: "Missed call",
    voice: "Voice message",
    video: "Video message",
    back: "Back to the callers",
    call_back: "Call back",
    call_back_who: "Call {0} back",
    play: "Play",
    play_anyway: "Play anyway",
    pause: "Pause",
    position: "Position",
    position_value: "{0} of {1}",
    speed: "Speed {0}",
    play_on: "Play on",
    play_on_hint: "After a message, play the next new one",
    cut_off: "cut off",
    cut_off_hint: "The call was cut off: the end may be missing",
    unplayed: "not played yet",
    unread: "{0} new",
    older: "Show older messages",
    newer: "New message",
    new_note: "New: {0}",
    unplayable: "This message could not be played.",
    gone: "audio no longer kept",
    reason_missed: "No answer",
    reason_busy: "Line was busy",
    reason_unreachable: "Not reachable",
    reason_forwarded: "Forwarded",
    reason_declined: "Declined",
  },
  de: {
    inbox: "Posteingang",
    all_mailboxes: "Alle Postfächer",
    callers: "Anrufer",
    loading: "Ihre Nachrichten werden geladen",
    failed: "Ihre Nachrichten konnten nicht geladen werden.",
    retry: "Noch einmal versuchen",
    offline: "Verbindung unterbrochen. Neuer Versuch …",
    empty: "Noch keine Nachrichten",
    empty_hint: "Wird ein Anruf nicht angenommen, erscheint die Sprachnachricht hier.",
    choose: "Wählen Sie einen Anrufer aus",
    private: "Private Nummer",
    unknown: "Unbekannter Anrufer",
    missed_call: "Verpasster Anruf",
    voice: "Sprachnachricht",
    video: "Videonachricht",
    back: "Zurück zu den Anrufern",
    call_back: "Zurückrufen",
    call_back_who: "{0} zurückrufen",
    play: "Abspielen",
    play_anyway: "Trotzdem abspielen",
    pause: "Anhalten",
    position: "Stelle",
    position_value: "{0} von {1}",
    speed: "Tempo {0}",
    play_on: "Weiterspielen",
    play_on_hint: "Nach einer Nachricht die nächste neue abspielen",
    cut_off: "abgebrochen",
    cut_off_hint: "Der Anruf wurde unterbrochen: das Ende kann fehlen",
    unplayed: "noch nicht gehört",
    unread: "{0} neu",
    older: "Ältere Nachrichten zeigen",
    newer: "Neue Nachricht",
    new_note: "Neu: {0}",
    unplayable: "Diese Nachricht ließ sich nicht abspielen.",
    gone: "Aufnahme nicht mehr vorhanden",
    reason_missed: "Nicht angenommen",
    reason_busy: "Besetzt",
    reason_unreachable: "Nicht erreichbar",
    reason_forwarded: "Weitergeleitet",
    reason_declined: "Abgelehnt",
  },
};

// The mailbox's language, else the browser's, else English.
const wanted = [document.documentElement.lang, ...navigator.languages];
export const language = wanted.find((tag) => tag.slice(0, 2).toLowerCase() in table) || "en";
const words = table[language.slice(0, 2).toLowerCase()];

// say("position_value", "0:04", "0:23") is a text of the table with its gaps filled.
export function say(key, ...values) {
  return words[key].replace(/\{(\d)\}/g, (_, i) => values[i]);
}

// reason says why a call was not answered; "" when nobody knows.
export const reason = (note) => words[`reason_${note.reason}`] ?? "";

// length writes milliseconds as minutes and seconds.
export function length(ms) {
  const seconds = Math.floor(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

// total is the length of a note: what was said is never 0:00.
export const total = (note) => length(Math.max(1000, Math.round(note.duration_ms / 1000) * 1000));

// The browser knows which kind of English or German writes the time.
const locale = navigator.languages.find((tag) => tag.slice(0, 2) === language.slice(0, 2)) ?? language;
const format = (options) => new Intl.DateTimeFormat(locale, options);
const clock = format({ hour: "numeric", minute: "2-digit" });
const weekday = format({ weekday: "long" });
const date = format({ day: "numeric", month: "long" });
const dateOfYear = format({ day: "numeric", month: "long", year: "numeric" });
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

// daysAgo counts midnights, not hours.
function daysAgo(at) {
  const midnight = (d) => Date.UTC(d.getFullYear(), d.getMonth(), d.getDate());
  return Math.max(0, (midnight(new Date()) - midnight(at)) / 86_400_000);
}

const capital = (text) => text.charAt(0).toLocaleUpperCase(language) + text.slice(1);
