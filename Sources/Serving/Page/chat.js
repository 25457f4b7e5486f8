// The chat page. Conversations live in `all`; each that is being answered has an entry in `runs`, so an answer goes on
// while another conversation is looked at.

import { receive } from "./asking.js";
import { ServerError, models } from "./client.js";
import { allowPictures, clearDraft, openDraft, useComposer } from "./composer.js";
import {
  editorElement, errorElement, fit, messageElement, noticeElement, runningElement, updateRunning, welcomeElement,
} from "./messages.js";
import { openSettings, samplingFields, showDefaults } from "./settings.js";
import { useShortcuts } from "./shortcuts.js";
import { drawList } from "./sidebar.js";
import * as store from "./store.js";
import { useTransfer } from "./transfer.js";
import * as tree from "./tree.js";
import { browserLanguage, speak, text } from "./words.js";

const part = id => document.getElementById(id);
const [messages, scroll, question, status] = ["messages", "scroll", "question", "status"].map(part);

let all = store.conversations();
let current = all.find(conversation => conversation.id === store.load("current")) ?? all[0] ?? store.newConversation();
/// By conversation: {controller, message, element}.
const runs = new Map();
/// By conversation: what went wrong last; under null, what went wrong when the models were asked for.
const errors = new Map();
/// The question that is being edited: {message, text}.
let editing = null;
/// The tokens that the model can read and write together; 0 until the server has said it.
let contextLength = 0;

// MARK: Drawing

/// Draws the conversation and goes to its end; with `keepsPlace` the reader stays where he is.
function draw({ keepsPlace = false } = {}) {
  const place = scroll.scrollTop;
  drawConversations();
  const run = runs.get(current);
  const error = errors.get(current) ?? errors.get(null);
  const shown = tree.branch(current);
  const elements = shown.map((message, index) => {
    if (message === run?.message) return (run.element = runningElement(message));
    if (message === editing?.message) return editorElement(editing, { send: sendEdited, cancel: cancelEditing });
    return messageElement(message, actions(message, index === shown.length - 1, Boolean(run), error));
  });
  if (shown.some(message => message.forgot)) elements.unshift(noticeElement(text("forgotten")));
  if (elements.length === 0) elements.push(welcomeElement());
  if (error) elements.push(errorElement(error, remedy(error)));
  messages.replaceChildren(...elements);
  const editor = messages.querySelector(".editing textarea");
  if (editor) fit(editor);
  scroll.scrollTop = keepsPlace ? place : scroll.scrollHeight;
  part("send").hidden = Boolean(run);
  part("stop").hidden = !run;
}

/// What can be done with a message: nothing new while an answer is being written.
function actions(message, isLast, isRunning, error) {
  if (isRunning) return {};
  const result = { versions: tree.versions(current, message), choose };
  if (message.role === "user") result.edit = () => edit(message);
  // Below an error stands a button that does the same.
  if (isLast && !error) {
    result.again = () => askAgain(current);
    const isUnfinished = message.ending === "length" || message.ending === "stopped";
    if (isUnfinished && message.content.trim() !== "") result.goOn = () => run(current, message);
  }
  return result;
}

/// The button below an error, and what its sentence needs.
function remedy(error) {
  if (!errors.has(current)) return { label: text("retry"), action: loadModels };
  return error.kind === "tooLong" ? { label: text("edit"), action: editLast, limit: contextLength }
    : { label: text("retry"), action: () => askAgain(current) };
}

function drawConversations() {
  const title = current.title || text("untitled");
  part("title").textContent = title;
  document.title = current.title ? `${title} · MiniMind` : "MiniMind";
  drawList(all, current, {
    open,
    rename(conversation, title) { conversation.title = title; keep(conversation); drawConversations(); },
    remove(conversation) {
      runs.get(conversation)?.controller.abort();
      all = all.filter(other => other !== conversation);
      store.removeConversation(conversation);
      open(conversation === current ? all[0] ?? store.newConversation() : current);
    },
  });
}

/// Shows a conversation; with a message, the branch and the place of that.
function open(conversation, message = null) {
  current = conversation;
  editing = null;
  if (message && !runs.has(current)) tree.choose(current, message);
  store.save("current", current.id);
  document.body.classList.remove("listing");
  openDraft(current);
  draw();
  if (message) messages.querySelector(`[data-id="${message.id}"]`)?.scrollIntoView({ block: "start" });
  question.focus();
}

/// Shows another version of a message. The pointer stays over the arrow, and the keyboard at it.
function choose(message, arrow) {
  tree.choose(current, message);
  errors.delete(current);
  editing = null;
  keep(current);
  draw({ keepsPlace: true });
  const arrows = [...messages.querySelectorAll(`[data-id="${message.id}"] :is(.earlier, .later)`)];
  (arrows.find(element => element.matches("." + arrow) && !element.disabled) ?? arrows.find(element => !element.disabled))?.focus();
}

/// Writes a conversation to the browser's store, unless it has been deleted in the meantime.
function keep(conversation) {
  if (all.includes(conversation) && !store.saveConversation(conversation)) {
    errors.set(conversation, new ServerError("storage"));
  }
}

// MARK: Asking

function ask(content, pictures = [], parent = current.at) {
  editing = null;
  tree.add(current, { role: "user", content, ...(pictures.length > 0 ? { pictures } : {}) }, parent);
  if (!current.title) current.title = content.split("\n")[0].slice(0, 60);
  all = [current, ...all.filter(conversation => conversation !== current)];
  store.save("current", current.id);
  run(current);
}

function askAgain(conversation) {
  if (runs.has(conversation)) return;
  const last = tree.branch(conversation).at(-1);
  if (last?.role === "assistant") conversation.at = last.parent;
  if (conversation.at !== null) run(conversation); else { errors.delete(conversation); draw(); }
}

function edit(message) {
  editing = { message, text: message.content };
  draw({ keepsPlace: true });
  const field = messages.querySelector(".editing textarea");
  field.focus();
  field.scrollIntoView({ block: "nearest" });
}

function editLast() {
  const message = runs.has(current) ? null : tree.branch(current).findLast(({ role }) => role === "user");
  if (message) edit(message);
}

function cancelEditing() {
  editing = null;
  draw({ keepsPlace: true });
  question.focus();
}

/// Asks the edited question beside the old one.
function sendEdited() {
  const { message, text } = editing;
  if (text.trim() === "" || runs.has(current)) return;
  ask(text.trim(), message.pictures, message.parent);
  question.focus();
}

/// Lets the model answer the last question of a conversation, or go on with `continued`, an answer that ended too early.
async function run(conversation, continued = null) {
  const asked = tree.branch(conversation);
  // An answer that the page does not see the end of has been stopped.
  const message = continued ?? { role: "assistant", content: "", ending: "stopped" };
  const controller = new AbortController();
  runs.set(conversation, { controller, message });
  if (!continued) tree.add(conversation, message);
  errors.delete(conversation);
  keep(conversation);
  draw();
  status.textContent = text("answering");
  try {
    await receive({
      system: conversation.system, asked, message, sampling: samplingFields(), signal: controller.signal,
      model: part("model").value, onPiece: () => drawSoon(conversation),
    });
    status.textContent = text(message.content.trim() === "" ? "answeredNothing" : "answered");
  } catch (error) {
    if (error.name !== "AbortError") errors.set(conversation, asServerError(error));
    status.textContent = "";
  }
  if (errors.has(conversation) && message.content === "" && !message.reasoning) tree.remove(conversation, message);
  runs.delete(conversation);
  keep(conversation);
  if (conversation === current) {
    draw({ keepsPlace: !isAtEnd() });
    if (errors.get(conversation)?.kind === "key") showSettings(true);
  } else {
    drawConversations();
  }
}

function asServerError(error) {
  return error instanceof ServerError ? error : new ServerError("refused", { message: String(error) });
}

/// Shows what has come so far, at most once a frame.
function drawSoon(conversation) {
  const run = runs.get(conversation);
  if (!run || run.isDrawing) return;
  run.isDrawing = true;
  requestAnimationFrame(() => {
    run.isDrawing = false;
    if (conversation !== current || !run.element?.isConnected || !runs.has(conversation)) return;
    const wasAtEnd = isAtEnd();
    updateRunning(run.element, run.message);
    if (wasAtEnd) scroll.scrollTop = scroll.scrollHeight;
  });
}

function isAtEnd() { return scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80; }

function stop() { runs.get(current)?.controller.abort(); }

// MARK: Models and settings

async function loadModels() {
  try {
    const list = await models();
    part("model").replaceChildren(...list.map(({ name }) => new Option(name, name)));
    part("model").disabled = list.length < 2;
    part("thinking").hidden = !list.some(({ thinks }) => thinks);
    allowPictures(list[0]?.sees ?? false);
    contextLength = list[0]?.contextLength ?? 0;
    showDefaults(list[0]?.defaults ?? {});
    errors.delete(null);
  } catch (error) {
    errors.set(null, asServerError(error));
  }
  draw();
  if (errors.get(null)?.kind === "key") showSettings(true);
}

function showSettings(focusKey = false) {
  const conversation = current;
  openSettings(conversation, {
    focusKey,
    onClose() {
      keep(conversation);
      if (errors.get(conversation)?.kind === "key") errors.delete(conversation);
      if (errors.has(null)) loadModels(); else draw();
      question.focus();
    },
  });
}

function show(language, theme) {
  document.documentElement.dataset.theme = theme;
  part("language").value = language;
  part("theme").value = theme;
  speak(language);
}

// MARK: What the user does

const create = () => open(current.messages.length === 0 ? current : store.newConversation());
const hideList = () => document.body.classList.remove("listing");
const showList = () => document.body.classList.add("listing");

useComposer({
  ask: (content, pictures) => { if (!runs.has(current)) { clearDraft(); ask(content, pictures); } }, editLast,
});
useShortcuts({
  escape: () => { if (document.body.classList.contains("listing")) hideList(); else stop(); },
  search: () => { showList(); part("search").focus(); },
  create,
});
useTransfer({
  current: () => current, all: () => all,
  take(conversations) {
    all = [...conversations, ...all];
    conversations.forEach(keep);
    open(conversations[0]);
  },
});
part("stop").addEventListener("click", () => { stop(); question.focus(); });
part("new").addEventListener("click", create);
part("open-sidebar").addEventListener("click", () => { showList(); part("new").focus(); });
for (const id of ["close-sidebar", "shade"]) part(id).addEventListener("click", hideList);
part("search").addEventListener("input", drawConversations);
part("open-settings").addEventListener("click", () => showSettings());
for (const id of ["language", "theme"]) {
  part(id).addEventListener("change", event => {
    store.save(id, event.target.value);
    show(part("language").value, part("theme").value);
    draw({ keepsPlace: true });
  });
}
// Another tab has written.
addEventListener("storage", () => {
  const running = all.filter(conversation => runs.has(conversation));
  const others = store.conversations().filter(stored => !running.some(({ id }) => id === stored.id));
  all = [...running, ...others].sort((a, b) => b.updated - a.updated);
  if (!runs.has(current)) {
    const stored = all.find(({ id }) => id === current.id);
    if (stored) current = stored; else if (current.messages.length > 0) current = all[0] ?? store.newConversation();
    editing &&= { ...editing, message: current.messages.find(({ id }) => id === editing.message.id) };
  }
  draw({ keepsPlace: true });
});
// What has come of an answer survives the page.
addEventListener("pagehide", () => { for (const conversation of runs.keys()) keep(conversation); });

show(store.load("language", browserLanguage()), store.load("theme", "auto"));
openDraft(current);
draw();
loadModels();
question.focus();
