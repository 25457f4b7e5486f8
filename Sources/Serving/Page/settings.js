// The dialog of settings: system prompt, sampling, API key.

import { key } from "./client.js";
import { element } from "./dom.js";
import { load, save } from "./store.js";
import { text } from "./words.js";

const dialog = document.getElementById("settings");
const form = dialog.querySelector("form");

/// The settings of sampling: the name of the text, that of the request's field, and the field's limits.
const sampling = [
  ["temperature", "temperature", { min: 0, max: 2, step: 0.05 }],
  ["topP", "top_p", { min: 0, max: 1, step: 0.01 }],
  ["topK", "top_k", { min: 0, step: 1 }],
  ["minP", "min_p", { min: 0, max: 1, step: 0.01 }],
  ["repetitionPenalty", "repetition_penalty", { min: 0.1, max: 2, step: 0.05 }],
  ["maximumTokens", "max_tokens", { min: 1, step: 1 }],
  ["seed", "seed", { min: 0, step: 1 }],
];

for (const [name, field, limits] of sampling) {
  const input = element("input", { name: field, type: "number", inputmode: "decimal", ...limits });
  document.getElementById("sampling").append(element("label", {}, element("span", { "data-text": name }), input));
}

/// Shows in the empty fields what the server takes for them.
export function showDefaults(defaults) {
  for (const [, field] of sampling) form.elements[field].placeholder = defaults[field] ?? "";
}

/// What a request says of sampling and thinking: only what has been set.
export function samplingFields() {
  const values = load("sampling", {});
  const result = {};
  for (const [, field] of sampling) if (Number.isFinite(values[field])) result[field] = values[field];
  const thinking = document.getElementById("thinking").hidden ? "" : values.thinking;
  if (thinking) result.enable_thinking = thinking === "on";
  return result;
}

/// Shows the dialog for a conversation. `onClose` is called when it is done, after the conversation has its system prompt.
export function openSettings(conversation, { focusKey = false, onClose }) {
  if (dialog.open) return;
  const values = load("sampling", {});
  for (const [, field] of sampling) form.elements[field].value = values[field] ?? "";
  form.elements.thinking.value = values.thinking ?? "";
  form.elements.system.value = conversation.system;
  form.elements.key.value = key.get();
  dialog.showModal();
  form.elements[focusKey ? "key" : "system"].focus();
  dialog.addEventListener("close", () => {
    const chosen = {};
    for (const [, field] of sampling) {
      const input = form.elements[field];
      if (input.value !== "" && input.validity.valid) chosen[field] = input.valueAsNumber;
    }
    if (form.elements.thinking.value !== "") chosen.thinking = form.elements.thinking.value;
    save("sampling", chosen);
    conversation.system = form.elements.system.value.trim();
    key.set(form.elements.key.value.trim());
    onClose();
  }, { once: true });
}

document.getElementById("defaults").addEventListener("click", () => {
  for (const [, field] of sampling) form.elements[field].value = "";
  form.elements.thinking.value = "";
  document.getElementById("status").textContent = text("samplingHelp");
});
