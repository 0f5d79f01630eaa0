// The view of a live call: its text grows as it is spoken. A text that is not final yet is lighter, and stands below the others.

import { followLive, read } from "./api.js";
import { makeRoomFor, voiceOf } from "./dialogue.js";
import { byId, element, named, write } from "./elements.js";
import { eventsOfOwn, isSpeaking, ownCall, stopSpeaking, whenSpeaking } from "./microphone.js";
import { chipped } from "./redaction.js";
import { clock, nameOfLive } from "./words.js";

const AT_END_PIXELS = 80;

let speakers = [];
let utterances = []; // in the order of their starts: {start, channel, item}
let partials = new Map(); // channel → {utterance, item}
let stays = true; // whether the view stays at the newest text, because the reader has not scrolled up
let heard = 0; // seconds of the call that are known
let since = 0; // when that was

// Follows a live call until it is over, and returns whether there is a recording of it. Returns null if there is no such live
// call. If it had ended before, nothing is shown, because its transcription says more.
export async function showLive(id, signal, focus) {
  const view = await read(`v1/live/${encodeURIComponent(id)}`, signal).catch((error) => {
    if (error.status === 404 || error.status === 422) return null;
    throw error;
  });
  if (view === null) return null;
  if (view.status === "ended") return { isRecorded: true, hadEnded: true };
  introduce(view, focus);
  const ticking = setInterval(showClock, 500);
  try {
    return { isRecorded: await isRecorded(id, signal), hadEnded: false };
  } finally {
    clearInterval(ticking);
    if (!signal.aborted) showEnd();
  }
}

// The text stays until there is a transcript.
function showEnd() {
  if (document.activeElement === byId("live-stop")) byId("job-title").focus();
  byId("live").classList.add("over");
  hidePartials();
  byId("live-stop").hidden = byId("live-newest").hidden = true;
  write(byId("live-state"), "Ended");
}

export function hideLive() {
  byId("live").hidden = true;
  byId("live-turns").replaceChildren();
  hidePartials();
}

async function isRecorded(id, signal) {
  const isOwn = isSpeaking() && ownCall().id === id;
  for await (const event of isOwn ? eventsOfOwn(signal) : followLive(id, signal)) {
    if (signal.aborted) break;
    noteTrouble(event);
    if (event === null) continue;
    tell(event);
    if (event.type === "stopped") return event.id !== null;
  }
  return true; // if the microphone's connection was lost, its recording is there
}

function introduce(view, focus) {
  const name = nameOfLive(view);
  document.title = `${name} – Callscribe`;
  byId("job-title").replaceChildren(named(name));
  if (focus) byId("job-title").focus();
  speakers = view.channels.map(({ label }) => label);
  utterances = [];
  stays = true;
  heard = view.seconds;
  since = performance.now();
  byId("live-turns").replaceChildren();
  hidePartials();
  makeRoomFor(speakers, byId("live"));
  byId("live-speakers").replaceChildren(...view.channels.map(({ label }) => element("li", { className: voiceOf(label, speakers) },
    element("span", { className: "dot" }), named(label), element("span", { className: "unseen" }))));
  write(byId("live-state"), view.status === "interrupted" ? "Interrupted" : "Live");
  write(byId("live-note"), "");
  write(byId("live-trouble"), "");
  byId("live").classList.remove("over");
  byId("live").classList.toggle("interrupted", view.status === "interrupted");
  byId("live-stop").hidden = !isSpeaking() || ownCall().id !== view.id;
  byId("live").hidden = false;
  showClock();
}

// Says that the call cannot be followed now, until there is an event again. Null says that the service cannot be reached.
function noteTrouble(event) {
  const restarts = event?.type === "reconnect" ? "The service restarts. The call goes on when its client has a connection again." : "";
  write(byId("live-trouble"), event === null ? "The service cannot be reached or is busy. The page keeps trying." : restarts);
}

function tell(event) {
  if (event.type === "warning") write(byId("live-note"), event.message);
  if (event.type === "reconnect") hidePartials();
  if (event.type === "partial") showPartial(event);
  if (event.type === "transcript") showFinal(event);
  if (event.type === "speech_started") showSpeaking(event.channel, true);
  if (event.type === "speech_stopped") showSpeaking(event.channel, false);
  hear(event.end ?? event.start ?? 0);
  if (stays) scrollTo(0, document.documentElement.scrollHeight);
}

const rowOf = ({ start, speaker, text }) => element("li", { className: `turn ${voiceOf(speaker, speakers)}` },
  element("span", { className: "time" }, clock(start)), element("span", { className: "speaker" }, named(speaker)), element("span", { className: "words", dir: "auto" }, ...chipped(text)));

function showPartial(event) {
  const before = partials.get(event.channel);
  if (before?.utterance === event.utterance) return write(before.item.querySelector(".words"), event.text);
  before?.item.remove();
  const item = rowOf(event);
  partials.set(event.channel, { utterance: event.utterance, item });
  return byId("live-partials").append(item);
}

function hidePartials() {
  partials = new Map();
  byId("live-partials").replaceChildren();
}

// The final texts of two channels may come in another order than they were said.
function showFinal({ utterance, ...event }) {
  const before = partials.get(event.channel);
  if (before && before.utterance <= utterance) {
    before.item.remove();
    partials.delete(event.channel);
  }
  if (!event.text) return;
  const at = utterances.findLastIndex(({ start }) => start <= event.start) + 1;
  const said = { start: event.start, channel: event.channel, item: rowOf(event) };
  byId("live-turns").insertBefore(said.item, utterances[at]?.item ?? null);
  utterances.splice(at, 0, said);
  for (const index of [at, at + 1]) utterances[index]?.item.classList.toggle("goes-on", utterances[index].channel === utterances[index - 1]?.channel);
}

function showSpeaking(channel, isSpoken) {
  const item = byId("live-speakers").children[channel];
  item?.classList.toggle("speaking", isSpoken);
  if (item) write(item.lastElementChild, isSpoken ? " speaks" : "");
}

function hear(seconds) {
  if (seconds <= now()) return;
  heard = seconds;
  since = performance.now();
}

const now = () => heard + (performance.now() - since) / 1000;
const showClock = () => byId("live").classList.contains("interrupted") || write(byId("live-clock"), clock(now()));

function watchScroll() {
  const left = document.documentElement.scrollHeight - innerHeight - scrollY;
  stays = left < AT_END_PIXELS;
  byId("live-newest").hidden = stays || byId("live").classList.contains("over");
}

export function setUpLive() {
  addEventListener("scroll", () => byId("live").hidden || watchScroll(), { passive: true });
  byId("live-newest").addEventListener("click", () => {
    stays = true;
    scrollTo(0, document.documentElement.scrollHeight);
  });
  byId("live-stop").addEventListener("click", stopSpeaking);
  whenSpeaking((own) => {
    byId("live-stop").disabled = Boolean(own?.isStopping);
    write(byId("live-stop"), own?.isStopping ? "Stopping …" : "Stop");
  });
}
