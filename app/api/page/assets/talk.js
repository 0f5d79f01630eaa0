// The facts of a call: how much each speaker talks, overlaps, interruptions and holds.

import { speakersOf, voiceOf } from "./dialogue.js";
import { byId, element } from "./elements.js";
import { clock, percent } from "./words.js";

const HEADS = ["Speaker", "Speaks", "Share", "Interrupts", "Longest monologue"];

export function showTalk(transcript) {
  const several = transcript.talk.overlaps !== null;
  byId("talk").hidden = !several;
  byId("talk-heads").replaceChildren(...HEADS.map((head) => element("th", { scope: "col" }, head)));
  byId("talk-rows").replaceChildren(...(several ? transcript.talk.channels.map((each) => row(each, transcript)) : []));
}

// Returns the name and the text of each fact about the whole call. A single track has no overlaps, because its voices are mixed.
export function factsOfTalk({ talk }) {
  const facts = [["Silence", clock(talk.silence_seconds)]];
  if (talk.overlaps !== null) {
    facts.push(["Speaking at the same time", talk.overlaps ? `${talk.overlaps} ×, ${talk.overlap_seconds.toFixed(1)} s` : "never"]);
    facts.push(["Interruptions", String(talk.interruptions)]);
  }
  if (talk.holds.length) facts.push(["On hold", talk.holds.map(({ start, end }) => `${clock(start)}–${clock(end)}`).join(", ")]);
  return facts;
}

function row({ channel, speech_seconds: seconds, share, interruptions, longest_monologue: longest }, transcript) {
  const { label } = transcript.channels.find(({ index }) => index === channel);
  const cells = [
    clock(seconds),
    share === null ? "–" : percent(share),
    `${interruptions} ×`,
    longest ? `${clock(longest.end - longest.start)} from ${clock(longest.start)}` : "–",
  ];
  return element("tr", { className: voiceOf(label, speakersOf(transcript)) },
    element("th", { scope: "row", className: "speaker" }, label), ...cells.map((text) => element("td", {}, text)));
}
