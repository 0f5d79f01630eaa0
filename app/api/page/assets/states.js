// What stands in the place of the list when there are no calls to show: why, and what the reader can do.

import { byId, element } from "./elements.js";
import { clearFilters } from "./filters.js";
import { inWords } from "./words.js";

const place = byId("state");

function showState(title, texts, ...actions) {
  place.replaceChildren(element("h2", {}, title), ...texts.map((text) => element("p", {}, text)), element("div", { className: "buttons" }, ...actions));
  place.hidden = false;
}

export const hideState = () => (place.hidden = true);

const button = (text, onclick) => element("button", { type: "button", onclick }, text);

export function showNoCalls(filters) {
  if (Object.keys(filters).length) return showNoHit(filters);
  showState("No calls yet", ["Callscribe turns recordings of phone calls into text. Add a recording, and its call appears here: you can read who said what, search it, and play any turn."],
    element("a", { className: "button primary if-may-transcribe", href: "#add" }, "Add recordings"));
}

function showNoHit({ q, ...others }) {
  const isFiltered = Object.keys(others).length > 0;
  const texts = [
    ...(q ? ["The service finds whole words: “refund” does not find “refunds”. All words must be in the same call, and words in quotes next to each other."] : []),
    ...(q && isFiltered ? ["Other filters are set too. Without them, there may be more calls."] : []),
  ];
  showState(q ? `No call was found for “${q}”` : "No call matches these filters", texts, button(q && !isFiltered ? "Show all calls" : "Clear filters", clearFilters));
}

// Says why the service does not search for what the reader has written.
export function showRefusal(error) {
  showState("The service cannot search for this", [inWords(error)], button("Clear filters", clearFilters));
}

export function showNoKey() {
  showState("This service needs an API key", ["Ask the operator of the service for a key that may read calls."], button("Enter a key", () => location.reload()));
}

export function showNoScope(forgetKey) {
  showState("This key may not read calls", ["Ask the operator of the service for a key with the scope “read”."], button("Use another key", forgetKey));
}

export function showAway(tryNow) {
  showState("The service cannot be reached", ["It may be busy or restarting. The page keeps trying."], button("Try now", tryNow));
}
