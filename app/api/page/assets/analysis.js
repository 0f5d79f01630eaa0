// The analysis of a call: what a language model says about it, and what rules found in it. The two are shown apart.

import { call, followAnalysis, pathOf, read } from "./api.js";
import { markMoods } from "./dialogue.js";
import { byId, element, named, terms, write } from "./elements.js";
import { placesOf, useTurns } from "./evidence.js";
import { announce, showProblem } from "./messages.js";
import { may } from "./rights.js";
import { moodsOf } from "./moods.js";
import { categoriesOf, scoresOf } from "./found_by_rules.js";
import { searchFor } from "./search.js";
import { languageName, nextTry } from "./words.js";

const STATES = {
  pending: "The call waits for its analysis.",
  in_progress: "The call is being analysed.",
  failed: "The language model has not judged this call.",
};
const ADVICE = {
  judgement_unavailable: "The language model could not be reached.",
  judgement_refused: "The language model refused the request. The operator of the service can correct this.",
  judgement_unfit: "The language model did not answer in a usable way. Try again, or ask the operator for another model.",
};
const LEFT_OUT = "because the call does not show";

let duration = 0; // of the call, in seconds

// Reads the analysis of a call that has one. It returns null otherwise, and also if the call was erased at the same time.
export async function readAnalysis(job, signal) {
  if (!job.links.analysis) return null;
  return read(`${pathOf(job.id)}/analysis`, signal).catch((error) => {
    if (error.name === "AbortError") throw error;
    if (error.status !== 404) showProblem(error);
    return null;
  });
}

export const hideAnalysis = () => (byId("analysis").hidden = true);

// Shows an analysis, and follows it until it has ended.
export function showAnalysis(analysis, job, transcript, signal) {
  byId("analysis").hidden = analysis === null;
  if (analysis === null) return;
  useTurns(transcript.turns);
  duration = transcript.duration;
  byId("analyse").onclick = () => analyseAgain(job, signal).catch(showProblem);
  show(analysis);
  if (!hasEnded(analysis)) follow(job, signal).catch(showProblem);
}

const hasEnded = ({ status }) => status === "completed" || status === "failed";

async function follow(job, signal) {
  for await (const analysis of followAnalysis(job.id, signal)) show(analysis);
  announce("The analysis has ended");
}

async function analyseAgain(job, signal) {
  byId("analyse").disabled = true;
  try {
    show(await (await call(`${pathOf(job.id)}/analyse`, { method: "POST", signal })).json());
  } finally {
    byId("analyse").disabled = false;
  }
  await follow(job, signal);
}

function show(analysis) {
  showState(analysis);
  showJudgement(analysis);
  showRules(analysis);
  markMoods(analysis.sentiment?.turns ?? []);
}

function showState(analysis) {
  const { status, error, retry } = analysis;
  const why = error ?? retry;
  const texts = [
    STATES[status],
    why && (ADVICE[why.code] ?? why.message),
    retry && `The service tries again ${nextTry(retry)}.`,
  ].filter(Boolean);
  write(byId("analysis-state"), texts.join(" "));
  write(byId("analysis-error"), error ? `${error.message} (${error.code})` : "");
  byId("analysis-state").classList.toggle("alarm", status === "failed");
  byId("analysis-waits").hidden = hasEnded(analysis) || retry !== null;
  byId("analyse").hidden = !hasEnded(analysis) || !may("transcribe");
}

function showJudgement(analysis) {
  const judged = analysis.model !== null || analysis.summary !== null;
  byId("judgement").hidden = !judged;
  if (!judged) return;
  byId("judged-summary").replaceChildren(...said(analysis.summary));
  byId("judged-facts").replaceChildren(...terms(answersOf(analysis)));
  byId("judged-tasks").replaceChildren(...(analysis.action_items ?? []).map((item) => element("li", {}, ...said(item))));
  byId("judged-tasks-part").hidden = !analysis.action_items?.length;
  byId("judged-moods").replaceChildren(...moodsOf(analysis.sentiment, duration));
  byId("judged-moods-part").hidden = !byId("judged-moods").hasChildNodes();
  byId("judged-keywords").replaceChildren(...(analysis.keywords ?? []).map(keyword));
  byId("judged-keywords-part").hidden = !analysis.keywords?.length;
  write(byId("judged-by"), originOf(analysis));
}

// Returns a statement of the model with what leads to its turns.
const said = (statement) => (statement ? [element("span", { dir: "auto" }, statement.text), ...placesOf(statement.turns)] : []);

function answersOf({ reason, outcome, resolved, intent }) {
  const isKnown = resolved !== null;
  return [
    ["Reason", said(reason)],
    ["Outcome", said(outcome)],
    ["Resolved", isKnown ? [resolved.value ? "Yes" : "No", ...placesOf(resolved.turns)] : ["The call does not show it"]],
    ["Intent", intent ? [named(intent.value), ...placesOf(intent.turns)] : []],
  ].filter(([, value]) => value.length);
}

const keyword = (word) =>
  element("li", {}, element("button", { type: "button", ariaLabel: `Find ${word} in the dialogue`, onclick: () => searchFor(word) }, named(word)));

function originOf({ model, prompt_version: version, language, dropped }) {
  const left = dropped === 1 ? `1 statement was left out, ${LEFT_OUT} it` : `${dropped.toLocaleString()} statements were left out, ${LEFT_OUT} them`;
  const parts = [model && `Model ${model}`, version && `prompts ${version}`, language && `in ${languageName(language)}`].filter(Boolean);
  return [parts.join(", "), dropped ? left : ""].filter(Boolean).map((text) => `${text}.`).join(" ");
}

function showRules({ categories, scores }) {
  const found = categories ?? [];
  byId("rules").hidden = categories === null;
  byId("in-categories").replaceChildren(...categoriesOf(found));
  byId("in-no-category").hidden = found.length > 0;
  byId("scored").hidden = !scores?.length;
  byId("scores").replaceChildren(...scoresOf(scores ?? []));
}

byId("to-dialogue").addEventListener("click", () => {
  byId("transcript").scrollIntoView();
  byId("search").focus({ preventScroll: true });
});
