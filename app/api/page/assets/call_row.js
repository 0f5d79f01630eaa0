// One row of the list of calls, with the turns in which a search was found, and with why a call failed.

import { addressOfCall } from "./address.js";
import { byId, element, named, write } from "./elements.js";
import { showHits } from "./hits.js";
import { showFailure } from "./retrying.js";
import { showShares } from "./shares.js";
import { whenOf } from "./dates.js";
import { agentOf, clock, dateOf, isPartial, languageName, nameOf, percent, statusInList, urlOf } from "./words.js";

const cell = (className, ...children) => element("div", { className, role: "cell" }, ...children);

export function makeRow(job) {
  const row = {
    job,
    box: element("input", { type: "checkbox", ariaLabel: `Choose ${nameOf(job)}` }),
    link: element("a", { title: nameOf(job), dir: "auto" }, named(nameOf(job))),
    about: element("span", { className: "about" }),
    when: element("time", { dateTime: job.created_at, title: dateOf(job.created_at) }),
    length: cell("length"),
    language: cell("language"),
    shares: cell("shares"),
    agent: cell("agent"),
    status: element("span", { className: "status" }),
    bar: element("progress", { max: 1, ariaLabel: "Transcribed so far" }),
    under: cell("under"),
  };
  row.item = element("div", { className: "row", role: "row" },
    cell("choose", element("label", {}, row.box)), cell("what", row.link, row.about), cell("when", row.when), row.length, row.language,
    row.shares, row.agent, cell("state", row.status, row.bar), row.under);
  row.item.dataset.id = job.id;
  return row;
}

// Writes into the row what the service says of its call now. `q` is what the reader searches for.
export function update(row, job, q) {
  row.job = job;
  const address = addressOfCall(job.id, { q });
  if (row.link.getAttribute("href") !== address) row.link.setAttribute("href", address);
  showAbout(row, job);
  write(row.when, whenOf(job.created_at));
  write(row.length, job.audio.duration === null ? "" : clock(job.audio.duration));
  write(row.language, job.language ? languageName(job.language) : "");
  showShares(row.shares, job);
  if (row.agent.textContent !== (agentOf(job) ?? "")) row.agent.replaceChildren(named(agentOf(job) ?? ""));
  row.status.className = `status ${classOf(job)}`;
  row.status.title = (job.retry ? [job.retry] : job.warnings).map(({ message }) => message).join("\n");
  write(row.status, statusInList(job));
  row.bar.hidden = job.status !== "in_progress";
  row.bar.value = job.progress;
  showUnder(row, job, q);
}

// A call that was tried again needs nothing more from the reader.
function classOf(job) {
  if (isPartial(job)) return "partial";
  return job.retried_as ? "cancelled" : job.status;
}

function showAbout(row, job) {
  const about = [job.external_id, urlOf(job)].filter((text) => text && text !== nameOf(job));
  if (row.about.dataset.of === about.join("\n")) return;
  row.about.dataset.of = about.join("\n");
  row.about.replaceChildren(...about.map((text) => element("span", { title: text, dir: "auto" }, named(text))));
}

function showUnder(row, job, q) {
  const of = JSON.stringify([q, job.hits ?? [], job.hit_count, job.error?.code, job.status]);
  if (row.under.dataset.of === of) return;
  row.under.dataset.of = of;
  row.under.replaceChildren();
  if (job.error) showFailure(row.under, job);
  if (q && job.hits?.length) showHits(row.under, job, q);
  row.under.hidden = !row.under.hasChildNodes();
}
