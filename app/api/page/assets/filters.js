// The filters above the list of calls. The page's address holds them, so a view can be bookmarked and the back button works.

import { addressOf, OF_ANALYSIS } from "./address.js";
import { read } from "./api.js";
import { choicesOfDate, rangeOf } from "./dates.js";
import { byId, element, write } from "./elements.js";
import { languageName } from "./words.js";

const TYPING_MILLISECONDS = 250;
export const OWN_RANGE = "range";
const STATUSES = {
  unfinished: ["pending", "in_progress"],
  completed: ["completed"],
  failed: ["failed"],
  cancelled: ["cancelled"],
};

const AS_THEY_ARE = ["external_id", ...OF_ANALYSIS];

const form = byId("filters");
let typed = null; // the timer of a text that the reader is writing

// Returns the query of the API that reads the calls which the filters let through.
export function queryOf(filters) {
  const [after, before] = rangeOf(filters);
  const query = conditionsOf(filters);
  if (filters.q) query.set("q", filters.q);
  if (after) query.set("created_after", after.toISOString());
  if (before) query.set("created_before", before.toISOString());
  return String(query);
}

// Returns what calls and reports have in common: all filters without the search and the days.
export function conditionsOf(filters) {
  const query = new URLSearchParams();
  for (const status of STATUSES[filters.status] ?? []) query.append("status", status);
  if (filters.language) query.set("language", filters.language);
  if (filters.agent) query.set("metadata.agent", filters.agent);
  for (const name of AS_THEY_ARE) if (filters[name]) query.set(name, filters[name]);
  return query;
}

// Shows the filters of the address in the form. A field that the reader is writing in stays as it is.
export function showFilters(filters) {
  offerDates(form.elements.date, [["", "Any time"]]);
  if (filters.language) offerLanguages([filters.language]);
  if (filters.category) offerCategories([filters.category]);
  for (const field of form.elements) {
    if (!field.name || (field === document.activeElement && typed !== null)) continue;
    const value = filters[field.name] ?? "";
    if (field.value !== value) field.value = value;
  }
  byId("own-range").hidden = filters.date !== OWN_RANGE;
  showAnalysisFilters(filters);
  const { q, ...others } = filters;
  const count = Object.keys(others).filter((name) => name !== "from" && name !== "to").length;
  write(byId("filter-count"), count ? String(count) : "");
  byId("clear-filters").disabled = count === 0 && !q; // not hidden, because the fields would then change their widths
  for (const field of form.querySelectorAll("select, #filter-fields input")) field.classList.toggle("chosen", field.value !== "");
}

// Offers the ranges of days, whose names change every day, after these other choices.
export function offerDates(select, others) {
  if (select.dataset.day === new Date().toDateString()) return;
  select.dataset.day = new Date().toDateString();
  const chosen = select.value;
  const choices = [...others, ...choicesOfDate(), [OWN_RANGE, "Own range…"]];
  select.replaceChildren(...choices.map(([value, text]) => element("option", { value }, text)));
  select.value = chosen;
}

let areOffered = false;

// Filters for analyses are there as soon as a call on the list has an analysis, or the address has one of them.
export async function offerAnalysisFilters(signal) {
  if (areOffered) return;
  areOffered = true;
  byId("analysis-filters").hidden = false;
  const { items } = await read("v1/categories", signal).catch(() => ((areOffered = false), { items: [] }));
  offerCategories(items.map(({ name }) => name));
}

function showAnalysisFilters(filters) {
  if (OF_ANALYSIS.some((name) => filters[name])) byId("analysis-filters").hidden = false;
  for (const label of form.querySelectorAll(".if-set")) label.hidden = label.querySelector("input").value === "";
}

function offerCategories(names) {
  const select = form.elements.category;
  const known = new Set(Array.from(select.options, ({ value }) => value));
  select.append(...names.filter((name) => !known.has(name)).map((value) => element("option", { value }, value)));
}

let isComplete = false;

// Offers all languages that a call may have. Without an answer there are those of the calls on the list.
export async function offerAllLanguages(signal) {
  if (isComplete) return;
  const answer = await read("v1/models", signal).catch(() => null);
  if (answer === null) return;
  offerLanguages(answer.items.flatMap(({ languages }) => languages));
  isComplete = true;
}

// Adds languages to the choices, in the order of their names.
export function offerLanguages(codes) {
  const select = form.elements.language;
  const known = new Set(Array.from(select.options, ({ value }) => value));
  for (const code of codes) {
    if (known.has(code)) continue;
    known.add(code);
    const name = languageName(code);
    const next = Array.from(select.options).find(({ value, text }) => value && text.localeCompare(name) > 0);
    select.insertBefore(element("option", { value: code }, name), next ?? null);
  }
}

const agents = new Set();

// Offers names of agents while the reader writes one.
export function offerAgents(names) {
  const fresh = names.filter((name) => !agents.has(name) && agents.add(name));
  byId("agents").append(...fresh.map((value) => element("option", { value })));
}

// A text that the reader is writing is one step of the browser's history, and not one for each letter.
function apply(isTyping) {
  clearTimeout(typed);
  const address = addressOf(Object.fromEntries(new FormData(form)));
  const state = isTyping ? { isTyping } : null;
  if (address !== (location.hash || "#")) {
    if (isTyping && history.state?.isTyping) history.replaceState(state, "", address);
    else history.pushState(state, "", address);
    dispatchEvent(new Event("hashchange"));
  } else if (history.state?.isTyping) {
    history.replaceState(state, "");
  }
  typed = null;
}

const isText = ({ target }) => target.matches("[type=search], [type=text]");

export function setUpFilters() {
  form.addEventListener("input", (event) => {
    if (event.target.name === "date") return chooseDate();
    if (!isText(event)) return apply(false);
    clearTimeout(typed);
    typed = setTimeout(apply, TYPING_MILLISECONDS, true);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    apply(false);
  });
  byId("clear-filters").addEventListener("click", clearFilters);
  byId("more-filters").addEventListener("click", () => {
    const isOpen = form.classList.toggle("open");
    byId("more-filters").ariaExpanded = String(isOpen);
  });
}

function chooseDate() {
  const isOwn = form.elements.date.value === OWN_RANGE;
  byId("own-range").hidden = !isOwn;
  if (!isOwn) form.elements.from.value = form.elements.to.value = "";
  apply(false);
  if (isOwn) form.elements.from.focus();
}

export const clearFilters = () => leaveOnly({});

// Leaves only these filters.
export function leaveOnly(filters) {
  location.hash = addressOf(filters);
  byId("q").focus();
}
