// Draws a conversation: its messages, what stands below them, and errors.

import { button, copy, element } from "./dom.js";
import { render } from "./markdown.js";
import { picturesElement } from "./picture.js";
import { text } from "./words.js";

function copyButton(source) {
  const result = button(text("copy"), async () => {
    await copy(source);
    result.textContent = text("copied");
    setTimeout(() => { result.textContent = text("copy"); }, 1500);
  });
  return result;
}

/// The message as an element. `actions` has what can be done with it: any of `again`, `goOn` and `edit`; `versions` are the
/// messages in its place, and `choose` shows one of them.
export function messageElement(message, { again, goOn, edit, versions = [], choose } = {}) {
  const isAnswer = message.role === "assistant";
  const content = element("div", { class: "content" });
  const below = element("div", { class: "below" });
  if (versions.length > 1) below.append(...arrows(message, versions, choose));
  if (message.content) below.append(copyButton(message.content));
  if (edit) below.append(button(text("edit"), edit, { class: "edit" }));
  if (goOn) below.append(button(text("goOn"), goOn, { class: "go-on" }));
  if (again) below.append(button(text("regenerate"), again, { class: "again" }));
  if (isAnswer) below.append(element("span", { class: "facts" }, facts(message)));
  const result = element("article", {
    class: "message " + message.role, "aria-label": text(isAnswer ? "answer" : "you"), "data-id": message.id,
  }, content, below);
  if (message.pictures) result.prepend(picturesElement(message.pictures));
  if (!isAnswer) content.textContent = message.content;
  else if (message.content.trim() !== "") render(content, message.content, copyButton);
  else if (message.ending !== "stopped") content.append(element("p", { class: "quiet" }, text("answeredNothing")));
  showReasoning(result, message);
  return result;
}

/// The way to the other versions of a message.
function arrows(message, versions, choose) {
  const at = versions.indexOf(message);
  const arrow = (sign, name, other) => {
    const result = button(sign, () => choose(other, name), { class: "icon " + name, title: text(name), "aria-label": text(name) });
    result.disabled = !other;
    return result;
  };
  return [
    arrow("‹", "earlier", versions[at - 1]),
    element("span", { class: "version", "aria-label": text("version", { number: at + 1, count: versions.length }), role: "img" },
      `${at + 1}/${versions.length}`),
    arrow("›", "later", versions[at + 1]),
  ];
}

/// The field in which a question is edited. `draft.text` follows what is written.
export function editorElement(draft, { send, cancel }) {
  const field = element("textarea", { "aria-label": text("edit") });
  field.value = draft.text;
  field.addEventListener("input", () => { draft.text = field.value; fit(field); });
  field.addEventListener("keydown", event => {
    if (isSending(event)) { event.preventDefault(); send(); }
    if (event.key === "Escape") { event.stopPropagation(); cancel(); }
  });
  return element("article", { class: "message user editing", "aria-label": text("you") }, field,
    element("div", { class: "below" }, button(text("cancel"), cancel),
      button(text("send"), send, { class: "primary" })));
}

/// Whether a key sends what is written. Enter also ends the choice of a word in Chinese and Japanese input (229: what Safari
/// says then).
export function isSending(event) {
  return event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229;
}

/// Makes a field as high as its text.
export function fit(field) {
  field.style.height = "auto";
  field.style.height = field.scrollHeight + "px";
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
    parts.push(text("tokens", { count: message.tokens }));
    if (message.rate) parts.push(text("speed", { rate: message.rate.toFixed(message.rate < 10 ? 1 : 0) }));
    if (message.first) {
      const first = message.first < 1 ? Math.round(message.first * 1000) + " ms" : message.first.toFixed(1) + " s";
      parts.push(text("firstAfter", { first }));
    }
  }
  if (message.ending === "stopped") parts.push(text("stopped"));
  if (message.ending === "length") parts.push(text("cut"));
  return parts.join(" · ");
}

export function welcomeElement() {
  return element("div", { class: "welcome" }, element("h2", {}, text("welcome")), element("p", {}, text("welcomeMore")));
}

export function noticeElement(words) { return element("p", { class: "notice" }, words); }

/// What went wrong, in the page's words; below it, where the server has more to say, its own.
export function errorElement(error, { label, action, limit }) {
  const result = element("div", { class: "error", role: "alert" }, element("p", {}, errorText(error, limit)));
  if (error.kind === "refused" && error.message) result.append(element("p", { lang: "en", class: "server" }, error.message));
  result.append(button(label, action));
  return result;
}

function errorText(error, limit) {
  switch (error.kind) {
    case "key": return text("keyNeeded");
    case "unreachable": return text("unreachable");
    case "brokenOff": return text("brokenOff");
    case "busy": return text("busy", { seconds: error.seconds });
    case "badAnswer": return text("badAnswer", { status: error.status });
    case "storage": return text("storageFull");
    case "tooLong": return limit ? text("tooLong", { limit }) : text("tooLongShort");
    default: return text("refused");
  }
}
