// What rules found in a call: the categories that it is in, and its scores. Each leads to the turns that show it.

import { element, named } from "./elements.js";
import { placesOf } from "./evidence.js";
import { placeButton } from "./talk.js";
import { measuredOf } from "./rule_words.js";
import { clock, percent } from "./words.js";

const MOST_OPEN = 6; // questions of a scorecard that is shown open
const CONDITIONS = {
  none_of: "Not said",
  hold: "On hold",
  silence: "Silence",
  interruptions: "Interruptions",
  talk_share: "Share of the talk",
  words_per_minute: "Words per minute",
  duration: "Length of the call",
  language: "Language of the call",
  metadata: "Metadata of the call",
};
const IN_SECONDS = ["hold", "silence", "duration"];
const SOURCES = { category: "rule", fact: "fact", model: "language model" };

export const categoriesOf = (categories) => categories.map(({ name, sure, matches }) =>
  element("li", {}, element("strong", {}, named(name)), ...(sure ? [] : [" ", notSure()]),
    element("ul", { className: "matches" }, ...groupsOf(matches).map((group) => element("li", {}, ...matchOf(group))))));

const notSure = () => element("span", { className: "tag unsure", title: "The meaning is neither close nor far. Listen to the turns." }, "not sure");

// Returns the matches in groups of the same phrase or condition, so that a phrase that is said often is one line.
function groupsOf(matches) {
  const groups = new Map();
  for (const match of matches) {
    const key = `${match.condition}\n${match.text}`;
    groups.set(key, [...(groups.get(key) ?? []), match]);
  }
  return [...groups.values()];
}

function matchOf(group) {
  const [{ condition, text, value, start, turn }] = group;
  const kind = condition.split(".").at(-1);
  const numbers = group.map((match) => match.turn).filter((number) => number !== null);
  const words = text === null ? [CONDITIONS[kind] ?? kind] : [...(kind in CONDITIONS ? [`${CONDITIONS[kind]}: `] : []), "“", named(text), "”"];
  const figure = value === null ? "" : ` ${inWords(kind, value)}`;
  const score = Math.max(...group.map((match) => match.score));
  const alike = text !== null && score < 1 ? [element("span", { className: "quiet" }, ` about the same meaning, ${score.toFixed(2)}`)] : [];
  const places = turn === null && start !== null ? [" ", placeButton(start)] : placesOf(numbers);
  return [...words, figure, ...alike, ...places];
}

function inWords(kind, value) {
  if (kind === "talk_share") return percent(value);
  if (IN_SECONDS.includes(kind)) return clock(value);
  return Math.round(value).toLocaleString();
}

export const scoresOf = (scores) => scores.map(({ scorecard, points, possible, answers }) =>
  element("details", { open: answers.length <= MOST_OPEN },
    element("summary", {}, element("strong", {}, named(scorecard)), " ", element("span", { className: "points" }, pointsOf(points, possible))),
    element("ul", {}, ...answers.map((answer) => element("li", {}, ...answerOf(answer))))));

const figure = (value) => value.toLocaleString([], { maximumFractionDigits: 2 });

// No question of a scorecard may count in a call.
const pointsOf = (points, possible) =>
  possible ? `${figure(points)} of ${figure(possible)} points, ${percent(points / possible)}` : "no question counts";

function answerOf({ question, by, value, points, possible, evidence, ...answer }) {
  const counts = points !== null && possible !== null;
  const [kind, mark] = !counts ? ["none", "–"] : points >= possible ? ["good", "✓"] : ["bad", "✗"];
  const places = placesOf(evidence.map(({ turn }) => turn));
  return [
    element("span", { className: `answer ${kind}`, ariaHidden: "true" }, mark),
    element("span", { dir: "auto" }, question),
    element("span", { className: "quiet" }, ` ${valueOf({ value, ...answer })}${counts ? `${figure(points)} of ${figure(possible)} points` : whyNot(answer, by)} `),
    element("span", { className: `tag by-${by}` }, SOURCES[by] ?? by),
    ...places,
  ];
}

function valueOf({ value, ...answer }) {
  if (value === null) return "";
  if (typeof value === "boolean") return value ? "Yes, " : "No, ";
  return `${answer.fact ? measuredOf({ value, ...answer }) : figure(value)}, `;
}

function whyNot({ not_applicable: notApplicable, not_sure: unsure }, by) {
  if (notApplicable) return "not applicable";
  if (unsure) return "not sure, so listen to it";
  return by === "model" ? "not answered" : "does not count";
}
