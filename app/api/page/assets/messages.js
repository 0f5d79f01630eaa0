// Messages beside the content: problems, progress, and announcements for screen readers.

import { byId, element } from "./elements.js";

export function showProblem(error) {
  if (error.name === "AbortError") return;
  const fields = (error.errors ?? []).map(({ field, detail }) => element("li", {}, `${field}: ${detail}`));
  byId("problem").replaceChildren(
    element("h2", {}, error.requestId || error.detail ? error.message : "Something went wrong on this page"),
    element("p", {}, error.detail ?? error.message),
    ...(fields.length ? [element("ul", {}, ...fields)] : []),
    ...(error.status === 401 ? [element("button", { type: "button", onclick: () => location.reload() }, "Enter a key")] : []),
    ...(error.requestId ? [element("p", { className: "hint" }, `Request ID: ${error.requestId}. Name it if you ask for help.`)] : []),
  );
  byId("problem").hidden = false;
  byId("problem").scrollIntoView({ block: "nearest" });
}

export function hideProblem() {
  byId("problem").hidden = true;
  byId("problem").replaceChildren();
}

// Shows a step and its progress. `done` is between 0 and 1, or null if the progress is not known. A screen reader announces
// each step when it begins, and then each quarter of it.
export function showProgress(step, done) {
  const percent = done === null ? "" : ` ${Math.round(done * 100)} %`;
  byId("step").textContent = step + percent;
  if (done === null) byId("bar").removeAttribute("value");
  else byId("bar").value = done;
  byId("progress").hidden = false;
  announce(done === null ? step : `${step}, ${Math.floor(done * 4) * 25} %`);
}

export function hideProgress() {
  byId("progress").hidden = true;
}

export function announce(text) {
  if (byId("announcement").textContent !== text) byId("announcement").textContent = text;
}

// Sets what the Cancel button does, from now until the next call. It works once.
export function onCancel(act) {
  byId("cancel").disabled = false;
  byId("cancel").onclick = () => {
    byId("cancel").disabled = true;
    act();
  };
}
