// Why a call failed, and the button that tries it again. A call that has ended never changes, so the service makes a new call.

import { addressOfCall } from "./address.js";
import { call, pathOf } from "./api.js";
import { element } from "./elements.js";
import { announce, showProblem } from "./messages.js";
import { adviceOn, canBeRetried, forReaders, nameOf } from "./words.js";

const retried = new Map(); // job id → the id of its retry, if the reader has just asked for it
let whenRetried = () => undefined;

export const afterRetry = (act) => (whenRetried = act);

// Adds to `place` why a call in the list failed.
export function showFailure(place, job) {
  const reason = element("p", { className: job.status === "failed" ? "failure" : "failure quiet" }, forReaders(job.error.message));
  place.append(reason, retryButton(job));
}

export function retryButton(job) {
  const made = element("span", { className: "if-may-transcribe again" });
  showAgain(made, job);
  return made;
}

function showAgain(place, job) {
  const next = retried.get(job.id) ?? job.retried_as;
  if (next) place.replaceChildren("Tried again: ", element("a", { href: addressOfCall(next) }, "open the new call"));
  else if (canBeRetried(job)) place.replaceChildren(element("button", { type: "button", ariaLabel: `Try again: ${nameOf(job)}`, onclick: ({ target }) => retry(job, place, target) }, "Try again"));
  else place.replaceChildren(element("span", { className: "quiet" }, adviceOn(job.error?.code)));
}

async function retry(job, place, button) {
  button.disabled = true;
  try {
    const response = await call(`${pathOf(job.id)}/retry`, { method: "POST" });
    retried.set(job.id, (await response.json()).id);
    showAgain(place, job);
    place.querySelector("a").focus();
    announce(`${nameOf(job)} is tried again as a new call`);
    whenRetried();
  } catch (error) {
    button.disabled = false;
    showProblem(error);
  }
}
