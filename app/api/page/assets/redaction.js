// What the service took out of a call: the words that stand for it in the text, as chips with a plain name.

import { element } from "./elements.js";

const NAMES = {
  CREDIT_DEBIT_NUMBER: "card number",
  CREDIT_DEBIT_CVV: "security code of a card",
  PIN: "PIN or password",
  BANK_ACCOUNT_NUMBER: "bank account",
  PHONE: "phone number",
  EMAIL: "e-mail address",
  ID_NUMBER: "number of a document",
  ADDRESS: "address",
  NAME: "name",
  DATE_OF_BIRTH: "date of birth",
  NUMBER: "number",
};
const LABEL = new RegExp(`\\[(${Object.keys(NAMES).join("|")})\\]`);

// Whether something is taken out of the call, so that its recording is private until it is silenced.
export const isRedacted = ({ options, redactions }) => options.redact.length > 0 || (redactions ?? null) !== null;

// Says what was taken out, or returns null for a call of which nothing was to be taken out.
export function takenOutOf({ options, redactions }) {
  if ((redactions ?? null) === null) return options.redact.length > 0 ? "Not yet" : null;
  const counts = Object.entries(redactions).map(([name, count]) => `${NAMES[name] ?? name}: ${count}`);
  const kept = options.redact_keep ? ". The original is kept for people who may see it" : "";
  return `${counts.join(", ") || "Nothing private was found"}${kept}`;
}

// Whether the recording of the call may be played by everybody who may read the call.
export const mayBePlayed = (job) => !isRedacted(job) || job.status === "completed";

// Returns the text in parts: strings, and a chip for each label such as `[PHONE]`.
export function chipped(text) {
  return text.split(LABEL).map((part, index) => (index % 2 ? chip(NAMES[part]) : part));
}

const chip = (name) => element("span", { className: "redacted", title: `The service took this out of the call: ${name}.` }, name);
