// The field in which a question is written: its draft, text files that are put into it, and pictures beside it.

import { fit, isSending } from "./messages.js";
import { isPicture, pictureOf, picturesElement } from "./picture.js";
import { draft } from "./store.js";
import { text } from "./words.js";

const field = document.getElementById("question");
const note = document.getElementById("note");
const picker = document.getElementById("files");
/// The longest file, in bytes: far more than any model here reads.
const largestFile = 1 << 20;
const shown = document.getElementById("attached");
let owner = null;
/// Pictures of the question that is being written, as long as the page is open.
let pictures = [];
/// Whether the model can look at them.
let sees = false;

/// Connects the field: `ask` is called with a question and its pictures, `editLast` when an arrow goes up from an empty field.
export function useComposer({ ask, editLast }) {
  const send = () => { if (field.value.trim() !== "") ask(field.value.trim(), pictures); };
  document.getElementById("composer").addEventListener("submit", event => { event.preventDefault(); send(); });
  field.addEventListener("input", changed);
  field.addEventListener("keydown", event => {
    if (isSending(event)) { event.preventDefault(); send(); }
    if (event.key === "ArrowUp" && field.value === "" && !event.isComposing) { event.preventDefault(); editLast(); }
  });
  field.addEventListener("paste", event => {
    const files = [...event.clipboardData.files];
    if (files.length > 0) { event.preventDefault(); insert(files); }
  });
  document.getElementById("attach").addEventListener("click", () => picker.click());
  picker.addEventListener("change", async () => { await insert([...picker.files]); picker.value = ""; });
  const holdsFiles = event => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", event => { if (holdsFiles(event)) { event.preventDefault(); show(true); } });
  addEventListener("dragleave", event => { if (!event.relatedTarget) show(false); });
  addEventListener("drop", event => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    show(false);
    insert([...event.dataTransfer.files]);
  });
  function show(isDropping) { document.body.classList.toggle("dropping", isDropping); }
}

/// Shows the draft of a conversation, from now on the one that is written to.
export function openDraft(conversation) {
  if (owner !== conversation) pictures = [];
  owner = conversation;
  field.value = draft.get(conversation);
  note.textContent = "";
  drawPictures();
  fit(field);
}

/// Lets pictures be added, or not.
export function allowPictures(isAllowed) { sees = isAllowed; }

function drawPictures() {
  shown.replaceChildren(picturesElement(pictures, index => {
    pictures = pictures.filter((_, other) => other !== index);
    drawPictures();
    field.focus();
  }));
}

/// Empties the field: what it held has been sent.
export function clearDraft() {
  field.value = "";
  pictures = [];
  drawPictures();
  changed();
}

function changed() {
  draft.set(owner, field.value);
  note.textContent = "";
  fit(field);
}

/// Puts text files into the field where the cursor is, each as a block of code under its name, and pictures beside it.
async function insert(files) {
  const refused = [], unseen = [], unread = [];
  const conversation = owner;
  for (const file of files) {
    if (isPicture(file)) {
      const picture = sees ? await pictureOf(file) : null;
      if (conversation !== owner) return;
      if (picture) pictures = [...pictures, picture]; else (sees ? unread : unseen).push(file.name);
      continue;
    }
    const content = await textOf(file);
    if (content === null) { refused.push(file.name); continue; }
    const longest = (content.match(/`+/g) ?? []).reduce((most, { length }) => Math.max(most, length), 2);
    const fence = "`".repeat(longest + 1);
    const language = /\.(\w+)$/.exec(file.name)?.[1] ?? "";
    const before = field.value.slice(0, field.selectionStart);
    const block = `${before && !before.endsWith("\n") ? "\n" : ""}${file.name}:\n${fence}${language}\n${content.trimEnd()}\n${fence}\n`;
    field.setRangeText(block, field.selectionStart, field.selectionEnd, "end");
  }
  drawPictures();
  changed();
  const notes = [["noText", refused], ["noSight", unseen], ["noPicture", unread]];
  note.textContent = notes.filter(([, names]) => names.length > 0)
    .map(([word, names]) => text(word, { names: names.join(", ") })).join(" ");
  field.focus();
}

/// The text of a file; null if it is none, or too long.
async function textOf(file) {
  if (file.size > largestFile) return null;
  try {
    const content = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    return content.includes("\0") ? null : content.replace(/\r\n?/g, "\n");
  } catch {
    return null;
  }
}
