// The list of calls, newest first. It reads the list again while a call on it is unfinished and the tab is visible, and when
// the tab becomes visible again.

import { pause, read } from "./api.js";
import { byId, element, named, write } from "./elements.js";
import { showProblem } from "./messages.js";
import { whenUploadsChange } from "./uploads.js";
import { clock, dateOf, isPartial, isUnfinished, nameOf, statusInList } from "./words.js";

const PAGE = 20;
const LARGEST_PAGE = 100;
const REFRESH_SECONDS = 10;
const TROUBLE_SECONDS = 15;

const list = byId("calls");
let rows = new Map(); // job id → {job, item, …}, newest first
let olderCursor = null;
let wake = () => undefined;

export async function showCalls(signal) {
  rows = new Map();
  list.replaceChildren();
  byId("no-calls").hidden = byId("older").hidden = true;
  byId("older").onclick = () => showOlder(signal).catch(showProblem);
  await refresh(signal);
  keepFresh(signal).catch(showProblem);
}

async function keepFresh(signal) {
  for (let delay = REFRESH_SECONDS; ; ) {
    await untilStale(delay, signal);
    try {
      await refresh(signal);
      write(byId("calls-note"), "");
      delay = REFRESH_SECONDS;
    } catch (error) {
      if (!error.isTransient) throw error;
      write(byId("calls-note"), "The service cannot be reached or is busy. The page keeps trying.");
      delay = Math.max(TROUBLE_SECONDS, error.retryAfter ?? 0);
    }
  }
}

// Ends when the list should be read again: after a while if a call is unfinished, or as soon as `wake` is called.
async function untilStale(delay, signal) {
  const woken = new AbortController();
  wake = () => woken.abort();
  const isDue = () => !document.hidden && (delay > REFRESH_SECONDS || [...rows.values()].some(({ job }) => isUnfinished(job)));
  while (!woken.signal.aborted) {
    const seconds = isDue() ? delay : 1e6;
    await pause(seconds, AbortSignal.any([signal, woken.signal])).catch(() => signal.throwIfAborted());
    if (!document.hidden) return;
  }
}

document.addEventListener("visibilitychange", () => document.hidden || wake());
whenUploadsChange(({ state }) => state === "added" && wake());

async function refresh(signal) {
  const limit = Math.min(LARGEST_PAGE, Math.max(PAGE, rows.size));
  const { items, next_cursor: next } = await read(`v1/transcriptions?limit=${limit}`, signal);
  const isJoined = items.some(({ id }) => rows.has(id));
  if (!isJoined) olderCursor = next;
  const kept = isJoined && next !== null ? [...rows.values()].map(({ job }) => job).filter(({ id }) => id < items.at(-1).id) : [];
  show([...items, ...kept]);
}

async function showOlder(signal) {
  const { items, next_cursor: next } = await read(`v1/transcriptions?limit=${PAGE}&cursor=${olderCursor}`, signal);
  olderCursor = next;
  const known = new Set(rows.keys());
  show([...[...rows.values()].map(({ job }) => job), ...items.filter(({ id }) => !known.has(id))]);
  rows.get(items.find(({ id }) => !known.has(id))?.id)?.link.focus();
}

// Rows that stay are not made again, so that the reader's focus stays too.
function show(jobs) {
  const shown = jobs.map((job) => {
    const row = rows.get(job.id) ?? makeRow(job);
    update(row, job);
    return row;
  });
  for (const [id, { item }] of rows) if (!jobs.some((job) => job.id === id)) item.remove();
  rows = new Map(shown.map((row) => [row.job.id, row]));
  shown.forEach(({ item }, index) => list.children[index] === item || list.insertBefore(item, list.children[index] ?? null));
  byId("no-calls").hidden = shown.length > 0;
  byId("calls-heads").hidden = shown.length === 0;
  byId("older").hidden = olderCursor === null;
}

function makeRow(job) {
  const row = {
    link: element("a", { href: `#${job.id}`, title: nameOf(job) }, named(nameOf(job))),
    about: element("span", { className: "quiet" }),
    status: element("span", { className: "status" }),
    length: element("span", { className: "length" }),
  };
  const time = element("time", { dateTime: job.created_at }, dateOf(job.created_at));
  row.item = element("li", {}, element("div", { className: "what" }, row.link, row.about), row.status, row.length, time);
  return row;
}

function update(row, job) {
  row.job = job;
  const source = job.audio.source === "upload" ? null : job.audio.source;
  const about = [job.external_id, source].filter(Boolean);
  if (row.about.dataset.of !== about.join("\n")) {
    row.about.dataset.of = about.join("\n");
    row.about.replaceChildren(...about.map((text) => element("span", { title: text }, named(text))));
  }
  row.status.className = `status ${isPartial(job) ? "partial" : job.status}`;
  row.status.title = (job.retry ? [job.retry] : job.warnings).map(({ message }) => message).join("\n");
  write(row.status, statusInList(job));
  write(row.length, job.audio.duration === null ? "" : clock(job.audio.duration));
}
