// What stands in the place of the list when there are no calls to show: why, and what the reader can do.

import { rangeInWords } from "./dates.js";
import { byId, element } from "./elements.js";
import { clearFilters, leaveOnly } from "./filters.js";
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

function showNoHit({ date, from, to, ...others }) {
  const range = rangeInWords({ date, from, to });
  const { q, ...fields } = others;
  const { agent, external_id: id } = fields;
  const isFiltered = Object.keys(fields).length > 0;
  const texts = [
    ...(q ? ["“refund” also finds “refunds”, but “refunds” does not find “refund”: try the beginning of a word. All words must be in the same call, and words in quotes next to each other."] : []),
    ...(agent || id ? ["Write an agent or an external ID in full, with the same capital letters."] : []),
    ...(q && isFiltered ? ["Other filters are set too. Without them, there may be more calls."] : []),
  ];
  const actions = [
    ...(range ? [button(q ? "Search all weeks" : "Show calls of any time", () => leaveOnly(others))] : []),
    ...(!range || q || isFiltered ? [button("Show all calls", clearFilters)] : []),
  ];
  showState(titleOfNoHit(q, range, isFiltered), texts, ...actions);
}

function titleOfNoHit(q, range, isFiltered) {
  if (q) return ["No call", range, isFiltered && "with these filters", `has “${q}”`].filter(Boolean).join(" ");
  if (range && !isFiltered) return `There is no call ${range}`;
  return ["No call", range, "matches these filters"].filter(Boolean).join(" ");
}

// Says why the service does not search for what the reader has written.
export function showRefusal(error) {
  showState("The service cannot search for this", [inWords(error)], button("Show all calls", clearFilters));
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
