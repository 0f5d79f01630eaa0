// How much of the talking each speaker of a call does, as a small bar, or why there is none.

import { element, named } from "./elements.js";
import { percent } from "./words.js";

export function showShares(place, job) {
  const { speakers } = job;
  if (!speakers?.length) return;
  const talking = speakers.map(({ label, speech_seconds: seconds }, index) => ({ label, seconds, index })).filter(({ seconds }) => seconds > 0);
  const of = JSON.stringify(talking);
  if (place.dataset.of === of) return;
  place.dataset.of = of;
  place.replaceChildren();
  if (talking.length < 2) return showWhyNone(place, talking, job);
  const total = talking.reduce((sum, { seconds }) => sum + seconds, 0);
  const parts = talking.map((each) => ({ ...each, share: each.seconds / total }));
  place.title = parts.map(({ label, share }) => `${label} ${percent(share)}`).join(", ");
  place.append(element("span", { className: "bar", ariaHidden: "true" }, ...parts.map(segment)),
    element("span", { className: "names" }, ...parts.map(({ label, share, index }) =>
      element("span", { className: `voice-${index % 4}` }, named(label), " ", element("span", {}, percent(share))))));
}

function showWhyNone(place, [only], { speakers, audio, options }) {
  const isTogether = only && speakers.length === 1 && !options.diarize;
  place.title = isTogether ? "All speakers are in the same sound, so the service does not tell them apart." : "";
  if (!only) place.append("No speech");
  else if (!isTogether) place.append("Only ", named(only.label));
  else if (audio.channels === 1) place.append("One channel");
  else place.append(options.channels === "mix" ? "Mixed channels" : "Same on all channels");
}

function segment({ share, index }) {
  const made = element("span", { className: `voice-${index % 4}` });
  made.style.flexGrow = share;
  return made;
}
