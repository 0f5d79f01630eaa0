// Draws a report: totals, groups, categories, keywords, and the calls that stand out.

import { addressOf, addressOfCall, addressOfReport } from "./address.js";
import { dayInWords, daysInWords, whenOf } from "./dates.js";
import { element, named } from "./elements.js";
import { callsIn, clock, languageName, percent, period as lengthOf } from "./words.js";

const OVER_TIME = ["day", "week", "month"];
const SINGLE = ["category", "scorecard", "intent", "model"];
const MOODS = ["positive", "neutral", "negative"];
const MOST_CATEGORIES = 8; // columns of a table
const MOST_WORDS = 3; // of a group
const WITHOUT = { agent: "No agent", language: "No language", category: "In no category", intent: "No intent", sentiment: "Not judged", model: "No model" };
const STATUSES = { pending: "unfinished", in_progress: "unfinished", waiting: "unfinished" };

// `asked` is {by, name, period, conditions}: what the groups are and are called, and the filters of the list that has all calls.
export function drawReport(report, asked) {
  const { totals, groups } = report;
  if (totals.calls === 0) return [emptyState(asked)];
  const page = { ...asked, report };
  return [
    tilesOf(totals, page),
    ...notesOf(totals),
    ...(OVER_TIME.includes(asked.by) ? [columnsOf(groups, page)] : []),
    section(`For each ${asked.name.toLowerCase()}`, tableOf(groups, page), ...leftOut(report)),
    ...(asked.by === "category" ? [] : categoriesOf(groups, page)),
    element("div", { className: "report-parts" }, ...wordsOf(page), ...intentsOf(page), ...callsThatStandOut(page)),
  ].flat();
}

const emptyState = ({ conditions }) => element("div", { className: "report-empty" }, element("h2", {}, "There are no calls in this period"),
  element("p", {}, Object.keys(conditions).length ? "Other conditions are set too. Take them away, or choose other days." : "Choose other days."));

function notesOf({ sentiment, categories, scores, completed }) {
  if (completed === 0) return [element("p", { className: "hint" }, "No call of this period is transcribed yet, so there are no figures of what was said.")];
  const texts = [];
  if (sentiment.calls === 0) texts.push("No language model has judged calls of this period, so there is no sentiment, no reason and no intent. If no language model is set up, the operator of the service can change that.");
  if (!Object.keys(categories).length && !Object.keys(scores).length) texts.push("No rule has found anything in these calls. Under Rules you see which categories and scorecards there are.");
  return texts.map((text) => element("p", { className: "hint" }, text));
}

const section = (title, ...content) => element("section", {}, element("h2", {}, title), ...content);

// A link to the calls of a figure. `narrower` are further filters, or null if the list cannot show just these calls. It cannot
// either if a filter must have two values, such as calls in two categories.
function linkTo(text, narrower, { period, conditions }, label) {
  const isTwice = (name) => conditions[name] && narrower[name] && conditions[name] !== narrower[name];
  if (narrower === null || SINGLE.some(isTwice)) return element("span", { title: label ?? "" }, text);
  const link = element("a", { href: addressOf({ ...period, ...conditions, ...narrower }) }, text);
  if (label) link.ariaLabel = link.title = label;
  return link;
}

// What the list's filters must be to show only the calls of a group, or null if they cannot.
function filtersOf({ value, from, to, links }, by) {
  if (OVER_TIME.includes(by)) return { date: "range", from, to };
  if (value === null || links.calls === null) return null;
  return { [by]: by === "status" ? STATUSES[value] ?? value : value };
}

function nameOf({ value, from, to }, by) {
  if (by === "day") return dayInWords(from);
  if (OVER_TIME.includes(by)) return daysInWords(from, to);
  if (value === null) return WITHOUT[by] ?? "None";
  return by === "language" ? languageName(value) : value;
}

const share = (part, whole) => (whole ? part / whole : null);
const hours = (seconds) => `${(seconds / 3600).toLocaleString([], { maximumFractionDigits: 1 })} h`;
const number = (value) => value.toLocaleString([], { maximumFractionDigits: 1 });
const score = (value) => `${value >= 0.005 ? "+" : value <= -0.005 ? "−" : ""}${Math.abs(value).toFixed(2)}`;

// Says how a figure has changed since the period before. `isGood` is whether more is better, or null if it is neither.
function trendOf(now, before, inWords, isGood) {
  if (before === null || before === undefined || now === null) return [];
  const change = now - before;
  const words = inWords(Math.abs(change));
  if (/^0(\.0+)?(\D|$)/.test(words)) return [" ", element("span", { className: "trend", title: "As in the period before" }, "=")];
  const kind = isGood === null ? "" : change > 0 === isGood ? "good" : "bad";
  return [" ", element("span", { className: `trend ${kind}`, title: `${words} ${change > 0 ? "more" : "less"} than in the period before` },
    element("span", { ariaHidden: "true" }, change > 0 ? "▲" : "▼"), element("span", { className: "unseen" }, change > 0 ? "more by" : "less by"), ` ${words}`)];
}

const inPoints = (change) => `${Math.round(change * 100)}`;

function tilesOf(totals, page) {
  const { previous: before } = totals;
  const tile = (name, figure, trend, ...more) => element("div", {}, element("dt", {}, name), element("dd", {}, figure, ...trend), ...more.map((each) => element("dd", { className: "more" }, each)));
  const tiles = [
    tile("Calls", linkTo(totals.calls.toLocaleString(), {}, page), trendOf(totals.calls, before?.calls, number, null), hours(totals.seconds)),
    totals.failed > 0 && tile("Failed", linkTo(totals.failed.toLocaleString(), { status: "failed" }, page), trendOf(totals.failed, before?.failed, number, false)),
    totals.waiting > 0 && tile("Waiting", linkTo(totals.waiting.toLocaleString(), { status: "unfinished" }, page), []),
    totals.mean_seconds !== null && tile("Mean length", linkTo(clock(totals.mean_seconds), { status: "completed" }, page), trendOf(totals.mean_seconds, before?.mean_seconds, lengthOf, null)),
    totals.talk.silence_share !== null && tile("Silence", linkTo(percent(totals.talk.silence_share), { status: "completed" }, page), trendOf(totals.talk.silence_share, before?.talk.silence_share, inPoints, false)),
    totals.talk.holds > 0 && tile("Calls on hold", linkTo(totals.talk.calls_with_holds.toLocaleString(), { status: "completed" }, page), trendOf(totals.talk.calls_with_holds, before?.talk.calls_with_holds, number, false), `${clock(totals.talk.hold_seconds)} in total`),
    totals.agent.talk_share !== null && tile("Agents talk", linkTo(percent(totals.agent.talk_share), { status: "completed" }, page), trendOf(totals.agent.talk_share, before?.agent.talk_share, inPoints, null)),
    totals.sentiment.calls > 0 && tile("Customers' sentiment", moodBar(totals.sentiment, {}, page), [],
      element("span", {}, `mean ${score(totals.sentiment.score)}, from −1 to +1`, ...trendOf(totals.sentiment.score, before?.sentiment.score, (change) => change.toFixed(2), true))),
    totals.resolved.calls > 0 && tile("Resolved", linkTo(percent(totals.resolved.share), { resolved: "true" }, page), trendOf(totals.resolved.share, before?.resolved.share, inPoints, true), linkTo(`${totals.resolved.no.toLocaleString()} not resolved`, { resolved: "false" }, page)),
    ...Object.entries(totals.scores).map(([name, { percent: points, calls }]) =>
      tile(named(`Score: ${name}`), linkTo(`${Math.round(points)} %`, { scorecard: name }, page), trendOf(points, before?.scores[name]?.percent, (change) => String(Math.round(change)), true), callsIn(calls))),
  ];
  return element("dl", { className: "tiles" }, ...tiles.filter(Boolean));
}

// Three links whose widths are the numbers of calls with each mood.
function moodBar({ calls, ...moods }, narrower, page) {
  const shown = MOODS.filter((mood) => moods[mood] > 0);
  return element("span", { className: "mood-bar" }, ...shown.map((mood) => {
    const text = percent(moods[mood] / calls);
    const part = linkTo(element("span", {}, text), narrower && { ...narrower, sentiment: mood }, page, `${mood}: ${callsIn(moods[mood])}, ${text}`);
    part.classList.add(mood);
    part.style.flexGrow = moods[mood];
    return part;
  }));
}

// The numbers of calls over time as a chart of columns, whose lower part are failed calls.
function columnsOf(groups, page) {
  const most = Math.max(1, ...groups.map(({ calls }) => calls));
  const columns = groups.map((group) => {
    const label = `${nameOf(group, page.by)}: ${callsIn(group.calls)}${group.failed ? `, ${group.failed.toLocaleString()} failed` : ""}`;
    const [bar, failed] = [element("span", { className: "column" }), element("span", { className: "failed" })];
    bar.style.height = `${(100 * group.calls) / most}%`;
    failed.style.height = `${group.calls ? (100 * group.failed) / group.calls : 0}%`;
    bar.append(failed);
    const link = linkTo("", filtersOf(group, page.by), page, label);
    link.append(bar);
    return link;
  });
  const ends = groups.length > 1 ? [groups[0], groups.at(-1)] : groups;
  return section("Calls over time", element("div", { className: "columns" }, ...columns),
    element("p", { className: "ends", ariaHidden: "true" }, ...ends.map((group) => element("span", {}, nameOf(group, page.by)))));
}

// The columns of the table of groups. Those in which no group has a figure are not shown.
function headsOf(totals, groups, page) {
  const most = Math.max(1, ...groups.map(({ calls }) => calls));
  const plain = (text, filters) => (group, own) => (text(group) === null ? "–" : linkTo(text(group), own && { ...own, ...filters }, page));
  return [
    ["Calls", (group, own) => barred(linkTo(group.calls.toLocaleString(), own, page), group.calls / most, trendOf(group.calls, group.previous?.calls, number, null))],
    totals.failed > 0 && ["Failed", plain(({ failed }) => (failed ? failed.toLocaleString() : null), { status: "failed" })],
    totals.completed > 0 && ["Mean length", plain(({ mean_seconds: mean }) => mean === null ? null : clock(mean), { status: "completed" })],
    totals.talk.silence_share !== null && ["Silence", plain(({ talk }) => talk.silence_share === null ? null : percent(talk.silence_share), { status: "completed" })],
    totals.talk.interruption_calls > 0 && ["Interruptions a call", plain(({ talk }) => talk.interruption_calls ? number(talk.interruptions / talk.interruption_calls) : null, { status: "completed" })],
    totals.agent.talk_share !== null && ["Agent talks", plain(({ agent }) => agent.talk_share === null ? null : percent(agent.talk_share), { status: "completed" })],
    totals.sentiment.calls > 0 && ["Sentiment", ({ sentiment, previous }, own) => sentiment.calls === 0 ? "–"
      : element("span", { className: "with-trend" }, moodBar(sentiment, own, page), element("span", {}, score(sentiment.score), ...trendOf(sentiment.score, previous?.sentiment.score, (change) => change.toFixed(2), true)))],
    totals.resolved.calls > 0 && ["Resolved", plain(({ resolved }) => resolved.share === null ? null : percent(resolved.share), { resolved: "true" })],
    ...Object.keys(totals.scores).map((name) => [`Score: ${name}`, ({ scores, previous }, own) => scores[name]?.possible
      ? element("span", {}, linkTo(`${Math.round(scores[name].percent)} %`, own && { ...own, scorecard: name }, page), ...trendOf(scores[name].percent, previous?.scores[name]?.percent, (change) => String(Math.round(change)), true))
      : "–"]),
    !OVER_TIME.includes(page.by) && groups.some(({ keywords }) => keywords.length) && ["Typical words", ({ keywords }, own) =>
      element("span", { className: "words-of" }, ...keywords.slice(0, MOST_WORDS).map(({ word }) => linkTo(word, own && { ...own, q: `"${word}"` }, page)))],
  ].filter(Boolean);
}

function barred(link, part, trend) {
  const bar = element("span", { className: "bar", ariaHidden: "true" });
  bar.style.width = `${100 * part}%`;
  return element("span", { className: "barred" }, element("span", {}, link, ...trend), bar);
}

function tableOf(groups, page) {
  const heads = headsOf(page.report.totals, groups, page);
  return tableWith([page.name, ...heads.map(([name]) => name)], groups.map((group) => {
    const own = filtersOf(group, page.by);
    return [rowHead(group, own, page), ...heads.map(([, cell]) => cell(group, own))];
  }));
}

// The name of a group leads to the report of this group only.
function rowHead(group, own, page) {
  const name = named(nameOf(group, page.by));
  if (own === null) return name;
  const by = page.by === "day" ? "agent" : "day";
  return element("a", { href: addressOfReport(by, { ...page.period, ...page.conditions, ...own }) }, name);
}

const tableWith = (heads, rows) => element("div", { className: "wide" }, element("table", { className: "report-table" },
  element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, named(head))))),
  element("tbody", {}, ...rows.map(([head, ...cells]) => element("tr", {}, element("th", { scope: "row" }, head), ...cells.map((cell) => element("td", {}, cell)))))));

const leftOut = ({ groups_left_out: count }) => (count ? [element("p", { className: "hint" }, `${count.toLocaleString()} smaller groups are not shown.`)] : []);

// How many calls of each group are in each category.
function categoriesOf(groups, page) {
  const names = Object.keys(page.report.totals.categories).slice(0, MOST_CATEGORIES);
  if (!names.length) return [];
  const rows = [null, ...groups].map((group) => {
    const figures = group ?? page.report.totals;
    const own = group ? filtersOf(group, page.by) : {};
    return [group ? rowHead(group, own, page) : "All", ...names.map((name) => {
      const count = figures.categories[name] ?? 0;
      if (count === 0) return "–";
      const part = share(count, figures.completed);
      const before = figures.previous && (share(figures.previous.categories[name] ?? 0, figures.previous.completed) ?? null);
      return element("span", {}, linkTo(count.toLocaleString(), own && { ...own, category: name }, page), " ",
        element("span", { className: "quiet" }, part === null ? "" : percent(part)), ...trendOf(part, before, inPoints, null));
    })];
  });
  const rest = Object.keys(page.report.totals.categories).length - names.length;
  return [section("Calls in categories", tableWith([page.name, ...names], rows),
    ...(rest > 0 ? [element("p", { className: "hint" }, `${rest} rarer categories are not shown. The CSV has them, and so has the report for each category.`)] : []))];
}

// A list of names with a bar each, whose lengths are numbers of calls.
function barsOf(counts, filterOf, page) {
  const most = Math.max(1, ...counts.map(([, count]) => count));
  return element("ul", { className: "bars" }, ...counts.map(([name, count]) =>
    element("li", {}, named(name), barred(linkTo(count.toLocaleString(), filterOf(name), page, `${name}: ${callsIn(count)}`), count / most, []))));
}

function wordsOf(page) {
  const { report } = page;
  const words = report.totals.keywords.map(({ word, calls }) => [word, calls]);
  if (!words.length) return [];
  const { keywords_from_calls: looked } = report;
  return [section("Keywords", element("p", { className: "hint" }, "The words that are said in the most calls, without those that are in every call.",
    looked !== null && looked < report.totals.completed ? ` They are of the newest ${callsIn(looked)}.` : ""), barsOf(words, (word) => ({ q: `"${word}"` }), page))];
}

function intentsOf(page) {
  const intents = Object.entries(page.report.totals.intents);
  if (!intents.length || page.by === "intent") return [];
  return [section("What customers want", barsOf(intents, (intent) => ({ intent }), page))];
}

function callsThatStandOut({ report }) {
  return [
    standOut("Longest holds", report.longest_holds, ({ value }) => clock(value)),
    standOut("Most interruptions", report.most_interrupted, ({ value }) => `${value} ×`),
    standOut("Lowest scores", report.lowest_scores, ({ value, scorecard }) => `${Math.round(value)} %, ${scorecard}`),
  ].flat();
}

// Each call is shown at the moment that the figure is about.
function standOut(title, found, inWords) {
  if (!found?.length) return [];
  return [section(title, element("ol", { className: "stand-out" }, ...found.map((each) =>
    element("li", {}, element("a", { href: addressOfCall(each.id, { at: each.start, plays: each.start !== null }) }, named(inWords(each))), " ",
      element("span", { className: "quiet" }, ...(each.agent ? [named(each.agent), ", "] : []), whenOf(each.created_at))))))];
}
