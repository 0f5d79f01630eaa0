// Shows one of five views, as the page's address says: the list of calls, the form for new recordings, reports, rules, or one call.

import { addressOf, here } from "./address.js";
import { forgetKey, storedKey, useKey, whenKeyIsNeeded } from "./api.js";
import { setUpAdding } from "./add.js";
import { emptyCalls, leaveCalls, rowOf, showCalls, wakeCalls } from "./calls.js";
import { setUpDefinitions, showDefinitions } from "./definitions.js";
import { byId, write } from "./elements.js";
import { setUpErasing } from "./erasing.js";
import { setUpExport } from "./exporting.js";
import { offerAllLanguages, setUpFilters, showFilters } from "./filters.js";
import { showJob } from "./job.js";
import { setUpKeyboard } from "./keyboard.js";
import { hideProblem, showProblem } from "./messages.js";
import { setUpLive } from "./live.js";
import { setUpLiveCalls, showLiveCalls } from "./live_calls.js";
import { showModels } from "./options.js";
import { unload } from "./player.js";
import { afterRetry } from "./retrying.js";
import { setUpReports, showReport } from "./reports.js";
import { learnRights, may } from "./rights.js";
import { setUpSpeaking } from "./speaking.js";
import { showNoKey, showNoScope, showRefusal } from "./states.js";
import { setUpCode, showCode } from "./use_from.js";

// Each is the name of a view, and the id of its section.
const VIEWS = [["calls", "home"], ["add", "add"], ["reports", "reports"], ["rules", "definitions"], ["call", "job"]];

let leaving = new AbortController();
let before = null; // the place that was shown before

async function showView() {
  const place = here();
  const isFirst = before === null;
  const isSameView = before?.view === place.view && place.view === "calls";
  if (before?.view === "calls" && !isSameView) leaveCalls();
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  hideProblem();
  const opened = before?.id;
  const beforeView = before?.view;
  before = place;
  for (const [view, id] of VIEWS) byId(id).hidden = view !== place.view;
  if (place.view !== "call") unload();
  for (const view of ["calls", "add", "reports", "rules"]) byId(`to-${view}`).ariaCurrent = place.view === view ? "page" : null;
  try {
    if (place.view === "calls") await showHome(place, signal, isFirst || isSameView ? null : opened);
    else if (place.view === "add") await showAdding(signal, !isFirst);
    else if (place.view === "reports") await showReport(place, signal, !isFirst && beforeView !== "reports");
    else if (place.view === "rules") await showDefinitions(signal, !isFirst);
    else await showJob(place, signal, !isFirst);
  } catch (error) {
    if (place.view === "calls") showTroubleOfCalls(error);
    else showProblem(error);
  }
}

// `opened` is the id of the call from which the reader comes back, or undefined, or null if the focus stays where it is.
async function showHome({ filters }, signal, opened) {
  document.title = filters.q ? `${filters.q} – Callscribe` : "Calls – Callscribe";
  byId("to-calls").href = byId("back").href = addressOf(filters);
  write(byId("back-to"), Object.keys(filters).length ? "The calls that you have found" : "All calls");
  showFilters(filters);
  if (opened !== null) (rowOf(opened)?.link ?? byId("home-title")).focus({ preventScroll: true });
  await showCalls(filters, signal);
  await showLiveCalls(signal);
  await offerAllLanguages(signal);
}

function showTroubleOfCalls(error) {
  if (error.name === "AbortError") return;
  emptyCalls();
  if (error.status === 401) showNoKey();
  else if (error.status === 403 && storedKey() !== null) showNoScope(useAnotherKey);
  else if (error.status === 422) showRefusal(error);
  else showProblem(error);
}

async function showAdding(signal, focus) {
  document.title = "Add recordings – Callscribe";
  scrollTo(0, 0);
  if (focus) byId("add-title").focus();
  await rightsKnown;
  if (!may("transcribe")) return showProblem({ message: "Your key may not add recordings", detail: "Ask the operator of the service for a key with the scope “transcribe”." });
  await showModels(signal).finally(showCode); // because the answer shows whether the service needs a key
}

function askForKey(refused) {
  const dialog = byId("key-dialog");
  const field = byId("key");
  byId("forget").hidden = true;
  byId("key-reason").textContent = refused
    ? "The service does not know this key. Enter another one."
    : "This service needs an API key. The page keeps your key until you close this tab.";
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "given";
      if (given) useKey(field.value.trim());
      field.value = "";
      byId("forget").hidden = storedKey() === null;
      resolve(given);
    }, { once: true });
  });
}

function useAnotherKey() {
  forgetKey();
  location.reload();
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  byId("key-dialog").close("given");
});
byId("key-cancel").addEventListener("click", () => byId("key-dialog").close());
byId("forget").addEventListener("click", () => {
  forgetKey();
  location.assign(location.pathname);
});
byId("forget").hidden = storedKey() === null;
whenKeyIsNeeded(askForKey);
afterRetry(wakeCalls);
history.scrollRestoration = "manual";
window.addEventListener("hashchange", showView);
setUpAdding();
setUpCode();
setUpFilters();
setUpReports();
setUpDefinitions();
setUpExport();
setUpLive();
setUpLiveCalls();
setUpSpeaking();
setUpErasing();
setUpKeyboard();
const rightsKnown = learnRights().catch(showProblem);
showView();
