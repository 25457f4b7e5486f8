// Asks the model for an answer.

import { answer } from "./client.js";

/// Lets the model write `message`, which follows the messages `asked`; or go on with it, if it is the last of these.
///
/// - onPiece: is called when something has come.
///
/// Where the messages leave too little room for an answer, the server leaves out the oldest.
export async function receive({ system, asked, message, model, sampling, signal, onPiece }) {
  const isContinued = asked.at(-1) === message;
  const first = system ? [{ role: "system", content: system }] : [];
  const messages = [...first, ...asked].map(({ role, content, reasoning, pictures }) => {
    if (pictures) return { role, content: [...pictures.map(picturePart), { type: "text", text: content }] };
    return reasoning ? { role, content, reasoning_content: reasoning } : { role, content };
  });
  const before = isContinued ? message.tokens ?? 0 : 0;
  const began = performance.now();
  let pieces = 0, own = 0, rate;
  for await (const piece of answer({ model, messages, truncation: "auto", ...sampling }, signal)) {
    if (pieces++ === 0) Object.assign(message, { rate: undefined, ending: "stopped" });
    if (piece.dropped > 0) message.forgot = true;
    if (piece.text !== undefined || piece.reasoning !== undefined) {
      if (own++ === 0 && !isContinued) message.first = seconds(began);
      message.content += piece.text ?? "";
      if (piece.reasoning) message.reasoning = (message.reasoning ?? "") + piece.reasoning;
    }
    if (piece.ending) message.ending = piece.ending;
    // A piece may be of several tokens; the server has the right count.
    if (piece.tokens !== undefined) own = piece.tokens;
    if (piece.rate) rate = piece.rate;
    message.tokens = before + own;
    // Until the server says how fast it was, the time includes all that lies between it and this page.
    message.rate = rate ?? own / seconds(began);
    onPiece();
  }
}

function picturePart(url) { return { type: "image_url", image_url: { url } }; }

function seconds(began) { return Math.max(1, performance.now() - began) / 1000; }
