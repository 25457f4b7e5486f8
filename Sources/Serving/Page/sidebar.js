// The list of conversations, and the search in it.

import { button, element } from "./dom.js";
import { text } from "./words.js";

const list = document.getElementById("conversations");
const search = document.getElementById("search");

/// What the list shows. It stays as it is while that is the same: a person who has a finger or the focus on it keeps it when an
/// answer ends elsewhere.
let drawn = [];

/// Draws the list, or of it what the search finds. `actions` has open, rename and remove, each called with a conversation.
export function drawList(conversations, current, actions) {
  const wanted = search.value.trim().toLowerCase();
  const found = conversations.map(conversation => ({ conversation, match: find(conversation, wanted) })).filter(({ match }) => match);
  const shown = [wanted, text("rename"), current, ...found.flatMap(({ conversation, match }) =>
    [conversation, conversation.title, match.message, match.excerpt?.textContent])];
  if (shown.length === drawn.length && shown.every((value, index) => value === drawn[index])) return;
  drawn = shown;
  list.replaceChildren(...found.map(({ conversation, match }) => item(conversation, conversation === current, match, actions)));
  if (wanted && found.length === 0) list.append(element("li", { class: "quiet none" }, text("foundNothing")));
}

/// Where a conversation holds a text: {} for its title, {message, excerpt} for a message of any branch; null for nowhere.
function find(conversation, wanted) {
  if (conversation.title.toLowerCase().includes(wanted)) return {};
  for (const message of conversation.messages) {
    const at = message.content.toLowerCase().indexOf(wanted);
    if (at >= 0) return { message, excerpt: excerpt(message.content, at, wanted.length) };
  }
  return null;
}

/// A line around a place of a text, which is marked.
function excerpt(content, at, length) {
  const start = Math.max(0, at - 18);
  return element("span", { class: "excerpt" }, (start > 0 ? "…" : "") + content.slice(start, at),
    element("mark", {}, content.slice(at, at + length)), content.slice(at + length, at + length + 60));
}

function item(conversation, isCurrent, match, actions) {
  const title = conversation.title || text("untitled");
  const open = button(title, () => actions.open(conversation, match.message), { class: "open", title });
  if (match.excerpt) open.append(match.excerpt);
  if (isCurrent) open.setAttribute("aria-current", "true");
  const rename = button("✎", () => edit(row, conversation, actions), labels("rename", title));
  const remove = button("✕", () => {
    if (confirm(text("confirmRemove", { title }))) actions.remove(conversation);
  }, labels("remove", title));
  const row = element("li", { ...(isCurrent ? { class: "current" } : {}), "data-id": conversation.id }, open,
    element("span", { class: "tools" }, rename, remove));
  return row;
}

function labels(name, title) {
  return { class: name, title: text(name), "aria-label": `${text(name)}: ${title}` };
}

/// Puts a field in place of the title: Enter or leaving it keeps the new one, Escape the old.
function edit(row, conversation, actions) {
  const field = element("input", { "aria-label": text("rename") });
  drawn = [];
  field.value = conversation.title;
  let isDone = false;
  const finish = (title, byKey) => {
    if (isDone) return;
    isDone = true;
    actions.rename(conversation, title.trim() || conversation.title);
    // The row has been drawn again.
    if (byKey) list.querySelector(`[data-id="${conversation.id}"] .open`)?.focus();
  };
  field.addEventListener("blur", () => finish(field.value, false));
  field.addEventListener("keydown", event => {
    if (event.isComposing) return;
    if (event.key === "Enter") { event.preventDefault(); finish(field.value, true); }
    if (event.key === "Escape") { event.stopPropagation(); finish("", true); }
  });
  row.replaceChildren(field);
  field.select();
}
