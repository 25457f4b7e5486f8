// The list of conversations.

import { button, element } from "./messages.js";
import { text } from "./words.js";

const list = document.getElementById("conversations");

/// Draws the list. `actions` has open, rename and remove, each called with a conversation.
export function drawList(conversations, current, actions) {
  list.replaceChildren(...conversations.map(conversation => item(conversation, conversation === current, actions)));
}

function item(conversation, isCurrent, actions) {
  const title = conversation.title || text("untitled");
  const open = button(title, () => actions.open(conversation), { class: "open", title });
  if (isCurrent) open.setAttribute("aria-current", "true");
  const rename = button("✎", () => edit(row, conversation, actions), labels("rename", title));
  const remove = button("✕", () => {
    if (confirm(text("confirmRemove", { title }))) actions.remove(conversation);
  }, labels("remove", title));
  const row = element("li", isCurrent ? { class: "current" } : {}, open, element("span", { class: "tools" }, rename, remove));
  return row;
}

function labels(name, title) {
  return { class: name, title: text(name), "aria-label": `${text(name)}: ${title}` };
}

/// Puts a field in place of the title: Enter or leaving it keeps the new one, Escape the old.
function edit(row, conversation, actions) {
  const field = element("input", { "aria-label": text("rename") });
  field.value = conversation.title;
  let isDone = false;
  const finish = title => {
    if (isDone) return;
    isDone = true;
    actions.rename(conversation, title.trim() || conversation.title);
  };
  field.addEventListener("blur", () => finish(field.value));
  field.addEventListener("keydown", event => {
    if (event.isComposing) return;
    if (event.key === "Enter") finish(field.value);
    if (event.key === "Escape") { event.stopPropagation(); finish(""); }
  });
  row.replaceChildren(field);
  field.select();
}
