// Messages beside the content: problems, and announcements for screen readers.

import { byId, element } from "./elements.js";

export function showProblem(error) {
  if (error.name === "AbortError") return;
  const fields = (error.errors ?? []).map(({ field, detail }) => element("li", {}, `${field}: ${detail}`));
  byId("problem").replaceChildren(
    element("h2", {}, error.requestId || error.detail ? error.message : "Something went wrong on this page"),
    element("p", {}, error.detail ?? error.message),
    ...(error.advice ? [element("p", {}, error.advice)] : []),
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

export function announce(text) {
  if (byId("announcement").textContent !== text) byId("announcement").textContent = text;
}
