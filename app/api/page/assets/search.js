// Search in the dialogue: marks each match, counts them, and moves from one to the next.

import { byId, element, write } from "./elements.js";
import { chipped } from "./redaction.js";

const CASED = /[A-Z\u00c0-\u058f\u1e00-\u1fff]/g; // Latin, Greek, Cyrillic and Armenian letters with case or accents

const field = byId("search");
let texts = []; // {text, plain, words}: a turn's text, the same as it is compared, and the element that shows it
let marks = [];
let at = 0;

// Searches the turns for `q`. The match in the turn `chosen`, if there is one, is the current one.
export function searchIn(turns, q, chosen) {
  texts = turns.map(({ text, words }) => ({ text, plain: plain(text), words, marked: false }));
  field.value = q;
  mark(chosen);
}

// Returns the text in small letters without accents, as the search in all calls compares it. Each character keeps its place.
const plain = (text) => text.replace(CASED, (letter) => letter.normalize("NFD")[0].toLowerCase()[0]);

// Returns what to look for: the whole text if it is anywhere, otherwise each of its words, as the search in all calls does.
function wantedIn(written) {
  const whole = plain(written.replaceAll('"', "").trim());
  if (whole === "" || texts.some((turn) => turn.plain.includes(whole))) return [whole].filter(Boolean);
  return Array.from(plain(written).matchAll(/"([^"]+)"?|[^\s"]+/g), ([word, phrase]) => (phrase ?? word).trim()).filter(Boolean);
}

function mark(chosen) {
  const wanted = wantedIn(field.value);
  marks = [];
  at = 0;
  for (const turn of texts) {
    const parts = marked(turn, wanted);
    if (turn.words === chosen?.words) at = marks.length;
    if (parts.length > 1 || turn.marked) turn.words.replaceChildren(...parts.flatMap((part) => (typeof part === "string" ? chipped(part) : [part])));
    turn.marked = parts.length > 1;
    marks.push(...parts.filter((part) => typeof part !== "string"));
  }
  byId("previous").disabled = byId("next").disabled = marks.length === 0;
  byId("search-moves").hidden = wanted.length === 0;
  at = Math.min(at, Math.max(0, marks.length - 1));
  if (!wanted.length) write(byId("found"), "");
  else showCurrent();
}

// Returns the text in parts: strings, and an element for each match.
function marked({ text, plain: compared }, wanted) {
  const parts = [];
  let end = 0;
  for (let found = next(compared, wanted, end); found; found = next(compared, wanted, end)) {
    const [start, word] = found;
    parts.push(text.slice(end, start), element("mark", {}, text.slice(start, start + word.length)));
    end = start + word.length;
  }
  return [...parts, text.slice(end)];
}

// Returns where the next match begins, and the word that matches.
function next(compared, wanted, from) {
  const found = wanted.map((word) => [compared.indexOf(word, from), word]).filter(([start]) => start >= 0);
  return found.sort(([one, first], [other, second]) => one - other || second.length - first.length)[0];
}

function move(steps) {
  if (!marks.length) return;
  marks[at].classList.remove("current");
  at = (at + steps + marks.length) % marks.length;
  showCurrent();
}

function showCurrent() {
  write(byId("found"), marks.length ? `${at + 1} of ${marks.length}` : "No match");
  if (!marks.length) return;
  marks[at].classList.add("current");
  marks[at].scrollIntoView({ block: "center" });
}

// Searches the dialogue for a word, as if the reader had written it.
export function searchFor(word) {
  field.value = word;
  mark();
}

field.addEventListener("input", () => mark());
byId("find").addEventListener("submit", (event) => event.preventDefault());
field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing) return;
  event.preventDefault();
  move(event.shiftKey ? -1 : 1);
});
byId("next").addEventListener("click", () => move(1));
byId("previous").addEventListener("click", () => move(-1));
