// The turns of a call in which a search was found. A click opens the call at that turn and plays it.

import { addressOfCall } from "./address.js";
import { nameOf, voiceOf } from "./dialogue.js";
import { element, named } from "./elements.js";
import { chipped } from "./redaction.js";
import { clock } from "./words.js";

const LONGEST = 300; // characters
const BEFORE = 80; // characters before the first match

export function showHits(place, job, q) {
  const speakers = (job.speakers ?? []).map(({ label }) => label);
  const plays = job.links.audio !== null;
  const more = job.hit_count - job.hits.length;
  place.append(element("ul", { className: "hits", ariaLabel: "Where it was said" }, ...job.hits.map((hit) => element("li", {}, linkOf(hit))),
    ...(more > 0 ? [element("li", {}, element("a", { className: "more", href: addressOfCall(job.id, { q }) }, more === 1 ? "1 more place" : `${more} more places`))] : [])));

  function linkOf({ start, speaker, text, marks }) {
    const link = element("a", { className: `hit ${voiceOf(speaker, speakers)}`, href: addressOfCall(job.id, { at: start, q, plays: true }) },
      element("span", { className: plays ? "time plays" : "time" }, element("span", { className: "unseen" }, plays ? "Play from " : "Read from "), clock(start)),
      element("span", { className: "speaker" }, named(nameOf(speaker))),
      element("span", { className: "words", dir: "auto" }, ...marked(text, marks).flatMap((part) => (typeof part === "string" ? chipped(part) : [part]))));
    return link;
  }
}

// The service counts characters, and JavaScript counts a character such as an emoji twice. Of a long turn only the part around
// the first match is shown.
function marked(text, marks) {
  const characters = Array.from(text);
  const [first, last] = excerpt(characters, marks);
  const parts = [first > 0 ? "… " : ""];
  let end = first;
  for (const [from, to] of marks) {
    if (to > last) break;
    parts.push(characters.slice(end, from).join(""), element("mark", {}, characters.slice(from, to).join("")));
    end = to;
  }
  return [...parts, characters.slice(end, last).join(""), last < characters.length ? " …" : ""];
}

function excerpt(characters, [[match] = [0]]) {
  if (characters.length <= LONGEST) return [0, characters.length];
  const from = match <= BEFORE ? 0 : Math.max(0, characters.lastIndexOf(" ", match - BEFORE) + 1 || match - BEFORE);
  return [from, Math.min(characters.length, from + LONGEST)];
}
