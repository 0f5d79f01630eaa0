// Evidence: buttons that lead from a statement about a call to the turns of the dialogue that show it, and play them.

import { cite, nameOf } from "./dialogue.js";
import { element } from "./elements.js";
import { announce } from "./messages.js";
import { playFrom } from "./player.js";
import { clock } from "./words.js";

const MOST_PLACES = 6; // until the reader asks for all of them

let turns = []; // of the call, in the order of their numbers, which begin with 1

export const useTurns = (shown) => (turns = shown);
export const turnOf = (number) => turns[number - 1];

// Shows a turn, and plays it if there is a recording. The focus stays, so that the reader can go on to the next statement. So
// a screen reader is told what was said.
export function show(number) {
  const turn = turnOf(number);
  if (!turn) return;
  cite(number);
  playFrom(turn.start);
  announce(`${nameOf(turn.speaker)}, ${clock(turn.start)}: ${turn.text}`);
}

// Returns a button for a turn, or null if the call has no such turn. `second` is the moment in it, if that is known.
function placeOf(number) {
  const turn = turnOf(number);
  if (!turn) return null;
  const text = clock(turn.start);
  return element("button", { type: "button", className: "cited-at", title: turn.text, ariaLabel: `Turn ${number}, ${nameOf(turn.speaker)} at ${text}`, onclick: () => show(number) }, text);
}

// Returns what leads to these turns: a button for each, and one more for all of them if they are many.
export function placesOf(numbers) {
  const places = [...new Set(numbers)].map(placeOf).filter(Boolean);
  if (places.length <= MOST_PLACES + 1) return spaced(places);
  const rest = places.slice(MOST_PLACES);
  const more = element("button", { type: "button", className: "cited-at", onclick: () => {
    more.replaceWith(...spaced(rest).slice(1));
    rest[0].focus();
  } }, `${rest.length} more`);
  return spaced([...places.slice(0, MOST_PLACES), more]);
}

const spaced = (nodes) => nodes.flatMap((node) => [" ", node]);

// Returns a button that shows one of these turns after the other, as often as it is pressed.
export function stepping(numbers, label, ...content) {
  let next = 0;
  const step = () => {
    show(numbers[next]);
    next = (next + 1) % numbers.length;
  };
  return element("button", { type: "button", className: "steps", title: label, ariaLabel: label, disabled: numbers.length === 0, onclick: step }, ...content);
}
