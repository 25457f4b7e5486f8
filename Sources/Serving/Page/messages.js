// Draws a conversation: its messages, what stands below them, and errors.

import { render } from "./markdown.js";
import { text } from "./words.js";

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

function copyButton(source) {
  const result = button(text("copy"), async () => {
    await copy(source);
    result.textContent = text("copied");
    setTimeout(() => { result.textContent = text("copy"); }, 1500);
  });
  return result;
}

async function copy(source) {
  // Browsers have a clipboard for scripts on https and on this machine only; elsewhere the old way still works.
  if (navigator.clipboard) return navigator.clipboard.writeText(source);
  const field = element("textarea", { class: "visually-hidden" });
  field.value = source;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

/// The message as an element. `again`, if there is one, asks the question once more.
export function messageElement(message, again) {
  const isAnswer = message.role === "assistant";
  const content = element("div", { class: "content" });
  const below = element("div", { class: "below" }, copyButton(message.content));
  if (again) below.append(button(text("regenerate"), again, { class: "again" }));
  if (isAnswer) below.append(element("span", { class: "facts" }, facts(message)));
  const result = element(
    "article", { class: "message " + message.role, "aria-label": text(isAnswer ? "answer" : "you") }, content, below);
  if (isAnswer) render(content, message.content, copyButton); else content.textContent = message.content;
  showReasoning(result, message);
  return result;
}

/// What the model wrote before its answer, folded up; open as long as there is no answer.
function showReasoning(result, message) {
  if (!message.reasoning) return;
  let details = result.querySelector(".reasoning");
  if (!details) {
    details = element("details", { class: "reasoning" }, element("summary", {}, text("reasoning")), element("p", {}));
    details.open = message.content === "";
    result.prepend(details);
  }
  details.querySelector("p").textContent = message.reasoning.trim();
  if (message.content !== "" && !details.isDecided) {
    details.open = false;
    details.isDecided = true;
  }
}

/// The element of an answer that is still being written.
export function runningElement(message) {
  const result = element(
    "article", { class: "message assistant running", "aria-label": text("answer"), "aria-busy": "true" },
    element("div", { class: "content" }),
    element("div", { class: "below", "aria-hidden": "true" }, element("span", { class: "facts" })));
  updateRunning(result, message);
  return result;
}

export function updateRunning(result, message) {
  showReasoning(result, message);
  render(result.querySelector(".content"), message.content, copyButton);
  result.querySelector(".facts").textContent = message.tokens ? facts({ ...message, ending: undefined }) : "";
}

function facts(message) {
  const parts = [];
  if (message.tokens) {
    const first = message.first < 1 ? Math.round(message.first * 1000) + " ms" : message.first.toFixed(1) + " s";
    const rate = message.rate?.toFixed(message.rate < 10 ? 1 : 0);
    parts.push(text(rate ? "speed" : "speedShort", { tokens: message.tokens, rate, first }));
  }
  if (message.ending === "stopped") parts.push(text("stopped"));
  if (message.ending === "length") parts.push(text("cut"));
  return parts.join(" · ");
}

export function welcomeElement() {
  return element("div", { class: "welcome" }, element("h2", {}, text("welcome")), element("p", {}, text("welcomeMore")));
}

export function noticeElement(words) { return element("p", { class: "notice" }, words); }

/// What went wrong, in the page's words or the server's own.
export function errorElement(error, retry) {
  return element("div", { class: "error", role: "alert" }, element("p", {}, errorText(error)), button(text("retry"), retry));
}

function errorText(error) {
  switch (error.kind) {
    case "key": return text("keyNeeded");
    case "unreachable": return text("unreachable");
    case "brokenOff": return text("brokenOff");
    case "busy": return text("busy", { seconds: error.seconds });
    case "badAnswer": return text("badAnswer", { status: error.status });
    case "storage": return text("storageFull");
    default: return error.message;
  }
}
