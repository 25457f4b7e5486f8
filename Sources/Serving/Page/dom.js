// Elements and buttons, and how text leaves the page.

/// An element with attributes and children; a string among these becomes a text node.
export function element(name, attributes = {}, ...children) {
  const result = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) result.setAttribute(key, value);
  result.append(...children);
  return result;
}

export function button(label, action, attributes = {}) {
  const result = element("button", { type: "button", ...attributes }, label);
  result.addEventListener("click", action);
  return result;
}

/// Puts text on the clipboard.
export async function copy(text) {
  // Browsers have a clipboard for scripts on https and on this machine only; elsewhere the old way still works.
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = element("textarea", { class: "visually-hidden" });
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

/// Lets the browser save text as a file.
export function download(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
