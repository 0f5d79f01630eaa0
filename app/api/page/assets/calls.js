// The list of calls, newest first: it reads them page by page as the reader scrolls, and shows new ones and changes while the tab
// is visible.

import { pause, read, rests } from "./api.js";
import { makeRow, update } from "./call_row.js";
import { chosenStay } from "./chosen.js";
import { byId, write } from "./elements.js";
import { offerAgents, offerAnalysisFilters, offerLanguages, queryOf } from "./filters.js";
import { announce, showProblem } from "./messages.js";
import { hideState, showAway, showNoCalls } from "./states.js";
import { whenUploadsChange } from "./uploads.js";
import { agentOf, callsIn, isUnfinished } from "./words.js";

const FIRST_PAGE = 50;
const LARGEST_PAGE = 100;
const REFRESH_SECONDS = 10;
const IDLE_REFRESH_SECONDS = 30; // if no call is unfinished and nothing new came for a while, or if the list is a search
const IDLE_AFTER = 6; // refreshes without a change
const TROUBLE_SECONDS = 15;
const AHEAD_PIXELS = 1500; // how far from its end the list grows

const { rest, wake } = rests();
const list = byId("calls");
let shown = { query: null, filters: {}, q: "" };
let rows = []; // of the calls, newest first: {job, item, …}
let byJob = new Map(); // job id → row
let olderCursor = null;
let readingOlder = null;
let unchanged = 0;
let until = null; // the signal that the reader leaves this list
let scrolled = 0;

export const shownRows = () => rows;
export const hasOlder = () => olderCursor !== null;
export const rowOf = (id) => byJob.get(id);
export const rowAt = (item) => byJob.get(item.dataset.id);

// Shows the calls that the filters let through. If they are shown already, the list stays as the reader left it.
export async function showCalls(filters, signal) {
  const query = queryOf(filters);
  if (query !== shown.query) {
    shown = { query: null, filters, q: filters.q ?? "" };
    scrolled = 0;
    list.ariaBusy = "true";
  }
  unchanged = 0;
  until = signal;
  byId("older").onclick = () => showOlder(signal).catch(showTrouble);
  scrollTo(0, scrolled);
  const delay = await freshen(query, signal);
  keepFresh(query, delay, signal).catch(showProblem);
}

// Remembers where the reader is, because the list is about to be hidden.
export const leaveCalls = () => (scrolled = scrollY);
export const wakeCalls = wake;

async function keepFresh(query, first, signal) {
  for (let delay = first; ; ) {
    await rest(delay, signal);
    delay = await freshen(query, signal);
  }
}

// Reads the newest calls, and returns after how many seconds to read them again.
async function freshen(query, signal) {
  try {
    await refresh(query, signal);
    write(byId("calls-note"), "");
  } catch (error) {
    if (!error.isTransient) throw error;
    showTrouble(error);
    return Math.max(TROUBLE_SECONDS, error.retryAfter ?? 0);
  }
  const isIdle = unchanged > IDLE_AFTER && !rows.some(({ job }) => isUnfinished(job));
  return isIdle || shown.q ? IDLE_REFRESH_SECONDS : REFRESH_SECONDS;
}

function showTrouble(error) {
  if (error.name === "AbortError") return;
  if (!error.isTransient) showProblem(error);
  else if (rows.length) write(byId("calls-note"), "The service cannot be reached or is busy. The page keeps trying.");
  else showAway(wake);
}

document.addEventListener("visibilitychange", () => document.hidden || wake());
whenUploadsChange(({ state }) => state === "added" && wake());

async function refresh(query, signal) {
  const isOther = query !== shown.query;
  const limit = isOther ? FIRST_PAGE : Math.min(LARGEST_PAGE, Math.max(FIRST_PAGE, rows.length));
  const { items, next_cursor: next } = await read(pathOfPage(query, limit), signal);
  const isNew = isOther || (items.length > 0 && !items.some(({ id }) => byJob.has(id))); // nothing joins it to the rows
  const older = isNew || next === null ? [] : rows.filter(({ job }) => !items.length || job.id < items.at(-1).id);
  if (isNew || next === null) olderCursor = next;
  shown.query = query;
  show(items, older, isOther);
}

const pathOfPage = (query, limit, cursor) =>
  `v1/transcriptions?${[query, `limit=${limit}`, cursor && `cursor=${encodeURIComponent(cursor)}`].filter(Boolean).join("&")}`;

async function showOlder(signal) {
  if (olderCursor === null || readingOlder === olderCursor || list.ariaBusy) return;
  const cursor = (readingOlder = olderCursor);
  const { query } = shown;
  try {
    const { items, next_cursor: next } = await read(pathOfPage(query, LARGEST_PAGE, cursor), signal);
    if (query !== shown.query || cursor !== olderCursor) return;
    olderCursor = next;
    append(items.filter(({ id }) => !byJob.has(id)));
  } finally {
    readingOlder = null;
  }
  showOlderIfNear();
}

// Reads the list up to its end, but no more than `most` calls.
export async function showUpTo(most) {
  try {
    while (olderCursor !== null && rows.length < most) {
      await showOlder(until);
      await pause(0.05, until); // because the list may grow by itself at the same time
    }
  } catch (error) {
    showTrouble(error);
  }
}

// The reader comes near the end of the list, or a page of a search had few calls or none.
function showOlderIfNear() {
  const isNear = !byId("older").hidden && byId("older").getBoundingClientRect().top < innerHeight + AHEAD_PIXELS;
  if (isNear && !byId("home").hidden) byId("older").click();
}

function append(jobs) {
  const fresh = jobs.map((job) => makeRow(job));
  for (const row of fresh) update(row, row.job, shown.q);
  rows = [...rows, ...fresh];
  for (const row of fresh) byJob.set(row.job.id, row);
  list.append(...fresh.map(({ item }) => item));
  chosenStay(byJob);
  describe(jobs);
}

// Shows `items` as the newest calls, and after them the rows `older`. Rows that stay are not made again, so the reader's focus
// stays too, and the list does not move under the reader's eyes.
function show(items, older, isOther) {
  const fresh = items.filter(({ id }) => !byJob.has(id));
  const anchor = isOther ? null : rows.find(({ item }) => item.getBoundingClientRect().bottom > 0);
  const before = anchor?.item.getBoundingClientRect().top;
  const isChanged = isOther || fresh.length > 0 || items.length + older.length !== rows.length;
  const newest = items.map((job) => {
    const row = (isOther ? null : byJob.get(job.id)) ?? makeRow(job);
    update(row, job, shown.q);
    return row;
  });
  if (isChanged) place([...newest, ...older]);
  if (anchor?.item.isConnected && scrollY > 0) scrollBy(0, anchor.item.getBoundingClientRect().top - before);
  unchanged = isChanged ? 0 : unchanged + 1;
  list.ariaBusy = null;
  if (isOther) scrollTo(0, scrolled);
  else if (fresh.length) announce(`${callsIn(fresh.length, "new ")}`);
  describe(items);
  showOlderIfNear();
}

function place(wanted) {
  const stays = new Set(wanted);
  for (const row of rows) if (!stays.has(row)) row.item.remove();
  let next = list.firstElementChild;
  for (const { item } of wanted) {
    if (item === next) next = next.nextElementSibling;
    else list.insertBefore(item, next);
  }
  rows = wanted;
  byJob = new Map(rows.map((row) => [row.job.id, row]));
  chosenStay(byJob);
}

function describe(jobs) {
  offerLanguages(jobs.map(({ language }) => language).filter(Boolean));
  offerAgents(jobs.map(agentOf).filter(Boolean));
  if (jobs.some(({ links }) => links.analysis)) offerAnalysisFilters(until).catch(showTrouble);
  if (rows.length || olderCursor !== null) hideState();
  else showNoCalls(shown.filters);
  byId("calls-table").hidden = rows.length === 0;
  if (jobs.some(agentOf)) byId("calls-table").classList.add("with-agents");
  byId("older").hidden = olderCursor === null;
}

// Takes all calls off the list, because the service does not show them.
export function emptyCalls() {
  olderCursor = null;
  shown.query = null;
  place([]);
  byId("calls-table").hidden = byId("older").hidden = true;
  list.ariaBusy = null;
}

// Takes calls off the list that the service no longer has.
export function removeCalls(ids) {
  const gone = new Set(ids);
  place(rows.filter(({ job }) => !gone.has(job.id)));
  describe([]);
}

addEventListener("scroll", showOlderIfNear, { passive: true });
