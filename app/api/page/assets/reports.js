// The view of reports: figures of all calls of some days, in groups such as the agents. Each figure leads to its calls.

import { addressOfReport, OF_ANALYSIS } from "./address.js";
import { call, pause, read } from "./api.js";
import { daysOf } from "./dates.js";
import { save } from "./downloads.js";
import { byId, element, named, write } from "./elements.js";
import { conditionsOf, offerDates, OWN_RANGE } from "./filters.js";
import { announce, showProblem } from "./messages.js";
import { drawReport } from "./report_drawing.js";
import { callsIn, languageName } from "./words.js";

const USUAL_DATE = "last-30-days";
const USUAL_GROUPS = "day";
const GROUPS = { day: "Day", week: "Week", month: "Month", agent: "Agent", language: "Language", category: "Category", intent: "Intent", sentiment: "Sentiment", status: "Status", model: "Model" };
const CONDITIONS = { agent: "Agent", language: "Language", status: "Status", external_id: "External ID", category: "Category", scorecard: "Scorecard", intent: "Intent", sentiment: "Sentiment", resolved: "Resolved", model: "Model" };
const ANSWERS = { true: "yes", false: "no" };
const BUSY_SECONDS = 5;

const form = byId("report-form");
let shown = null; // {query, from, to, by} of the report in sight

// Shows the report of a place: {by, filters}.
export async function showReport({ by, filters }, signal, focus) {
  document.title = "Reports – Callscribe";
  if (focus) {
    scrollTo(0, 0);
    byId("reports-title").focus();
  }
  const groups = by in GROUPS ? by : USUAL_GROUPS;
  const wanted = { ...filters, date: filters.date ?? USUAL_DATE };
  showForm(groups, wanted);
  const query = queryOfReport(groups, wanted);
  byId("report").ariaBusy = "true";
  byId("report-csv").disabled = true;
  const report = await readPatiently(`v1/reports?${query}`, signal);
  shown = { query, from: report.from, to: report.to, by: groups };
  draw(report, groups, wanted);
}

function queryOfReport(by, filters) {
  const query = conditionsOf(filters);
  const [from, to] = daysOf(filters);
  if (from) query.set("from", from);
  if (to) query.set("to", to);
  query.set("timezone", Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC");
  query.set("by", by);
  return String(query);
}

// Reports are heavy, so the service makes only some at the same time.
async function readPatiently(path, signal) {
  for (;;) {
    try {
      const report = await read(path, signal);
      write(byId("report-note"), "");
      return report;
    } catch (error) {
      if (!error.isTransient) {
        byId("report").hidden = true;
        throw error;
      }
      write(byId("report-note"), "The service cannot be reached or is busy. The page keeps trying.");
      await pause(error.retryAfter ?? BUSY_SECONDS, signal);
    }
  }
}

function draw(report, by, wanted) {
  const { q, date, from, to, ...conditions } = wanted;
  const isWhole = daysOf(wanted).every(Boolean);
  const period = isWhole ? { date, from, to } : { date: OWN_RANGE, from: report.from, to: report.to };
  byId("report").replaceChildren(...drawReport(report, { by, name: GROUPS[by], period, conditions }));
  byId("report").ariaBusy = null;
  byId("report").hidden = false;
  byId("report-csv").disabled = report.totals.calls === 0;
  announce(report.totals.calls ? `The report has ${callsIn(report.totals.calls)}` : "There are no calls in this period");
}

function showForm(by, filters) {
  offerDates(form.elements.date, []);
  form.elements.date.value = filters.date;
  form.elements.by.value = by;
  for (const name of ["from", "to"]) if (form.elements[name] !== document.activeElement) form.elements[name].value = filters[name] ?? "";
  byId("report-range").hidden = filters.date !== OWN_RANGE;
  const conditions = Object.keys(CONDITIONS).filter((name) => filters[name]);
  byId("report-filters").replaceChildren(...conditions.map((name) => conditionOf(name, by, filters)));
}

// A condition that the report has, with a link to the report without it.
function conditionOf(name, by, { [name]: value, ...others }) {
  const words = name === "language" ? languageName(value) : ANSWERS[value] ?? value;
  return element("li", {}, `${CONDITIONS[name]}: `, named(words), " ",
    element("a", { href: addressOfReport(by, others), ariaLabel: `Without ${CONDITIONS[name]} ${words}` }, "×"));
}

function apply() {
  const { date, by, from, to } = Object.fromEntries(new FormData(form));
  const current = new URLSearchParams(location.hash.replace(/^#reports&?/, ""));
  const kept = Object.fromEntries([...Object.keys(CONDITIONS), ...OF_ANALYSIS].map((name) => [name, current.get(name)]));
  byId("report-range").hidden = date !== OWN_RANGE;
  if (date === OWN_RANGE && !from && !to) return form.elements.from.focus();
  location.hash = addressOfReport(by, { ...kept, date, ...(date === OWN_RANGE ? { from, to } : {}) });
}

async function download() {
  const { query, from, to, by } = shown;
  byId("report-csv").disabled = true;
  try {
    const response = await call(`v1/reports?${query}&format=csv`);
    save(await response.blob(), `report-${from}-${to}-${by}.csv`);
  } finally {
    byId("report-csv").disabled = false;
  }
}

export function setUpReports() {
  form.elements.by.replaceChildren(...Object.entries(GROUPS).map(([value, name]) => element("option", { value }, name)));
  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("report-csv").addEventListener("click", () => download().catch(showProblem));
}
