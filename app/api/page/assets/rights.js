// What the reader's API key may do. The page hides what the service would refuse anyway.

import { read } from "./api.js";

const NAMES = ["read", "transcribe", "live"];
let scopes = new Set(NAMES);

export const may = (scope) => scopes.has(scope);

// Asks the service who the reader is. Until it has answered, the elements with the classes `if-may-transcribe` and
// `if-may-live` keep their place but are not shown.
export async function learnRights(signal) {
  const caller = await read("v1/keys/current", signal).catch((error) => {
    if (error.name === "AbortError") throw error;
    return { scopes: NAMES }; // because each request says by itself what the key may not do
  });
  scopes = new Set(caller.scopes);
  document.body.classList.toggle("only-reads", !may("transcribe"));
  document.body.classList.toggle("no-live", !may("live"));
  document.body.classList.remove("rights-unknown");
}
