import Storage
import StructuredOutput
import Tokenization

/// The objects and events of `/v1/responses`.
struct ResponsesFormat: AnswerFormat {
  /// An item of the output that is being written.
  private struct Item {
    enum Kind { case reasoning, message, call }

    let kind: Kind
    let id: String
    var call: (id: String, name: String) = ("", "")
    var text = ""
    /// Log-probabilities of the text's tokens.
    var tokens: [JSON] = []

    /// The one part of an item that is not a call.
    var part: JSON {
      let text = JSON.Member("text", .string(text))
      if kind == .reasoning { return .object([.init("type", .string("reasoning_text")), text]) }
      return .object([
        .init("type", .string("output_text")), text, .init("annotations", .array([])),
        .init("logprobs", .array(tokens)),
      ])
    }

    /// - Parameter status: `in_progress`, where it has no text yet, `completed` or `incomplete`.
    func json(_ status: String) -> JSON {
      let status = JSON.Member("status", .string(status))
      let content = JSON.Member("content", .array(status.value == .string("in_progress") ? [] : [part]))
      switch kind {
      case .reasoning:
        return .object([
          .init("id", .string(id)), .init("type", .string("reasoning")), .init("summary", .array([])), content, status,
        ])
      case .message:
        return .object([
          .init("id", .string(id)), .init("type", .string("message")), .init("role", .string("assistant")), content,
          status,
        ])
      case .call:
        return .object([
          .init("id", .string(id)), .init("type", .string("function_call")), .init("call_id", .string(call.id)),
          .init("name", .string(call.name)), .init("arguments", .string(text)), status,
        ])
      }
    }
  }

  /// What the response repeats of the request.
  private let echoed: [JSON.Member]
  private let id = "resp_" + randomName()
  private let created: Int
  private let tokenizer: Tokenizer
  private let reportsLogProbabilities: Bool
  private var sequence = 0
  private var output: [JSON] = []
  private var open: Item?
  private var isCut = false
  /// Events that have not been given back.
  private var events: [UInt8] = []

  init(_ call: GenerationCall, _ fields: RequestFields, tokenizer: Tokenizer, created: Int, model: String) {
    self.created = created
    self.tokenizer = tokenizer
    reportsLogProbabilities = call.request.topLogProbabilities != nil
    let sampling = call.request.sampling
    let effort = fields["reasoning"]?["effort"] ?? .null
    let text = JSON.Member(
      "format", fields["text"]?["format"] ?? .object([.init("type", .string("text"))]))
    echoed = [
      .init("model", .string(model)), .init("instructions", fields["instructions"] ?? .null),
      .init("max_output_tokens", fields["max_output_tokens"] ?? .null),
      .init("metadata", fields["metadata"] ?? .object([])),
      .init("parallel_tool_calls", fields["parallel_tool_calls"] ?? .bool(true)),
      .init("reasoning", .object([.init("effort", effort), .init("summary", .null)])),
      .init("temperature", .number(Double("\(sampling.temperature)") ?? 0)),
      .init("top_p", .number(Double("\(sampling.topP)") ?? 1)), .init("text", .object([text])),
      .init("tool_choice", fields["tool_choice"] ?? .string("auto")), .init("tools", fields["tools"] ?? .array([])),
      .init("top_logprobs", fields["top_logprobs"] ?? .integer(0)),
      .init("truncation", fields["truncation"] ?? .string("disabled")), .init("user", fields["user"] ?? .null),
      .init("background", .bool(false)), .init("previous_response_id", .null),
      .init("service_tier", .string("default")),
      .init("store", .bool(false)),
    ]
  }

  mutating func opening() -> [UInt8] {
    for name in ["created", "in_progress"] {
      emit("response." + name, [.init("response", response("in_progress", nil))])
    }
    return takeEvents()
  }

  mutating func bytes(_ piece: ChoicePiece, index: Int, _ totals: AnswerTotals?) -> [UInt8] {
    read(piece)
    return takeEvents()
  }

  mutating func ending(_ totals: AnswerTotals) -> [UInt8] {
    let response = finish(totals)
    emit(isCut ? "response.incomplete" : "response.completed", [.init("response", response)])
    return takeEvents()
  }

  /// What a stream would end with.
  func whole(_ choices: [ChoicePiece], _ totals: AnswerTotals) -> JSON {
    var copy = self
    for choice in choices { copy.read(choice) }
    return copy.finish(totals)
  }

  mutating func failure(_ error: APIError) -> [UInt8] {
    emit(
      "error",
      [
        .init("code", .string(error.code ?? error.kind.rawValue)), .init("message", .string(error.message)),
        .init("param", error.parameter.map { .string($0) } ?? .null),
      ])
    return takeEvents()
  }

  // MARK: - Items

  private mutating func read(_ piece: ChoicePiece) {
    if !piece.reasoning.isEmpty { add(piece.reasoning, to: .reasoning) }
    if !piece.text.isEmpty { add(piece.text, to: .message, tokens(piece)) }
    for call in piece.calls {
      if let opening = call.opening {
        close("completed")
        begin(Item(kind: .call, id: "fc_" + randomName(), call: opening))
      }
      if !call.arguments.isEmpty { add(call.arguments, to: .call) }
    }
    isCut = isCut || piece.finish == "length"
  }

  private func tokens(_ piece: ChoicePiece) -> [JSON] {
    guard reportsLogProbabilities else { return [] }
    return LogProbabilityReport(tokenizer: tokenizer).chat(piece.tokens)["content"]?.arrayValue ?? []
  }

  private mutating func begin(_ item: Item) {
    open = item
    emit("response.output_item.added", [place, .init("item", item.json("in_progress"))])
    if item.kind != .call { emit("response.content_part.added", inItem(item) + [content, .init("part", item.part)]) }
  }

  private mutating func add(_ text: String, to kind: Item.Kind, _ tokens: [JSON] = []) {
    if open?.kind != kind {
      close("completed")
      begin(Item(kind: kind, id: (kind == .message ? "msg_" : "rs_") + randomName()))
    }
    guard var item = open else { return }
    item.text += text
    item.tokens += tokens
    open = item
    let delta = inItem(item) + [.init("delta", .string(text))]
    switch kind {
    case .reasoning: emit("response.reasoning_text.delta", delta + [content])
    case .message: emit("response.output_text.delta", delta + [content, .init("logprobs", .array(tokens))])
    case .call: emit("response.function_call_arguments.delta", delta)
    }
  }

  private mutating func close(_ status: String) {
    guard let item = open else { return }
    let text = JSON.Member("text", .string(item.text))
    switch item.kind {
    case .reasoning: emit("response.reasoning_text.done", inItem(item) + [content, text])
    case .message:
      emit("response.output_text.done", inItem(item) + [content, text, .init("logprobs", .array(item.tokens))])
    case .call:
      emit(
        "response.function_call_arguments.done",
        inItem(item) + [.init("name", .string(item.call.name)), .init("arguments", .string(item.text))])
    }
    if item.kind != .call { emit("response.content_part.done", inItem(item) + [content, .init("part", item.part)]) }
    emit("response.output_item.done", [place, .init("item", item.json(status))])
    output.append(item.json(status))
    open = nil
  }

  private mutating func finish(_ totals: AnswerTotals) -> JSON {
    // An answer without a token is a message without a text, which clients can show.
    if output.isEmpty, open == nil { begin(Item(kind: .message, id: "msg_" + randomName())) }
    close(isCut ? "incomplete" : "completed")
    return response(isCut ? "incomplete" : "completed", totals)
  }

  private var place: JSON.Member { .init("output_index", .integer(output.count)) }
  private var content: JSON.Member { .init("content_index", .integer(0)) }
  private func inItem(_ item: Item) -> [JSON.Member] { [.init("item_id", .string(item.id)), place] }

  private mutating func emit(_ type: String, _ members: [JSON.Member]) {
    let head: [JSON.Member] = [.init("type", .string(type)), .init("sequence_number", .integer(sequence))]
    events += serverSentEvent(type, .object(head + members))
    sequence += 1
  }

  private mutating func takeEvents() -> [UInt8] {
    defer { events = [] }
    return events
  }

  private func response(_ status: String, _ totals: AnswerTotals?) -> JSON {
    let reason = JSON.object([.init("reason", .string("max_output_tokens"))])
    var members: [JSON.Member] = [
      .init("id", .string(id)), .init("object", .string("response")), .init("created_at", .integer(created)),
      .init("status", .string(status)), .init("error", .null),
      .init("incomplete_details", status == "incomplete" ? reason : .null), .init("output", .array(output)),
    ]
    members += echoed
    if let totals { members += [.init("timings", totals.timings.json)] }
    return .object(members + [.init("usage", totals.map { usage($0.usage) } ?? .null)])
  }

  private func usage(_ usage: Usage) -> JSON {
    .object([
      .init("input_tokens", .integer(usage.prompt)),
      .init(
        "input_tokens_details",
        .object([.init("cached_tokens", .integer(usage.cached)), .init("cache_write_tokens", .integer(0))])),
      .init("output_tokens", .integer(usage.completion)),
      .init("output_tokens_details", .object([.init("reasoning_tokens", .integer(usage.reasoning))])),
      .init("total_tokens", .integer(usage.prompt + usage.completion)),
    ])
  }
}
