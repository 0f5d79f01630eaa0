// The view of rules: the categories and scorecards of the tenant. A reader who may change them writes them as JSON, as the API does.

import { addressOf } from "./address.js";
import { call, pause, read } from "./api.js";
import { rangeOf } from "./dates.js";
import { byId, element, named, write } from "./elements.js";
import { offerDates } from "./filters.js";
import { announce, showProblem } from "./messages.js";
import { answeredBy, sentencesOf } from "./rule_words.js";
import { callsIn, inWords } from "./words.js";

const FOLLOW_SECONDS = 3;
const KINDS = {
  categories: { name: "category", example: { description: "", role: "customer", any_of: ["refund*", "money back"] } },
  scorecards: { name: "scorecard", example: { description: "", questions: [{ question: "Is nobody on hold for more than a minute?", by: "fact", fact: "longest_hold", at_most: 60, weight: 1 }] } },
};

const dialog = byId("definition-dialog");
const form = byId("definition-form");
const applying = byId("apply-rules");
let edited = null; // {kind, name, isAsked}: what the dialog shows. The name is null if it is new
let leaving = null; // the signal that the reader leaves the view

export async function showDefinitions(signal, focus) {
  document.title = "Rules – Callscribe";
  scrollTo(0, 0);
  leaving = signal;
  write(byId("apply-state"), "");
  if (focus) byId("definitions-title").focus();
  await refresh();
}

async function refresh() {
  const [categories, scorecards] = await Promise.all(["v1/categories", "v1/scorecards"].map((path) => read(path, leaving)));
  show("categories", categories.items, ({ definition }) => sentencesOf(definition).map((text) => element("li", { dir: "auto" }, text)));
  show("scorecards", scorecards.items, ({ definition }) => questionsOf(definition));
  byId("definitions-shown").hidden = false;
}

function show(kind, items, linesOf) {
  byId(kind).replaceChildren(...items.map((item) => cardOf(kind, item, linesOf(item))));
  byId(`no-${kind}`).hidden = items.length > 0;
}

function cardOf(kind, item, lines) {
  const { name, definition } = item;
  const edit = element("button", { type: "button", className: "if-may-transcribe", ariaLabel: `Change ${name}`, onclick: () => open(kind, item) }, "Change…");
  const calls = element("a", { href: addressOf({ [KINDS[kind].name]: name }), ariaLabel: `Calls with the ${KINDS[kind].name} ${name}` }, "Calls");
  return element("li", {}, element("div", { className: "head" }, element("h3", {}, named(name)), calls, edit),
    ...(definition.description ? [element("p", { dir: "auto" }, definition.description)] : []), element("ul", {}, ...lines));
}

function questionsOf({ questions, applies_if: only }) {
  const lines = questions.map((question) => element("li", {}, element("span", { dir: "auto" }, question.question), " ",
    element("span", { className: "quiet" }, `${question.weight ?? 1} ${(question.weight ?? 1) === 1 ? "point" : "points"}. ${answeredBy(question)}.`)));
  return only ? [element("li", {}, "Only for calls in the category “", named(only), "”."), ...lines] : lines;
}

function open(kind, { name, definition }) {
  edited = { kind, name };
  write(byId("definition-title"), name === null ? `New ${KINDS[kind].name}` : `Change the ${KINDS[kind].name}`);
  form.elements.name.value = name ?? "";
  form.elements.name.readOnly = name !== null;
  form.elements.definition.value = JSON.stringify(definition, null, 2);
  byId("definition-delete").hidden = name === null;
  write(byId("definition-delete"), "Delete…");
  complain("");
  dialog.showModal();
  (name === null ? form.elements.name : form.elements.definition).focus();
}

function complain(text) {
  write(byId("definition-problem"), text);
  form.elements.definition.ariaInvalid = text ? "true" : null;
}

const pathOfDefinition = (name) => `v1/${edited.kind}/${encodeURIComponent(name)}`;

// What the service does not accept stays in the dialog, with the reason.
async function change(request, done) {
  complain("");
  try {
    await request();
    dialog.close();
    await refresh();
    announce(done);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!dialog.open) return showProblem(error);
    complain(error.detail || error.errors ? inWords(error) : error.message);
  }
}

function save() {
  const name = form.elements.name.value.trim();
  const body = form.elements.definition.value;
  try {
    JSON.parse(body);
  } catch (error) {
    return complain(`This is not JSON: ${error.message}.`);
  }
  return change(() => call(pathOfDefinition(name), { method: "PUT", body, signal: leaving }), `${name} is saved`);
}

// The first click asks, and the second one deletes.
function remove() {
  const { name } = edited;
  if (!edited.isAsked) {
    edited.isAsked = true;
    write(byId("definition-delete"), "Delete it now");
    return complain("Calls keep what was found in them.");
  }
  return change(() => call(pathOfDefinition(name), { method: "DELETE", signal: leaving }), `${name} is deleted`);
}

// The service queues some thousands of calls with each request.
async function applyToOldCalls() {
  const [after, before] = rangeOf({ date: applying.elements.date.value });
  const chosen = { ...(after ? { created_after: after.toISOString() } : {}), ...(before ? { created_before: before.toISOString() } : {}) };
  let cursor = null;
  do {
    const body = JSON.stringify({ ...chosen, ...(cursor ? { cursor } : {}) });
    const answer = await call("v1/analyses", { method: "POST", body, signal: leaving });
    ({ next_cursor: cursor } = await answer.json());
  } while (cursor);
  await followOldCalls();
}

async function followOldCalls() {
  for (;;) {
    const { pending, in_progress: running } = await read("v1/analyses", leaving);
    write(byId("apply-state"), pending + running ? `${callsIn(pending + running)} to go` : "The rules are applied.");
    if (pending + running === 0) return;
    await pause(FOLLOW_SECONDS, leaving);
  }
}

async function apply() {
  const button = applying.querySelector("button");
  write(byId("apply-state"), "");
  button.disabled = true;
  try {
    await applyToOldCalls();
  } catch (error) {
    if (error.name !== "AbortError") write(byId("apply-state"), error.detail ? inWords(error) : error.message);
  } finally {
    button.disabled = false;
  }
}

export function setUpDefinitions() {
  offerDates(applying.elements.date, [["", "Any time"]]);
  applying.addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
  });
  for (const [kind, { example }] of Object.entries(KINDS)) byId(`new-${kind}`).addEventListener("click", () => open(kind, { name: null, definition: example }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save();
  });
  byId("definition-cancel").addEventListener("click", () => dialog.close());
  byId("definition-delete").addEventListener("click", remove);
}
