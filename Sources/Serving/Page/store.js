// What the browser keeps: each conversation under a key of its own, so that two tabs do not overwrite each other's.
//
// A conversation is {id, title, system, updated, messages, at}; a message {id, parent, role, content} (tree.js), for a
// question with pictures {pictures}, data: URLs, and for an answer what the page shows of it: {reasoning, tokens, rate, first, ending, forgot}.

import { fromList, isTree } from "./tree.js";

const conversationPrefix = "minimind.conversation.";

/// A value from the browser's store; `fallback` where there is none, or it is damaged.
export function load(name, fallback) {
  try {
    return JSON.parse(localStorage.getItem("minimind." + name)) ?? fallback;
  } catch {
    return fallback;
  }
}

/// Returns false when the browser has no room.
export function save(name, value) {
  try {
    localStorage.setItem("minimind." + name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

/// All conversations, the last used first.
export function conversations() {
  return Object.keys(localStorage).filter(key => key.startsWith(conversationPrefix))
    .map(key => load(key.slice("minimind.".length), null))
    .filter(isConversation).sort((a, b) => b.updated - a.updated);
}

/// Whether a value from a file or from the store is a conversation. One of an earlier version, without branches, becomes
/// a tree.
export function isConversation(value) {
  const isShaped = typeof value?.id === "string" && typeof value.title === "string" &&
    typeof value.system === "string" && Array.isArray(value.messages) && value.messages.every(message =>
    (message?.role === "user" || message?.role === "assistant") && typeof message.content === "string");
  if (isShaped && value.at === undefined) fromList(value);
  return isShaped && isTree(value);
}

export function newConversation() {
  const id = Date.now().toString(36) + Math.random().toString(36).slice(2, 8);
  return { id, title: "", system: "", updated: Date.now(), messages: [], at: null };
}

export function saveConversation(conversation) {
  conversation.updated = Date.now();
  return save("conversation." + conversation.id, conversation);
}

export function removeConversation(conversation) {
  localStorage.removeItem(conversationPrefix + conversation.id);
  sessionStorage.removeItem(draftName(conversation));
}

/// What has been written and not yet sent, by conversation, for this tab; a reload does not lose it. All conversations without
/// a message are the same one.
export const draft = {
  get: conversation => sessionStorage.getItem(draftName(conversation)) ?? "",
  set(conversation, text) {
    // Where there is no room the draft lasts as long as the page.
    try { sessionStorage.setItem(draftName(conversation), text); } catch { sessionStorage.removeItem(draftName(conversation)); }
  },
};

function draftName({ id, messages }) { return "minimind.draft." + (messages.length > 0 ? id : "new"); }
