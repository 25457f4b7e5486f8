// The field in which a question is written: its draft, and text files that are put into it.

import { fit, isSending } from "./messages.js";
import { draft } from "./store.js";
import { text } from "./words.js";

const field = document.getElementById("question");
const note = document.getElementById("note");
const picker = document.getElementById("files");
/// The longest file, in bytes: far more than any model here reads.
const largestFile = 1 << 20;
let owner = null;

/// Connects the field: `ask` is called with a question, `editLast` when an arrow goes up from an empty field.
export function useComposer({ ask, editLast }) {
  const send = () => { if (field.value.trim() !== "") ask(field.value.trim()); };
  document.getElementById("composer").addEventListener("submit", event => { event.preventDefault(); send(); });
  field.addEventListener("input", changed);
  field.addEventListener("keydown", event => {
    if (isSending(event)) { event.preventDefault(); send(); }
    if (event.key === "ArrowUp" && field.value === "" && !event.isComposing) { event.preventDefault(); editLast(); }
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
  owner = conversation;
  field.value = draft.get(conversation);
  note.textContent = "";
  fit(field);
}

/// Empties the field: what it held has been sent.
export function clearDraft() {
  field.value = "";
  changed();
}

function changed() {
  draft.set(owner, field.value);
  note.textContent = "";
  fit(field);
}

/// Puts text files into the field where the cursor is, each as a block of code under its name.
async function insert(files) {
  const refused = [];
  for (const file of files) {
    const content = await textOf(file);
    if (content === null) { refused.push(file.name); continue; }
    const longest = (content.match(/`+/g) ?? []).reduce((most, { length }) => Math.max(most, length), 2);
    const fence = "`".repeat(longest + 1);
    const language = /\.(\w+)$/.exec(file.name)?.[1] ?? "";
    const before = field.value.slice(0, field.selectionStart);
    const block = `${before && !before.endsWith("\n") ? "\n" : ""}${file.name}:\n${fence}${language}\n${content.trimEnd()}\n${fence}\n`;
    field.setRangeText(block, field.selectionStart, field.selectionEnd, "end");
  }
  changed();
  if (refused.length > 0) note.textContent = text("noText", { names: refused.join(", ") });
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
