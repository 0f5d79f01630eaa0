// The dialogue: a list of turns that can be read and played.

import { byId, element } from "./elements.js";
import { playFrom } from "./player.js";
import { chipped } from "./redaction.js";
import { searchIn } from "./search.js";
import { clock } from "./words.js";

const MARKS = { positive: "+", negative: "−" };

const audio = byId("audio");
const list = byId("dialogue");
let turns = [];

// Shows the dialogue, searched for `q`. Unless `at` is null, the turn at that second is shown and focused.
export function showDialogue(transcript, { at, q }) {
  const speakers = speakersOf(transcript);
  turns = transcript.turns.map((turn) => {
    const time = element("span", { className: "time" }, clock(turn.start));
    const words = element("span", { className: "words", dir: "auto" }, ...chipped(turn.text));
    const button = element(
      "button",
      { type: "button", className: `turn ${voiceOf(turn.speaker, speakers)}`, tabIndex: -1 },
      time,
      element("span", { className: "speaker" }, nameOf(turn.speaker)),
      words,
    );
    button.addEventListener("click", () => playFrom(turn.start));
    const item = element("li", {}, button);
    return { ...turn, item, button, time, words, mood: null };
  });
  if (turns.length) turns[0].button.tabIndex = 0;
  byId("no-turns").hidden = turns.length > 0;
  byId("dialogue-head").hidden = byId("hint").hidden = turns.length === 0;
  makeRoomFor([...speakers, ...(turns.some((turn) => turn.speaker === null) ? [nameOf(null)] : [])], list);
  list.replaceChildren(...turns.map((turn) => turn.item));
  const chosen = at === null ? undefined : turnAt(at);
  searchIn(turns, q, chosen);
  if (!chosen) return;
  showTurnAt(at);
  chosen.button.focus({ preventScroll: true });
}

// Returns the turn at a second, or the last one before it.
function turnAt(second) {
  const begun = turns.filter((turn) => turn.start <= second + 0.05);
  return begun.findLast((turn) => second < turn.end) ?? begun.at(-1);
}

export function showTurnAt(second) {
  turnAt(second)?.item.scrollIntoView({ block: "center" });
}

// Marks a turn that somebody wants to see as evidence, and shows it. Turns are numbered from 1.
export function cite(number) {
  for (const turn of turns) turn.button.classList.toggle("cited", turn === turns[number - 1]);
  turns[number - 1].item.scrollIntoView({ block: "center" });
}

// Marks turns that sound positive or negative to the language model. Each is {turn, value}.
export function markMoods(judged) {
  const moods = new Map(judged.filter(({ value }) => value in MARKS).map(({ turn, value }) => [turn, value]));
  turns.forEach((turn, index) => {
    const mood = moods.get(index + 1) ?? null;
    if (mood === turn.mood) return;
    turn.mood = mood;
    turn.time.replaceChildren(clock(turn.start), ...(mood ? [" ", markOf(mood)] : []));
  });
}

const markOf = (mood) => element("span", { className: `mood ${mood}`, title: `The language model finds this turn ${mood}.` },
  element("span", { ariaHidden: "true" }, MARKS[mood]), element("span", { className: "unseen" }, mood));

// Speakers in the order of their channels, because the order decides their colours. If they were told apart by their voices,
// the order is that in which they first speak.
export const speakersOf = (transcript) => (transcript.turns.some(isByVoice)
  ? [...new Set(transcript.turns.map((turn) => turn.speaker).filter((speaker) => speaker !== null))]
  : labelsOf(transcript));

export const labelsOf = (transcript) => [...new Set(transcript.channels.map((channel) => channel.label))];

const isByVoice = ({ speaker, speaker_confidence: confidence }) => speaker === null || confidence !== null;

// Returns the name of a speaker for readers. It is null if it is not sure who speaks.
export const nameOf = (speaker) => speaker ?? "Unknown";

// Returns the colour of a speaker. If all channels have the same sound, the speaker's name is no channel's label. Then it is
// the first colour.
export const voiceOf = (speaker, speakers) => (speaker === null ? "voice-unknown" : `voice-${Math.max(0, speakers.indexOf(speaker)) % 4}`);

// Makes the column of the speakers as wide as the longest word of their names, so that no usual name breaks inside a word.
export function makeRoomFor(speakers, turns) {
  const longestPart = Math.max(0, ...speakers.flatMap((name) => name.split(/[\s-]+/)).map((part) => part.length)) + 1;
  turns.style.setProperty("--speaker", `${longestPart}ch`);
}

// Only one turn is in the tab order. The arrow keys move to the others.
function makeReachable(chosen) {
  for (const turn of turns) turn.button.tabIndex = turn === chosen ? 0 : -1;
}

function move(event) {
  const at = turns.findIndex((turn) => turn.button === document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: turns.length - 1 }[event.key];
  if (to === undefined || !turns[to]) return;
  event.preventDefault();
  makeReachable(turns[to]);
  turns[to].button.focus();
}

function markPlaying() {
  const now = audio.currentTime;
  const playing = audio.ended || now === 0 ? undefined : turns.findLast((turn) => turn.start <= now + 0.05 && now < turn.end);
  for (const turn of turns) turn.button.ariaCurrent = turn === playing ? "true" : null;
}

list.addEventListener("keydown", move);
list.addEventListener("focusin", (event) => {
  const focused = turns.find((turn) => turn.button === event.target);
  if (focused) makeReachable(focused);
});
for (const event of ["timeupdate", "seeked", "ended"]) audio.addEventListener(event, markPlaying);
