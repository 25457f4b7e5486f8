// Talks with the server: the list of models, and answers as they are written (Server-Sent Events).

/// What the server, or the way to it, said against a request. `kind` is one of "key", "unreachable", "brokenOff",
/// "badAnswer", "busy", "tooLong", "refused"; `message` is the server's own sentence where it has one.
export class ServerError extends Error {
  constructor(kind, { message = "", status = 0, seconds = "" } = {}) {
    super(message);
    this.kind = kind;
    this.status = status;
    this.seconds = seconds;
  }
}

// Only for this tab: a key should not outlive it on a shared computer.
export const key = {
  get: () => sessionStorage.getItem("minimind.key") ?? "",
  set: value => sessionStorage.setItem("minimind.key", value),
};

async function request(path, options = {}) {
  const headers = { ...options.headers };
  if (key.get()) headers.Authorization = "Bearer " + key.get();
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("unreachable");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  const error = (await response.json().catch(() => null))?.error;
  const details = { message: error?.message, status: response.status, seconds: response.headers.get("Retry-After") };
  if (response.status === 401) return new ServerError("key", details);
  if (response.status === 429 && details.seconds) return new ServerError("busy", details);
  if (error?.code === "context_length_exceeded") return new ServerError("tooLong", details);
  return new ServerError(error?.message ? "refused" : "badAnswer", details);
}

/// The models that the server has: the name, whether the model can be asked to think, whether it sees, the tokens that it can read and
/// write together (0: the server does not say), and what it takes for fields of sampling that a request does not have.
export async function models() {
  const list = await (await request("v1/models")).json().catch(() => null);
  if (!Array.isArray(list?.data)) throw new ServerError("badAnswer", { status: 200 });
  return list.data.map(model => ({
    name: String(model.id), thinks: model.thinking === true, sees: model.vision === true,
    contextLength: Number(model.context_length ?? model.max_model_len) || 0, defaults: model.default_sampling ?? {},
  }));
}

/// Asks for an answer and yields its pieces: {dropped}, the messages that the server has left out, where there are any;
/// {reasoning} before {text}; once {ending: "stop" or "length"}; and in the end, as the server counted them, {tokens} and
/// {rate}, tokens in a second.
export async function* answer(body, signal) {
  const response = await request("v1/chat/completions", {
    method: "POST", signal, headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
  });
  const dropped = Number(response.headers.get("x-dropped-messages"));
  if (dropped > 0) yield { dropped };
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    let chunk;
    try { chunk = JSON.parse(data); } catch { throw new ServerError("badAnswer", { status: response.status }); }
    if (chunk.error) throw new ServerError("refused", { message: String(chunk.error.message) });
    const choice = chunk.choices?.[0];
    if (choice?.delta?.reasoning_content) yield { reasoning: choice.delta.reasoning_content };
    if (choice?.delta?.content) yield { text: choice.delta.content };
    if (choice?.finish_reason) yield { ending: choice.finish_reason };
    if (chunk.usage) yield { tokens: chunk.usage.completion_tokens };
    if (chunk.timings?.predicted_per_second > 0) yield { rate: chunk.timings.predicted_per_second };
  }
  throw new ServerError("brokenOff");
}

/// The data of each event of a stream of Server-Sent Events, however the network cut it.
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      let piece;
      try { piece = await reader.read(); } catch (error) {
        throw error.name === "AbortError" ? error : new ServerError("brokenOff");
      }
      if (piece.done) return;
      const parts = (rest + piece.value).split(/\r?\n\r?\n/);
      rest = parts.pop();
      for (const event of parts) {
        // Lines that begin with a colon only keep the connection alive.
        const data = event.split(/\r?\n/).filter(line => line.startsWith("data:"));
        if (data.length > 0) yield data.map(line => line.slice(5).trimStart()).join("\n");
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
