// How each speaker sounds to the language model: shares of their turns, and the course over the quarters of the call.

import { element, named } from "./elements.js";
import { stepping, turnOf } from "./evidence.js";
import { percent } from "./words.js";

const MOODS = { positive: "Positive", neutral: "Neutral", negative: "Negative" };
const VALUES = { positive: 1, neutral: 0, negative: -1 };
const QUARTERS = 4;
const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, GAP] = [100, 28, 4];

// Returns a part for each speaker, of whom the model has judged a turn.
export function moodsOf(sentiment, duration) {
  if (!sentiment) return [];
  return sentiment.sides.filter(({ turns }) => turns > 0).map((side) => partOf(side, judgedTurnsOf(side, sentiment), duration));
}

// Returns the number and the mood of each judged turn of a speaker.
const judgedTurnsOf = ({ speaker }, { turns }) => turns.filter(({ turn }) => turnOf(turn)?.speaker === speaker);

function partOf(side, judged, duration) {
  const shares = Object.keys(MOODS).filter((mood) => side.shares[mood] > 0).map((mood) => {
    const numbers = judged.filter(({ value }) => value === mood).map(({ turn }) => turn);
    const part = stepping(numbers, `${side.speaker}, ${MOODS[mood].toLowerCase()}: ${percent(side.shares[mood])}. Show the next of ${turnsIn(numbers.length)}`,
      `${MOODS[mood]} ${percent(side.shares[mood])}`);
    part.classList.add(mood);
    part.style.flexGrow = side.shares[mood];
    return part;
  });
  const quarters = side.quarters.map((value, index) =>
    quarterOf(side.speaker, value, index, judged.filter(({ turn }) => quarterOfTurn(turnOf(turn), duration) === index)));
  return element("li", {}, element("strong", {}, named(side.speaker)), element("span", { className: "quarters" }, ...quarters),
    element("span", { className: "mood-shares" }, ...shares));
}

// A turn belongs to the quarter of its middle.
const quarterOfTurn = ({ start, end }, duration) => Math.min(QUARTERS - 1, Math.floor((QUARTERS * (start + end)) / 2 / duration));

// Each quarter is a bar above or below the middle. It leads first to the turns that are not neutral.
function quarterOf(speaker, value, index, judged) {
  const strongest = judged.toSorted((one, other) => Math.abs(VALUES[other.value]) - Math.abs(VALUES[one.value]));
  const numbers = strongest.map(({ turn }) => turn);
  const words = value === null ? "no turn was judged" : `${signed(value)}. Show the next of ${turnsIn(numbers.length)}`;
  return stepping(numbers, `${speaker}, quarter ${index + 1} of the call: ${words}`, barOf(value ?? 0), element("span", {}, value === null ? "–" : signed(value)));
}

const turnsIn = (count) => (count === 1 ? "1 turn" : `${count} turns`);
const signed = (value) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(1)}`;

function barOf(value) {
  const middle = HEIGHT / 2;
  const height = Math.abs(value) * middle;
  const drawing = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  drawing.append(drawn("line", { x1: 0, x2: WIDTH, y1: middle, y2: middle }),
    drawn("rect", { x: GAP, width: WIDTH - 2 * GAP, y: value > 0 ? middle - height : middle, height, class: value > 0 ? "positive" : "negative" }));
  return drawing;
}

function drawn(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  return made;
}
