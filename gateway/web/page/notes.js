// The notes this page knows, and how they fall into threads.

export class Notes {
  #byID = new Map();
  more = false; // older ones can be asked for
  none = "~"; // above every id

  // merge takes a page that the gateway sent, and returns what was not known.
  // What was marked here stays marked: the gateway may not have heard of it yet.
  merge(page) {
    const fresh = [];
    for (const note of page.notes) {
      const known = this.#byID.get(note.id);
      if (known) Object.assign(known, note, { read: known.read || note.read, played: known.played || note.played });
      else {
        this.#byID.set(note.id, note);
        fresh.push(note);
      }
    }
    return fresh;
  }

  // keep drops what is known and was not among the notes that the gateway has
  // now, from an id on, and returns it: it was erased.
  keep(ids, from) {
    const gone = [...this.#byID.values()].filter((note) => note.id >= from && !ids.has(note.id));
    for (const note of gone) this.#byID.delete(note.id);
    return gone;
  }

  get size() {
    return this.#byID.size;
  }

  // oldest is the id that the next page continues from; none without notes.
  get oldest() {
    return [...this.#byID.keys()].reduce((a, b) => (a < b ? a : b), this.none);
  }

  get unread() {
    return [...this.#byID.values()].filter((note) => !note.read).length;
  }

  // threads groups the notes by caller: the thread with the newest note first,
  // within it the oldest note first. Ids sort by time.
  threads() {
    const threads = new Map();
    const sorted = [...this.#byID.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    for (const note of sorted) {
      const key = threadOf(note);
      if (!threads.has(key)) threads.set(key, { key, caller: note.caller, notes: [], unread: 0 });
      const thread = threads.get(key);
      thread.notes.push(note);
      if (!note.read) thread.unread++;
      thread.caller = { ...note.caller, name: note.caller.name || thread.caller.name }; // the last name we heard
    }
    return [...threads.values()].sort((a, b) => (a.notes.at(-1).id < b.notes.at(-1).id ? 1 : -1));
  }
}

const threadOf = ({ caller }) => (caller.private ? "private" : `${caller.number ?? ""}/${caller.number ? "" : caller.name ?? ""}`);
