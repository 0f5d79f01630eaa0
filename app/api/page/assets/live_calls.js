// The calls that go on now, above the list of calls. The list is there only if there are any.

import { addressOfCall } from "./address.js";
import { read, rests } from "./api.js";
import { byId, element, named, write } from "./elements.js";
import { announce, showProblem } from "./messages.js";
import { isSpeaking, ownCall, whenSpeaking } from "./microphone.js";
import { clock, nameOfLive } from "./words.js";

const REFRESH_SECONDS = 10;

let rows = new Map(); // id → {item, …}
const { rest, wake } = rests();

export const isKnownLive = (id) => rows.has(id) || (isSpeaking() && ownCall().id === id);

// Keeps the list fresh while the reader sees the calls. It is not worth a message if that fails.
export async function showLiveCalls(signal) {
  await refresh(signal);
  keepFresh(signal).catch(showProblem);
}

async function keepFresh(signal) {
  const ticking = setInterval(showClocks, 1000);
  try {
    for (;;) {
      await rest(REFRESH_SECONDS, signal);
      await refresh(signal);
    }
  } finally {
    clearInterval(ticking);
  }
}

async function refresh(signal) {
  const items = await read("v1/live", signal).then((answer) => answer.items, (error) => {
    if (error.name === "AbortError") throw error;
    return error.isTransient ? null : [];
  });
  if (items === null) return;
  const before = rows;
  rows = new Map(items.map((call) => [call.id, { ...(before.get(call.id) ?? makeRow(call)), call, at: performance.now() }]));
  for (const row of rows.values()) showRow(row);
  byId("live-calls-list").replaceChildren(...[...rows.values()].map(({ item }) => item));
  byId("live-calls").hidden = rows.size === 0;
  if (rows.size > before.size) announce(rows.size === 1 ? "1 live call" : `${rows.size} live calls`);
}

function makeRow(call) {
  const row = { link: element("a", { href: addressOfCall(call.id) }, named(nameOfLive(call))), who: element("span", { className: "who quiet" }), time: element("span", { className: "time" }), state: element("span") };
  return { ...row, item: element("li", {}, row.state, row.link, row.who, row.time) };
}

function showRow({ call, who, state, ...row }) {
  const isOwn = isSpeaking() && ownCall().id === call.id;
  write(who, isOwn ? "your microphone" : call.channels.map(({ label }) => label).join(", "));
  state.className = `status live ${call.status}`;
  write(state, call.status === "interrupted" ? "Interrupted" : "Live");
  showClock({ call, ...row });
}

const showClock = ({ call, at, time }) => write(time, clock(call.seconds + (call.status === "running" ? (performance.now() - at) / 1000 : 0)));

function showClocks() {
  for (const row of rows.values()) showClock(row);
}

export function setUpLiveCalls() {
  whenSpeaking(wake);
  document.addEventListener("visibilitychange", () => document.hidden || wake());
}
