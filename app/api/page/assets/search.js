// Search in the dialogue: marks each match, counts them, and moves from one to the next.

import { byId, element, write } from "./elements.js";

const field = byId("search");
let texts = []; // {text, words}: a turn's text and the element that shows it
let marks = [];
let at = 0;

export function searchIn(turns) {
  texts = turns.map(({ text, words }) => ({ text, words, marked: false }));
  field.value = "";
  mark();
}

function mark() {
  const wanted = field.value.trim().toLocaleLowerCase();
  marks = [];
  at = 0;
  for (const turn of texts) {
    const parts = marked(turn.text, wanted);
    if (parts.length > 1 || turn.marked) turn.words.replaceChildren(...parts);
    turn.marked = parts.length > 1;
    marks.push(...parts.filter((part) => typeof part !== "string"));
  }
  byId("previous").disabled = byId("next").disabled = marks.length === 0;
  byId("search-moves").hidden = wanted === "";
  if (!wanted) write(byId("found"), "");
  else showCurrent();
}

// Returns the text in parts: strings, and an element for each match.
function marked(text, wanted) {
  const lower = text.toLocaleLowerCase();
  if (!wanted || lower.length !== text.length) return [text];
  const parts = [];
  let end = 0;
  for (let start = lower.indexOf(wanted); start >= 0; start = lower.indexOf(wanted, end)) {
    parts.push(text.slice(end, start), element("mark", {}, text.slice(start, start + wanted.length)));
    end = start + wanted.length;
  }
  return [...parts, text.slice(end)];
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

field.addEventListener("input", mark);
byId("find").addEventListener("submit", (event) => event.preventDefault());
field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing) return;
  event.preventDefault();
  move(event.shiftKey ? -1 : 1);
});
byId("next").addEventListener("click", () => move(1));
byId("previous").addEventListener("click", () => move(-1));
