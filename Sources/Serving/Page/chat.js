// The chat page. Conversations live in `all`; each that is being answered has an entry in `runs`, so an answer goes on
// while another conversation is looked at.

import { ServerError, answer, models } from "./client.js";
import { errorElement, messageElement, noticeElement, runningElement, updateRunning, welcomeElement }
  from "./messages.js";
import { openSettings, samplingFields } from "./settings.js";
import { drawList } from "./sidebar.js";
import * as store from "./store.js";
import { browserLanguage, speak, text } from "./words.js";

const part = id => document.getElementById(id);
const [messages, scroll, question, status] = ["messages", "scroll", "question", "status"].map(part);

let all = store.conversations();
let current = all.find(conversation => conversation.id === store.load("current")) ?? all[0] ?? store.newConversation();
/// By conversation: {controller, message, element}.
const runs = new Map();
/// By conversation: what went wrong last; under null, what went wrong when the models were asked for.
const errors = new Map();

// MARK: Drawing

function draw() {
  drawConversations();
  const run = runs.get(current);
  const error = errors.get(current) ?? errors.get(null);
  const elements = current.messages.map((message, index) => {
    if (message === run?.message) return (run.element = runningElement(message));
    // Below an error stands a button that does the same.
    const canAskAgain = index === current.messages.length - 1 && !error;
    return messageElement(message, canAskAgain ? () => askAgain(current) : null);
  });
  if (current.messages.some(message => message.forgot)) elements.unshift(noticeElement(text("forgotten")));
  if (elements.length === 0) elements.push(welcomeElement());
  if (error) elements.push(errorElement(error, errors.has(current) ? () => askAgain(current) : loadModels));
  messages.replaceChildren(...elements);
  scroll.scrollTop = scroll.scrollHeight;
  part("send").hidden = Boolean(run);
  part("stop").hidden = !run;
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
      store.removeConversation(conversation.id);
      open(conversation === current ? all[0] ?? store.newConversation() : current);
    },
  });
}

function open(conversation) {
  current = conversation;
  store.save("current", current.id);
  document.body.classList.remove("listing");
  draw();
  question.focus();
}

/// Writes a conversation to the browser's store, unless it has been deleted in the meantime.
function keep(conversation) {
  if (all.includes(conversation) && !store.saveConversation(conversation)) {
    errors.set(conversation, new ServerError("storage"));
  }
}

// MARK: Asking

function ask() {
  const content = question.value.trim();
  if (content === "" || runs.has(current)) return;
  current.messages.push({ role: "user", content });
  if (!current.title) current.title = content.split("\n")[0].slice(0, 60);
  all = [current, ...all.filter(conversation => conversation !== current)];
  question.value = "";
  fitQuestion();
  store.save("current", current.id);
  run(current);
}

function askAgain(conversation) {
  if (runs.has(conversation)) return;
  if (conversation.messages.at(-1)?.role === "assistant") conversation.messages.pop();
  if (conversation.messages.length > 0) run(conversation); else { errors.delete(conversation); draw(); }
}

/// Lets the model answer the last question of a conversation.
async function run(conversation) {
  // An answer that the page does not see the end of has been stopped.
  const message = { role: "assistant", content: "", ending: "stopped" };
  const asked = conversation.messages.slice();
  const controller = new AbortController();
  runs.set(conversation, { controller, message });
  conversation.messages.push(message);
  errors.delete(conversation);
  keep(conversation);
  draw();
  status.textContent = text("answering");
  try {
    await receive(conversation, asked, message, controller.signal);
    status.textContent = text("answered");
  } catch (error) {
    if (error.name !== "AbortError") errors.set(conversation, asServerError(error));
    status.textContent = "";
  }
  if (message.content === "" && !message.reasoning) conversation.messages.splice(conversation.messages.indexOf(message), 1);
  runs.delete(conversation);
  keep(conversation);
  if (conversation === current) {
    const wasAtEnd = isAtEnd(), place = scroll.scrollTop;
    draw();
    if (!wasAtEnd) scroll.scrollTop = place;
    if (errors.get(conversation)?.kind === "key") showSettings(true);
  } else {
    drawConversations();
  }
}

function asServerError(error) {
  return error instanceof ServerError ? error : new ServerError("refused", { message: String(error) });
}

/// What earlier turns may take of the context, with the question. The rest is for the answer, as in `minimind chat`.
const promptShare = 0.75;

/// Sends the messages and fills `message`. While they leave too little room for an answer, the oldest are left out.
async function receive(conversation, asked, message, signal) {
  const began = performance.now();
  const system = conversation.system ? [{ role: "system", content: conversation.system }] : [];
  for (;;) {
    const sent = [...system, ...asked].map(({ role, content, reasoning }) =>
      reasoning ? { role, content, reasoning_content: reasoning } : { role, content });
    const sampling = samplingFields();
    let first = 0, pieces = 0, hasBegun = false;
    /// The bytes that filled the context.
    let full = size(sent);
    try {
      for await (const piece of answer({ model: part("model").value, messages: sent, ...sampling }, signal)) {
        const now = performance.now();
        if (!hasBegun) {
          // An answer that was cut off stays until the next one comes, which may be stopped or refused before.
          const empty = { content: "", reasoning: undefined, tokens: undefined, rate: undefined, ending: "stopped" };
          Object.assign(message, empty);
          hasBegun = true;
        }
        if (piece.text !== undefined || piece.reasoning !== undefined) {
          if (pieces++ === 0) first = now;
          message.content += piece.text ?? "";
          if (piece.reasoning) message.reasoning = (message.reasoning ?? "") + piece.reasoning;
          message.tokens = pieces;
          message.first = (first - began) / 1000;
          if (now > first) message.rate = (pieces - 1) / ((now - first) / 1000);
          drawSoon(conversation);
        }
        if (piece.ending) message.ending = piece.ending;
        if (piece.tokens) {
          // A piece may be of several tokens; this is the server's own count.
          if (message.rate) message.rate *= (piece.tokens - 1) / Math.max(1, pieces - 1);
          message.tokens = piece.tokens;
        }
      }
      // There are two limits: that of the settings, and the end of the context.
      const isCutByContext = message.ending === "length" && !(message.tokens >= sampling.max_tokens);
      full += size([message, { content: message.reasoning ?? "" }]);
      if (!isCutByContext || asked.length < 2 || size(sent) <= promptShare * full) return;
    } catch (error) {
      if (error.kind !== "tooLong" || asked.length < 2) throw error;
    }
    do asked = asked.slice(asked[1].role === "assistant" ? 2 : 1);
    while (asked.length > 1 && size([...system, ...asked]) > promptShare * full);
    message.forgot = true;
  }
}

/// The bytes of messages. In every language they tell better than characters how many tokens there are.
function size(messages) { return new Blob(messages.map(({ content }) => content)).size; }

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

function fitQuestion() {
  question.style.height = "auto";
  question.style.height = question.scrollHeight + "px";
}

// MARK: What the user does

part("composer").addEventListener("submit", event => { event.preventDefault(); ask(); });
part("stop").addEventListener("click", () => { stop(); question.focus(); });
question.addEventListener("input", fitQuestion);
question.addEventListener("keydown", event => {
  // Enter also ends the choice of a word in Chinese and Japanese input (229: what Safari says then).
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  ask();
});
document.addEventListener("keydown", event => {
  if (event.key !== "Escape" || part("settings").open) return;
  if (document.body.classList.contains("listing")) document.body.classList.remove("listing"); else stop();
});
part("new").addEventListener("click", () => open(current.messages.length === 0 ? current : store.newConversation()));
part("open-sidebar").addEventListener("click", () => { document.body.classList.add("listing"); part("new").focus(); });
for (const id of ["close-sidebar", "shade"]) {
  part(id).addEventListener("click", () => document.body.classList.remove("listing"));
}
part("open-settings").addEventListener("click", () => showSettings());
for (const id of ["language", "theme"]) {
  part(id).addEventListener("change", event => {
    store.save(id, event.target.value);
    show(part("language").value, part("theme").value);
    draw();
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
  }
  draw();
});
// What has come of an answer survives the page.
addEventListener("pagehide", () => { for (const conversation of runs.keys()) keep(conversation); });

show(store.load("language", browserLanguage()), store.load("theme", "auto"));
draw();
loadModels();
question.focus();
