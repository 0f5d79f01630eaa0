// The page's address, which says what is shown: `#` all calls, `#q=refund&date=last-week` some of them, `#add` the form for new
// recordings, `#reports&date=last-week&by=agent` a report, `#rules` the categories and scorecards, and `#<id>&at=12.5&q=refund` a
// call. Browsers send nothing after `#`, so no log keeps what a reader looks for.

export const OF_ANALYSIS = ["category", "scorecard", "intent", "sentiment", "resolved", "model"];
const FILTERS = ["q", "date", "from", "to", "status", "language", "agent", "external_id", ...OF_ANALYSIS];

// Returns {view: "add"}, {view: "rules"}, {view: "reports", by, filters}, {view: "call", id, at, q, plays} or {view: "calls", filters}.
export function placeOf(hash) {
  const [first, ...rest] = hash.replace(/^#/, "").split("&");
  if (first === "add" || first === "rules") return { view: first };
  if (first === "reports") return { view: "reports", by: new URLSearchParams(rest.join("&")).get("by"), filters: filtersOf(rest.join("&")) };
  if (first === "" || first.includes("=")) return { view: "calls", filters: filtersOf(hash) };
  const values = new URLSearchParams(rest.join("&"));
  const at = Number.parseFloat(values.get("at"));
  return { view: "call", id: first, at: at >= 0 ? at : null, q: values.get("q") ?? "", plays: values.has("play") };
}

function filtersOf(hash) {
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  return onlyGiven(Object.fromEntries(FILTERS.map((name) => [name, values.get(name)?.trim()])));
}

const onlyGiven = (filters) => Object.fromEntries(FILTERS.filter((name) => filters[name]).map((name) => [name, filters[name]]));

// Two addresses of the same filters are the same text.
export const addressOf = (filters) => `#${new URLSearchParams(onlyGiven(filters))}`;

export const addressOfReport = (by, filters) => `#reports&${new URLSearchParams({ ...onlyGiven(filters), ...(by ? { by } : {}) })}`.replace(/&$/, "");

export function addressOfCall(id, { at = null, q = "", plays = false } = {}) {
  const values = new URLSearchParams({ ...(at === null ? {} : { at: String(at) }), ...(q ? { q } : {}), ...(plays ? { play: "" } : {}) });
  return values.size ? `#${id}&${values}` : `#${id}`;
}

export const here = () => placeOf(location.hash);
