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
    read_at: "Seen {0}",
    played_at: "Played {0}",
    over: "There is nothing here any more",
    over_hint: "This address is no longer valid. Ask for a new one.",
    chat_get: "Get these messages in a chat",
    chat_arrive: "Also arriving in {0}",
    chat_intro: "Link a chat, and new messages arrive there as soon as the caller hangs up.",
    chat_link: "Link",
    chat_linked: "Linked",
    chat_unlink: "Unlink",
    chat_unlink_sure: "Really unlink?",
    chat_with: "Link {0}",
    chat_open: "Open {0}",
    chat_scan: "Scan this with your phone, then send the message that is ready there.",
    chat_tap: "Open the chat, then send the message that is ready there.",
    chat_qr: "QR code that opens the chat",
    chat_or: "or send this by hand",
    chat_copy: "Copy",
    chat_copied: "Copied",
    chat_left: "Good for {0}",
    chat_over: "This code is no longer good.",
    chat_again: "New code",
    chat_done: "{0} is linked",
    chat_done_hint: "New messages arrive there from now on.",
    chat_failed: "This did not work just now. Try again in a minute.",
    done: "Done",
    close: "Close",
    go_back: "Back",
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
    read_at: "Gesehen {0}",
    played_at: "Gehört {0}",
    over: "Hier ist nichts mehr",
    over_hint: "Diese Adresse gilt nicht mehr. Fragen Sie nach einer neuen.",
    chat_get: "Diese Nachrichten im Chat erhalten",
    chat_arrive: "Kommt auch in {0} an",
    chat_intro: "Verknüpfen Sie einen Chat: Neue Nachrichten kommen dort an, sobald der Anrufer auflegt.",
    chat_link: "Verknüpfen",
    chat_linked: "Verknüpft",
    chat_unlink: "Trennen",
    chat_unlink_sure: "Wirklich trennen?",
    chat_with: "{0} verknüpfen",
    chat_open: "{0} öffnen",
    chat_scan: "Mit dem Telefon scannen und die vorbereitete Nachricht dort absenden.",
    chat_tap: "Den Chat öffnen und die vorbereitete Nachricht dort absenden.",
    chat_qr: "QR-Code, der den Chat öffnet",
    chat_or: "oder dies selbst senden",
    chat_copy: "Kopieren",
    chat_copied: "Kopiert",
    chat_left: "Noch {0} gültig",
    chat_over: "Dieser Code gilt nicht mehr.",
    chat_again: "Neuer Code",
    chat_done: "{0} ist verknüpft",
    chat_done_hint: "Neue Nachrichten kommen ab jetzt dort an.",
    chat_failed: "Das hat gerade nicht geklappt. Versuchen Sie es in einer Minute noch einmal.",
    done: "Fertig",
    close: "Schließen",
    go_back: "Zurück",
    reason_missed: "Nicht angenommen",
    reason_busy: "Besetzt",
    reason_unreachable: "Nicht erreichbar",
    reason_forwarded: "Weitergeleitet",
    reason_declined: "Abgelehnt",
  },
};

// The mailbox's language, the browser's where it has none, else English.
const { lang } = document.documentElement;
const wanted = lang ? [lang] : navigator.languages;
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

// moment writes when something happened, with its day unless that is today.
export function moment(timestamp) {
  const at = new Date(timestamp);
  return (daysAgo(at) === 0 ? clock : moments).format(at);
}

// daysAgo counts midnights, not hours.
function daysAgo(at) {
  const midnight = (d) => Date.UTC(d.getFullYear(), d.getMonth(), d.getDate());
  return Math.max(0, (midnight(new Date()) - midnight(at)) / 86_400_000);
}

const capital = (text) => text.charAt(0).toLocaleUpperCase(language) + text.slice(1);
