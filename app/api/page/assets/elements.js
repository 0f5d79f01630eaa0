// Makes elements. Everything that the service sends becomes text nodes, never markup.

export const byId = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Returns a name from outside. `bdi` keeps a name that is written from right to left from moving the text beside it.
export const named = (name) => element("bdi", {}, name);

// Writes only what has changed, so that a screen reader stays where it is and does not read an unchanged text again.
export function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

export const terms = (facts) =>
  facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, ...[value].flat())));
