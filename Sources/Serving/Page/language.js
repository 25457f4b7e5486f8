// A page's language: its texts by name, and the code that puts them into the document.

let language = "en";
let words = { en: {} };

/// The texts of the page: for each language, by name.
export function useWords(table) { words = table; }

/// The language of the browser if the page speaks it, else English.
export function browserLanguage() {
  return navigator.languages.map(tag => tag.slice(0, 2)).find(tag => tag in words) ?? "en";
}

/// The text of that name in the page's language, `{name}` replaced by `values.name`.
export function text(name, values = {}) {
  return words[language][name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

/// Switches the language and rewrites all fixed texts of the document.
export function speak(code) {
  language = code in words ? code : "en";
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", text(element.dataset.label));
    if (element.matches("button")) element.title = text(element.dataset.label);
  }
  for (const element of document.querySelectorAll("[data-placeholder]")) {
    element.placeholder = text(element.dataset.placeholder);
  }
}
