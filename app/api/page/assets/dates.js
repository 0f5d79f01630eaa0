// Days as a reader names them: ranges such as "last week", and times in words. Pure, apart from the reader's locale.

const TIME = new Intl.DateTimeFormat([], { timeStyle: "short" });
const DAY = new Intl.DateTimeFormat([], { weekday: "short", day: "numeric", month: "short" });
const DAY_OF_YEAR = new Intl.DateTimeFormat([], { day: "numeric", month: "short", year: "numeric" });
const SHORT = new Intl.DateTimeFormat([], { day: "numeric", month: "short" });
const MONDAY = 1;

const startOf = (day, later = 0) => new Date(day.getFullYear(), day.getMonth(), day.getDate() + later);
const firstOfMonth = (day, later) => new Date(day.getFullYear(), day.getMonth() + later, 1);

// Each is [name, range]. The range is the first moment and the first one after it.
const NAMED = {
  today: ["Today", (today) => days(today, 0, 1)],
  yesterday: ["Yesterday", (today) => days(today, -1, 1)],
  "this-week": ["This week", (today) => days(today, -dayOfWeek(today), 7)],
  "last-week": ["Last week", (today) => days(today, -dayOfWeek(today) - 7, 7)],
  "last-7-days": ["Last 7 days", (today) => days(today, -6, 7)],
  "last-30-days": ["Last 30 days", (today) => days(today, -29, 30)],
  "this-month": ["This month", (today) => [firstOfMonth(today, 0), firstOfMonth(today, 1)]],
  "last-month": ["Last month", (today) => [firstOfMonth(today, -1), firstOfMonth(today, 0)]],
};

const days = (today, first, count) => [startOf(today, first), startOf(today, first + count)];

// Returns how many days the week of `day` is old, which begins on Monday unless the reader's locale says otherwise.
function dayOfWeek(day) {
  const locale = new Intl.Locale(DAY.resolvedOptions().locale);
  const first = (locale.getWeekInfo?.() ?? locale.weekInfo)?.firstDay ?? MONDAY;
  return (day.getDay() - first + 7) % 7;
}

// Returns the first moment of the filters' range, and the first one after it. Either is null if the range is open there.
export function rangeOf({ date, from, to }, now = new Date()) {
  if (date === "range") return [dayIn(from), dayIn(to, 1)];
  if (!(date in NAMED)) return [null, null];
  return NAMED[date][1](now);
}

function dayIn(text, later = 0) {
  const parts = /^(\d{4,6})-(\d\d)-(\d\d)$/.exec(text ?? "");
  return parts && startOf(new Date(Number(parts[1]), parts[2] - 1, Number(parts[3])), later);
}

// Returns the first and the last day of the filters' range, such as 2026-11-28. Either is null if the range is open there.
export function daysOf(filters, now = new Date()) {
  const [first, next] = rangeOf(filters, now);
  return [first && isoDay(first), next && isoDay(startOf(next, -1))];
}

export const isoDay = (day) => [String(day.getFullYear()).padStart(4, "0"), ...[day.getMonth() + 1, day.getDate()].map((number) => String(number).padStart(2, "0"))].join("-");

export const dayInWords = (text) => DAY.format(dayIn(text));
export const daysInWords = (first, last) => SHORT.formatRange(dayIn(first), dayIn(last));

// Returns the value and the text of each choice of a range.
export const choicesOfDate = (now = new Date()) => Object.entries(NAMED).map(([value, [name]]) => {
  const [first, next] = rangeOf({ date: value }, now);
  const last = startOf(next, -1);
  const span = first.getTime() === last.getTime() ? DAY.format(first) : SHORT.formatRange(first, last);
  return [value, `${name} (${span})`];
});

// Returns which calls the range lets through, as words after "No call": "of last week". They are empty if it lets all through.
export function rangeInWords({ date, from, to }) {
  if (date in NAMED) return `of ${NAMED[date][0].toLowerCase().replace(/^last (?=\d)/, "the last ")}`;
  const [first, last] = [from, to].map((day) => date === "range" && dayIn(day) && DAY_OF_YEAR.format(dayIn(day)));
  if (first && last) return first === last ? `of ${first}` : `from ${first} to ${last}`;
  if (first) return `since ${first}`;
  return last ? `until ${last}` : "";
}

// Returns a time as words that a list has room for: "Today, 14:05".
export function whenOf(time, now = new Date()) {
  const at = new Date(time);
  return `${nameOfDay(at, now)}, ${TIME.format(at)}`;
}

function nameOfDay(at, now) {
  const days = Math.round((startOf(now) - startOf(at)) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return (days > 0 && days < 300 ? DAY : DAY_OF_YEAR).format(at);
}
