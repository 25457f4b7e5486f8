// The keys that do something, and the dialog that lists them.

import { element } from "./dom.js";

const dialog = document.getElementById("shortcuts");
const command = /^(Mac|iP)/.test(navigator.platform) ? "⌘" : "Ctrl+";

/// Keys as they are shown, and the text that says what they do.
const keys = [
  ["Enter", "keySend"], ["Shift+Enter", "keyLine"], ["Esc", "keyStop"], ["↑", "keyEdit"], [command + "K", "search"],
  [command + "Shift+O", "newConversation"], [command + "/", "shortcuts"],
];
for (const [key, name] of keys) {
  document.getElementById("shortcut-list").append(
    element("dt", {}, element("kbd", {}, key)), element("dd", { "data-text": name }));
}

/// Connects the keys; `escape`, `search` and `create` are called for theirs.
export function useShortcuts({ escape, search, create }) {
  document.addEventListener("keydown", event => {
    if (document.querySelector("dialog[open]") || event.isComposing) return;
    const key = event.key.toLowerCase();
    const hasCommand = (event.ctrlKey || event.metaKey) && !event.altKey;
    const action = key === "escape" ? escape
      : hasCommand && !event.shiftKey && key === "k" ? search
      : hasCommand && event.shiftKey && key === "o" ? create
      : hasCommand && key === "/" ? () => dialog.showModal() : null;
    if (!action) return;
    if (key !== "escape") event.preventDefault();
    action();
  });
  document.getElementById("open-shortcuts").addEventListener("click", () => dialog.showModal());
}
