// Categories and scorecards → words for people. Pure.

import { languageName, percent, period } from "./words.js";

const FACTS = {
  duration: "the length of the call in seconds",
  speech_seconds: "the seconds of speech",
  silence_seconds: "the seconds of silence",
  overlaps: "how often two speak at the same time",
  overlap_seconds: "the seconds in which two speak at the same time",
  interruptions: "the interruptions",
  holds: "how often the call is on hold",
  hold_seconds: "the seconds on hold",
  longest_hold: "the seconds of the longest hold",
  talk_share: "the part of all speech",
  words_per_minute: "the words per minute",
  longest_monologue: "the seconds of the longest monologue",
  median_response_seconds: "the usual seconds until an answer",
};
const EACH_SAID = new Intl.ListFormat("en", { type: "conjunction" });
const ONE_SAID = new Intl.ListFormat("en", { type: "disjunction" });

const quoted = (phrases) => phrases.map((phrase) => `“${phrase}”`);

// Facts that are seconds.
const IN_SECONDS = new Set(["duration", "speech_seconds", "silence_seconds", "overlap_seconds", "hold_seconds", "longest_hold", "longest_monologue", "median_response_seconds"]);

const factInWords = (fact) => (value) => {
  if (fact === "talk_share") return percent(value);
  const figure = value.toLocaleString([], { maximumFractionDigits: 1 });
  if (fact === "loudness") return `${figure} dB`;
  return IN_SECONDS.has(fact) ? `${figure} s` : figure;
};

// Returns the value of a fact with the limits of the right answer, such as "63 % (at most 60 %)".
export const measuredOf = ({ fact, value, ...range }) => `${factInWords(fact)(value)} (${limits(range, factInWords(fact))})`;

// Returns a sentence for each condition of a category. All of them must hold.
export const sentencesOf = ({ also = [], ...own }) => [own, ...also].flatMap(sentencesOfCondition);

function sentencesOfCondition(condition) {
  const { role, any_of: any, all_of: all, none_of: none, by, hold, silence, interruptions, talk_share: share, words_per_minute: speed, duration, language, metadata } = condition;
  const who = role ? `The ${role}` : "Somebody";
  const part = partOf(condition);
  const [says, saysNot] = by === "meaning" ? ["says something that means about the same as", "says nothing that means about the same as"] : ["says", "does not say"];
  return [
    any && `${who} ${says} ${ONE_SAID.format(quoted(any))}${part}.`,
    all && `${who} ${says} ${EACH_SAID.format(quoted(all))}${part}.`,
    none && `${role ? `The ${role} ${saysNot}` : "Nobody says"} ${ONE_SAID.format(quoted(none))}${part}.`,
    hold && `Nobody speaks for longer than ${period(hold.longer_than)}${part}.`,
    silence && `It is silent for longer than ${period(silence.longer_than)}${part}.`,
    interruptions && `${who} interrupts ${limits(interruptions)} times.`,
    share && `${who} has ${limits(share, percent)} of all speech.`,
    speed && `${who} speaks ${limits(speed)} words per minute.`,
    duration && `The call lasts ${limits(duration, period)}.`,
    language && `The call is in ${ONE_SAID.format([language].flat().map(languageName))}.`,
    ...Object.entries(metadata ?? {}).map(([name, value]) => `The call was posted with ${name}: ${ONE_SAID.format([value].flat())}.`),
  ].filter(Boolean);
}

function limits({ at_least: least, at_most: most }, inWords = String) {
  if (least === undefined || least === null) return `at most ${inWords(most)}`;
  if (most === undefined || most === null) return `at least ${inWords(least)}`;
  return `${inWords(least)} to ${inWords(most)}`;
}

function partOf({ first_seconds: first, last_seconds: last, from_percent: from, to_percent: to }) {
  if (first) return ` in the first ${period(first)}`;
  if (last) return ` in the last ${period(last)}`;
  if (from !== undefined || to !== undefined) return ` between ${from ?? 0} % and ${to ?? 100} % of the call`;
  return "";
}

// Says how a question of a scorecard is answered.
export function answeredBy({ by, category, fact, role, expected = true, applies_if: only, ...range }) {
  const how = {
    category: () => `The call ${expected ? "is" : "is not"} in the category “${category}”`,
    fact: () => `A fact: ${FACTS[fact] ?? fact}${role ? ` of the ${role}` : ""}, ${limits(range, factInWords(fact))}`,
    model: () => `The language model says ${expected ? "yes" : "no"}`,
  }[by]();
  return only ? `${how}. Only if the call is in “${only}”` : how;
}
