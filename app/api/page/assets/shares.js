// How much of the talking each speaker of a call does, as a small bar.

import { element, named } from "./elements.js";
import { percent } from "./words.js";

export function showShares(place, { speakers }) {
  const talking = (speakers ?? []).map(({ label, speech_seconds: seconds }, index) => ({ label, seconds, index })).filter(({ seconds }) => seconds > 0);
  const of = JSON.stringify(talking);
  if (place.dataset.of === of) return;
  place.dataset.of = of;
  place.replaceChildren();
  const total = talking.reduce((sum, { seconds }) => sum + seconds, 0);
  if (talking.length < 2) return;
  const parts = talking.map((each) => ({ ...each, share: each.seconds / total }));
  place.title = parts.map(({ label, share }) => `${label} ${percent(share)}`).join(", ");
  place.append(element("span", { className: "bar", ariaHidden: "true" }, ...parts.map(segment)),
    element("span", { className: "names" }, ...parts.map(({ label, share, index }) =>
      element("span", { className: `voice-${index % 4}` }, named(label), " ", element("span", {}, percent(share))))));
}

function segment({ share, index }) {
  const made = element("span", { className: `voice-${index % 4}` });
  made.style.flexGrow = share;
  return made;
}
