// A conversation as a tree. Each message names the one that it follows (`parent`; null for the first); a question that
// was edited and an answer that was asked for again stand beside the old ones. `conversation.at` is the last message of
// the branch that is shown.

/// The messages of the branch that is shown, from the first to the last.
export function branch(conversation) {
  const byId = new Map(conversation.messages.map(message => [message.id, message]));
  const result = [];
  for (let message = byId.get(conversation.at); message; message = byId.get(message.parent)) result.push(message);
  return result.reverse();
}

/// Adds a message after `parent` and shows it.
export function add(conversation, message, parent = conversation.at) {
  message.id = 1 + conversation.messages.reduce((most, { id }) => Math.max(most, id), 0);
  message.parent = parent ?? null;
  conversation.messages.push(message);
  conversation.at = message.id;
}

/// Takes away a message that nothing follows.
export function remove(conversation, message) {
  conversation.messages = conversation.messages.filter(other => other !== message);
  conversation.at = message.parent;
}

/// The message and those in its place in other branches, the oldest first.
export function versions(conversation, message) {
  return conversation.messages.filter(other => other.parent === message.parent);
}

/// Shows the branch of a message: to it, and on along the newest messages.
export function choose(conversation, message) {
  for (let next = message; next; next = conversation.messages.findLast(({ parent }) => parent === conversation.at)) {
    conversation.at = next.id;
  }
}

/// A list of messages without branches as a tree.
export function fromList(conversation) {
  conversation.messages.forEach((message, index) => Object.assign(message, { id: index + 1, parent: index || null }));
  conversation.at = conversation.messages.length || null;
}

/// Whether every message has an id of its own and follows an earlier one, and the branch that is shown exists.
export function isTree(conversation) {
  const seen = new Set([null]);
  for (const { id, parent } of conversation.messages) {
    if (!Number.isSafeInteger(id) || seen.has(id) || !seen.has(parent)) return false;
    seen.add(id);
  }
  return seen.has(conversation.at);
}
