// One note plays at a time. All voices share one element: phones let a page
// start an element only when it was once started by a touch.

const speeds = [1, 1.5, 2];

export class Player {
  note = null; // what plays, or is paused
  failed = null; // the note that could not be played
  speed = keep("speed", 1);
  playOn = keep("play_on", false);
  onchange = () => {}; // told of a note whose picture is out of date
  onplay = () => {}; // told of a note that starts
  onend = () => {}; // told of a note that was played to its end

  #source;
  #voice = new Audio();
  #media = this.#voice; // what plays the note: the voice, or its own video element
  #positions = new Map(); // where paused notes were left, in seconds
  #frame = 0;

  // source says where a note's file is.
  constructor(source) {
    this.#source = source;
    this.#voice.preload = "none";
    this.#listen(this.#voice);
  }

  playing(note) {
    return this.note === note && !this.#media.paused;
  }

  // position is where the note stands, in milliseconds.
  position(note) {
    const seconds = this.note === note ? this.#media.currentTime : this.#positions.get(note.id) ?? 0;
    return Math.min(seconds * 1000, note.duration_ms);
  }

  toggle(note, video) {
    if (this.playing(note)) this.#media.pause();
    else this.play(note, video);
  }

  play(note, video) {
    if (this.note !== note || this.failed === note) this.#load(note, video);
    this.failed = null;
    this.#media.play().catch((error) => {
      if (error.name === "NotSupportedError") this.#fail(); // else another note was faster, or a touch is needed first
    });
  }

  // seek goes to a place in milliseconds; a note that does not play yet will
  // start there.
  seek(note, ms) {
    const seconds = Math.max(0, Math.min(ms, note.duration_ms)) / 1000;
    if (this.note === note) this.#media.currentTime = seconds;
    else this.#positions.set(note.id, seconds);
    this.onchange(note);
  }

  nextSpeed() {
    this.speed = keep("speed", 1, speeds[(speeds.indexOf(this.speed) + 1) % speeds.length]);
    this.#media.playbackRate = this.speed;
    if (this.note) this.onchange(this.note);
  }

  setPlayOn(on) {
    this.playOn = keep("play_on", false, on);
  }

  // stop leaves a note that is no longer there.
  stop(note) {
    this.#positions.delete(note.id);
    if (this.note !== note) return;
    cancelAnimationFrame(this.#frame);
    this.#media.pause();
    this.#media.removeAttribute("src");
    this.#media.load();
    this.note = null;
  }

  #load(note, video) {
    const before = this.note;
    if (before) {
      this.#positions.set(before.id, this.#media.ended ? 0 : this.#media.currentTime);
      this.#media.pause();
    }
    if (video && !video.onplay) this.#listen(video);
    this.note = note;
    this.#media = video ?? this.#voice;
    this.#media.src = this.#source(note);
    this.#media.currentTime = this.#positions.get(note.id) ?? 0; // before the file is there: where it will start
    this.#media.defaultPlaybackRate = this.#media.playbackRate = this.speed;
    if (before) this.onchange(before);
  }

  #listen(media) {
    const current = () => media === this.#media && this.note;
    media.onplay = () => current() && this.#draw();
    media.onplaying = () => current() && this.onplay(this.note); // it can be heard
    media.onpause = media.onseeked = () => current() && this.onchange(this.note);
    media.onerror = () => current() && this.#fail();
    media.onended = () => {
      if (!current()) return;
      const note = this.note;
      media.currentTime = 0;
      this.onchange(note);
      this.onend(note);
    };
  }

  // draw follows what plays, as smoothly as the eye wants it.
  #draw() {
    cancelAnimationFrame(this.#frame);
    this.onchange(this.note);
    if (!this.#media.paused) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #fail() {
    this.failed = this.note;
    this.#media.pause();
    this.onchange(this.note);
  }
}

// keep remembers a choice in this browser, where that is allowed.
function keep(name, otherwise, value) {
  try {
    if (value !== undefined) localStorage.setItem(`afterbeep.${name}`, JSON.stringify(value));
    return JSON.parse(localStorage.getItem(`afterbeep.${name}`)) ?? otherwise;
  } catch {
    return value ?? otherwise;
  }
}
