// The facts of a call: how much and how fast each speaker talks, overlaps, interruptions, answers and holds.

import { labelsOf, showTurnAt, voiceOf } from "./dialogue.js";
import { byId, element, named } from "./elements.js";
import { playFrom } from "./player.js";
import { clock, percent } from "./words.js";

const MOST_PLACES = 8; // of interruptions, because a heated call has hundreds
const HEADS = ["Speaker", "Speaks", "Share", "Interrupts", "Longest monologue"];

export function showTalk(transcript) {
  const several = transcript.talk.overlaps !== null;
  byId("talk").hidden = !several;
  byId("talk-heads").replaceChildren(...HEADS.map((head) => element("th", { scope: "col" }, head)));
  byId("talk-rows").replaceChildren(...(several ? transcript.talk.channels.map((each) => row(each, transcript)) : []));
}

// Returns the name and the text of each fact about the whole call. A single track has no overlaps, because its voices are mixed.
export function factsOfTalk(transcript) {
  const { talk } = transcript;
  const facts = [["Silence", clock(talk.silence_seconds)]];
  if (talk.overlaps !== null) {
    facts.push(["Speaking at the same time", talk.overlaps ? `${talk.overlaps} ×, ${talk.overlap_seconds.toFixed(1)} s` : "never"]);
    facts.push(["Interruptions", [String(talk.interruptions), ...placesOfInterruptions(talk)]]);
  }
  facts.push(["Slowest answer", ofEach(transcript, ({ longest_response: longest }) =>
    longest && [`${(longest.end - longest.start).toFixed(1)} s at `, placeButton(longest.start)])]);
  facts.push(["Per minute of speech", ofEach(transcript, ({ words_per_minute: speed, word_unit: unit }) =>
    speed !== null && [`${Math.round(speed)} ${unit}s`])]);
  if (talk.holds.length) facts.push(["On hold", talk.holds.map(({ start, end }) => `${clock(start)}–${clock(end)}`).join(", ")]);
  return facts.filter(([, value]) => value.length);
}

// A button that plays the recording from a moment, and shows what was said then.
export function placeButton(seconds, text = clock(seconds)) {
  const show = () => {
    showTurnAt(seconds);
    playFrom(seconds);
  };
  return element("button", { type: "button", className: "plain time", ariaLabel: `Play from ${text}`, onclick: show }, text);
}

function placesOfInterruptions({ overlap_instances: overlaps }) {
  const places = (overlaps ?? []).filter((overlap) => overlap.is_interruption).map(({ start }) => placeButton(start));
  const shown = places.slice(0, MOST_PLACES).flatMap((button) => [" ", button]);
  return places.length > MOST_PLACES ? [...shown, " …"] : shown;
}

// Returns what `factOf` says about each channel, behind the speaker's name if there are several.
function ofEach({ talk, channels }, factOf) {
  const facts = talk.channels.map((each) => [each.channel, factOf(each)]).filter(([, fact]) => fact);
  return facts.flatMap(([channel, fact], index) => {
    const { label } = channels.find((each) => each.index === channel);
    return [index ? ", " : "", ...(talk.channels.length > 1 ? [named(label), " "] : []), ...fact];
  });
}

function row({ channel, speech_seconds: seconds, share, interruptions, longest_monologue: longest }, transcript) {
  const { label } = transcript.channels.find(({ index }) => index === channel);
  const cells = [
    clock(seconds),
    share === null ? "–" : percent(share),
    `${interruptions} ×`,
    longest ? `${clock(longest.end - longest.start)} from ${clock(longest.start)}` : "–",
  ];
  return element("tr", { className: voiceOf(label, labelsOf(transcript)) },
    element("th", { scope: "row", className: "speaker" }, label), ...cells.map((text) => element("td", {}, text)));
}
