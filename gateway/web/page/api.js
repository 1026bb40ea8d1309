// Talking to the gateway. Everything lies below this page's own address, which
// holds the secret: it is not repeated anywhere.

const base = location.pathname;

// gone is the message of the error that says that the address opens nothing.
export const gone = "status 404";

async function answer(path, options) {
  const response = await fetch(base + path, options);
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response;
}

// page reads one page of notes, newest first: those older than the id before.
export const page = async (before = "") => (await answer(`/notes?before=${before}`)).json();

// mark keeps that a note was read or played.
export const mark = (note, what) =>
  fetch(`${base}/notes/${note.id}/${what}`, { method: "POST", keepalive: true }).catch(() => {});

// mediaURL is where a note's file is: as MP3 for browsers that know no Opus,
// where the gateway has that.
const form = new Audio().canPlayType("audio/ogg; codecs=opus") ? "" : "?as=mp3";
export const mediaURL = (note) => `${base}/notes/${note.id}/media${note.kind === "video" ? "" : form}`;

// chats lists where the mailbox can link a chat, and whether it has.
export const chats = async () => (await answer("/chats")).json();

// code asks for what links a chat; left says how many milliseconds it is good
// for, by the gateway's clock.
export async function code(channel) {
  const response = await answer(`/chats/${encodeURIComponent(channel)}/code`, { method: "POST" });
  const code = await response.json();
  return { ...code, left: Date.parse(code.expires) - Date.parse(response.headers.get("Date")) };
}

export const unlink = (channel) => answer(`/chats/${encodeURIComponent(channel)}`, { method: "DELETE" });

const silence = 50_000; // longer than two heartbeats: the connection is dead

// watch calls changed whenever notes may have changed, also after each gap in
// the connection, and connected with whether there is one.
export function watch(changed, connected) {
  let source, timer, failures = 0;

  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(lost, silence);
  };
  const lost = () => {
    source.close();
    clearTimeout(timer);
    connected(false);
    failures++;
    timer = setTimeout(connect, Math.min(30_000, 500 * 2 ** failures) * (0.5 + Math.random() / 2));
  };
  const connect = () => {
    clearTimeout(timer);
    source?.close();
    source = new EventSource(`${base}/events`);
    source.onopen = () => {
      failures = 0;
      connected(true);
      alive();
      changed();
    };
    source.onerror = lost;
    source.addEventListener("beat", alive);
    source.addEventListener("note", () => {
      alive();
      changed();
    });
  };

  connect();
  addEventListener("online", connect);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible" && source.readyState !== EventSource.OPEN) connect();
  });
}
