// Asks the model for an answer, with as much of the conversation as it can read.

import { answer } from "./client.js";

/// What earlier turns may take of the context, with the question. The rest is for the answer, as in `minimind chat`.
const promptShare = 0.75;

/// Lets the model write `message`, which follows the messages `asked`; or go on with it, if it is the last of these.
///
/// - model: {name, contextLength}.
/// - onPiece: is called when something has come.
///
/// While the messages leave too little room for an answer, the oldest are left out.
export async function receive({ system, asked, message, model, sampling, signal, onPiece }) {
  const isContinued = asked.at(-1) === message;
  // The question stays, and what there is of its answer.
  const least = isContinued ? 2 : 1;
  const before = { content: "", reasoning: undefined, tokens: 0, ...(isContinued ? message : {}) };
  const first = system ? [{ role: "system", content: system }] : [];
  const room = most => shortened(asked, least, most - size(first));
  let density = asked.findLast(({ density }) => density > 0)?.density;
  if (density * size([...first, ...asked]) > model.contextLength && model.contextLength > 0) {
    forget(room(promptShare * model.contextLength / density));
  }

  function forget(rest) {
    if (rest.length < asked.length) message.forgot = true;
    asked = rest;
  }

  for (;;) {
    const sent = [...first, ...asked].map(({ role, content, reasoning }) =>
      reasoning ? { role, content, reasoning_content: reasoning } : { role, content });
    const sentSize = size(sent);
    const began = performance.now();
    let pieces = 0, own = 0, rate;
    try {
      for await (const piece of answer({ model: model.name, messages: sent, ...sampling }, signal)) {
        // An answer that was cut off stays until the next one comes, which may be stopped or refused before.
        if (pieces++ === 0) Object.assign(message, before, { rate: undefined, ending: "stopped" });
        if (piece.text !== undefined || piece.reasoning !== undefined) {
          if (own++ === 0 && !isContinued) message.first = seconds(began);
          message.content += piece.text ?? "";
          if (piece.reasoning) message.reasoning = (message.reasoning ?? "") + piece.reasoning;
        }
        if (piece.ending) message.ending = piece.ending;
        // A piece may be of several tokens; the server has the right count.
        if (piece.tokens !== undefined) own = piece.tokens;
        if (piece.promptTokens) message.density = density = piece.promptTokens / sentSize;
        if (piece.rate) rate = piece.rate;
        message.tokens = before.tokens + own;
        // Until the server says how fast it was, the time includes all that lies between it and this page.
        message.rate = rate ?? own / seconds(began);
        onPiece();
      }
      // There are two limits: that of the settings, and the end of the context.
      const isCutByContext = message.ending === "length" && !(own >= sampling.max_tokens);
      const full = sentSize + size([message, { content: message.reasoning ?? "" }]);
      const rest = room(promptShare * full);
      if (isContinued || !isCutByContext || rest.length === asked.length) return;
      forget(rest);
    } catch (error) {
      if (error.kind !== "tooLong") throw error;
      // The refusal says how many tokens there are, more than any other number in it.
      const tokens = Math.max(0, ...(error.message?.match(/\d+/g) ?? []).map(Number));
      const fraction = tokens > model.contextLength && model.contextLength > 0 ? model.contextLength / tokens : 1;
      const rest = room(promptShare * fraction * sentSize);
      if (rest.length === asked.length) throw error;
      forget(rest);
    }
  }
}

function seconds(began) { return Math.max(1, performance.now() - began) / 1000; }

/// Without the oldest turns, until the messages have at most `most` bytes, or `least` are left.
function shortened(messages, least, most) {
  let rest = messages;
  while (rest.length > least && size(rest) > most) rest = rest.slice(rest[1].role === "assistant" ? 2 : 1);
  return rest;
}

/// The bytes of messages. In every language they tell better than characters how many tokens there are.
function size(messages) { return new Blob(messages.map(({ content }) => content)).size; }
