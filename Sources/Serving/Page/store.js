// What the browser keeps: each conversation under a key of its own, so that two tabs do not overwrite each other's.
//
// A conversation is {id, title, system, updated, messages}; a message {role, content} and, for an answer, what the page
// shows below it: {tokens, rate, first, ending, forgot}.

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

function isConversation(value) {
  return typeof value?.id === "string" && typeof value.title === "string" && Array.isArray(value.messages) &&
    value.messages.every(message => typeof message?.role === "string" && typeof message.content === "string");
}

export function newConversation() {
  const id = Date.now().toString(36) + Math.random().toString(36).slice(2, 8);
  return { id, title: "", system: "", updated: Date.now(), messages: [] };
}

export function saveConversation(conversation) {
  conversation.updated = Date.now();
  return save("conversation." + conversation.id, conversation);
}

export function removeConversation(id) { localStorage.removeItem(conversationPrefix + id); }
