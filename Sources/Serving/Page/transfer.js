// Conversations as files: saved as JSON, with all branches, or as Markdown, and read from JSON.

import { download } from "./dom.js";
import { isConversation, newConversation } from "./store.js";
import { isPictureURL } from "./picture.js";
import { branch, fromList } from "./tree.js";
import { text } from "./words.js";

const dialog = document.getElementById("transfer");
const picker = document.getElementById("import-file");
const note = document.getElementById("transfer-note");
const format = "minimind-conversations";

/// Connects the dialog. `current` and `all` return what there is to save; `take` gets the conversations of a file.
export function useTransfer({ current, all, take }) {
  const on = (id, action) => document.getElementById(id).addEventListener("click", action);
  on("open-transfer", () => {
    note.textContent = "";
    const hasMessages = current().messages.length > 0;
    for (const id of ["save-json", "save-markdown"]) document.getElementById(id).disabled = !hasMessages;
    document.getElementById("save-all").disabled = all().length === 0;
    dialog.showModal();
  });
  on("save-json", () => save(fileName(current()), [current()]));
  on("save-all", () => save("minimind", all()));
  on("save-markdown", () => download(fileName(current()) + ".md", markdown(current()), "text/markdown"));
  on("import", () => picker.click());
  picker.addEventListener("change", async () => {
    const file = picker.files[0];
    if (!file) return;
    const { conversations, skipped } = read(await file.text());
    picker.value = "";
    note.textContent = conversations.length === 0 ? text("importedNothing", { name: file.name })
      : text(skipped > 0 ? "importedSome" : "imported", { count: conversations.length, skipped });
    if (conversations.length > 0) take(conversations);
  });
}

function save(name, conversations) {
  download(name + ".json", JSON.stringify({ format, version: 1, conversations }, null, 1), "application/json");
}

/// The title without what a file's name may not hold.
function fileName(conversation) {
  return conversation.title.replace(/[\\/:*?"<>|\u0000-\u001f]+/g, " ").trim().replace(/^\.+/, "").slice(0, 60) || "minimind";
}

/// The branch that is shown, to be read by people.
function markdown(conversation) {
  const part = (heading, content) => `## ${heading}\n\n${content}\n`;
  return [
    `# ${conversation.title}\n`, ...(conversation.system ? [part(text("system"), conversation.system)] : []),
    ...branch(conversation).map(({ role, content, pictures = [] }) => part(text(role === "user" ? "you" : "answer"),
      [...pictures.map(url => `![](${url})`), content].join("\n\n"))),
  ].join("\n");
}

/// The conversations of a file, and how many entries were none. Beside the page's own form it reads lists of `messages` as
/// OpenAI's API has them, in one object, a list of objects, or one a line, as `/save` of `minimind chat` writes them.
function read(source) {
  const result = { conversations: [], skipped: 0 };
  for (const entry of entries(source)) {
    const conversation = entry?.id === undefined ? fromMessages(entry) : entry;
    if (isConversation(conversation)) result.conversations.push({ ...newConversation(), ...known(conversation) });
    else result.skipped++;
  }
  return result;
}

function entries(source) {
  try {
    const value = JSON.parse(source);
    return value?.format === format && Array.isArray(value.conversations) ? value.conversations : [value].flat();
  } catch {
    return source.split("\n").filter(line => line.trim() !== "").map(line => {
      try { return JSON.parse(line); } catch { return null; }
    });
  }
}

/// What the page reads of a conversation. It gets an id of its own, so that reading a file twice overwrites nothing.
function known({ title, system, messages, at }) { return { title, system, messages: messages.map(knownMessage), at }; }

function knownMessage(message) {
  const { id, parent, role, content } = message;
  const result = { id, parent, role, content };
  const pictures = Array.isArray(message.pictures) ? message.pictures.filter(isPictureURL) : [];
  if (role === "user" && pictures.length > 0) result.pictures = pictures;
  for (const name of ["tokens", "rate", "first"]) if (message[name] > 0) result[name] = Number(message[name]);
  if (typeof message.reasoning === "string") result.reasoning = message.reasoning;
  if (["stop", "length", "stopped"].includes(message.ending)) result.ending = message.ending;
  if (message.forgot === true) result.forgot = true;
  return result;
}

function fromMessages(entry) {
  if (!Array.isArray(entry?.messages)) return null;
  const isSystem = message => message?.role === "system" || message?.role === "developer";
  const messages = entry.messages.filter(message => !isSystem(message)).map(message => ({
    role: message?.role, content: message?.content, reasoning: message?.reasoning_content,
  }));
  const system = entry.messages.filter(isSystem).map(({ content }) => content).join("\n");
  const title = String(entry.title ?? messages.find(({ role }) => role === "user")?.content ?? "").split("\n")[0].slice(0, 60);
  return { id: "", title, system, messages };
}
