import Storage
import StructuredOutput

/// The objects and events of `/v1/messages`.
struct MessagesFormat: AnswerFormat {
  private enum Block { case thinking, text, call }

  private let id = "msg_" + randomName()
  private let model: String
  private let promptTokens: Int
  /// Content blocks that have begun, and the one that has not ended.
  private var count = 0
  private var open: Block?
  private var finish = "stop"
  private var stopString: String?
  private var events: [UInt8] = []

  init(_ call: GenerationCall, model: String) {
    self.model = model
    promptTokens = call.prompts[0].tokens.count
  }

  mutating func opening() -> [UInt8] {
    let usage = Usage(prompt: promptTokens)
    emit("message_start", [.init("message", message([], usage, isOver: false))])
    emit("ping", [])
    return takeEvents()
  }

  mutating func bytes(_ piece: ChoicePiece, index: Int, _ totals: AnswerTotals?) -> [UInt8] {
    if !piece.reasoning.isEmpty { add(piece.reasoning, "thinking_delta", "thinking", to: .thinking) }
    if !piece.text.isEmpty { add(piece.text, "text_delta", "text", to: .text) }
    for call in piece.calls {
      if let opening = call.opening {
        begin(.call, Self.call(opening, input: .object([])))
      }
      if !call.arguments.isEmpty { add(call.arguments, "input_json_delta", "partial_json", to: .call) }
    }
    finish = piece.finish ?? finish
    stopString = piece.stopString ?? stopString
    return takeEvents()
  }

  mutating func ending(_ totals: AnswerTotals) -> [UInt8] {
    // An answer without a token is an empty text, which clients can show.
    if count == 0 { begin(.text, Self.text("")) }
    close()
    emit("message_delta", [.init("delta", .object(reason)), .init("usage", usage(totals.usage))])
    emit("message_stop", [.init("timings", totals.timings.json)])
    return takeEvents()
  }

  func whole(_ choices: [ChoicePiece], _ totals: AnswerTotals) -> JSON {
    var copy = self
    var blocks: [JSON] = []
    for choice in choices {
      if !choice.reasoning.isEmpty { blocks.append(Self.thinking(choice.reasoning)) }
      if !choice.text.isEmpty || choice.calls.isEmpty && choice.reasoning.isEmpty {
        blocks.append(Self.text(choice.text))
      }
      for call in choice.calls {
        let input = try? JSON(parsing: call.arguments)
        if let opening = call.opening { blocks.append(Self.call(opening, input: input ?? .object([]))) }
      }
      copy.finish = choice.finish ?? finish
      copy.stopString = choice.stopString
    }
    guard case .object(let members) = copy.message(blocks, totals.usage, isOver: true) else { return .null }
    return .object(members + [.init("timings", totals.timings.json)])
  }

  mutating func failure(_ error: APIError) -> [UInt8] { serverSentEvent("error", error.json(.anthropic)) }

  // MARK: - Blocks

  private static func text(_ text: String) -> JSON {
    .object([.init("type", .string("text")), .init("text", .string(text)), .init("citations", .null)])
  }

  private static func thinking(_ text: String) -> JSON {
    .object([.init("type", .string("thinking")), .init("thinking", .string(text)), .init("signature", .string(""))])
  }

  private static func call(_ opening: (id: String, name: String), input: JSON) -> JSON {
    .object([
      .init("type", .string("tool_use")), .init("id", .string(opening.id)), .init("name", .string(opening.name)),
      .init("input", input),
    ])
  }

  private mutating func begin(_ block: Block, _ json: JSON) {
    close()
    emit("content_block_start", [.init("index", .integer(count)), .init("content_block", json)])
    open = block
    count += 1
  }

  private mutating func add(_ text: String, _ type: String, _ name: String, to block: Block) {
    if open != block, block != .call { begin(block, block == .text ? Self.text("") : Self.thinking("")) }
    let delta = JSON.object([.init("type", .string(type)), .init(name, .string(text))])
    emit("content_block_delta", [.init("index", .integer(count - 1)), .init("delta", delta)])
  }

  private mutating func close() {
    if open != nil { emit("content_block_stop", [.init("index", .integer(count - 1))]) }
    open = nil
  }

  private mutating func emit(_ type: String, _ members: [JSON.Member]) {
    events += serverSentEvent(type, .object([.init("type", .string(type))] + members))
  }

  private mutating func takeEvents() -> [UInt8] {
    defer { events = [] }
    return events
  }

  private var reason: [JSON.Member] {
    let word =
      switch finish {
      case "length": "max_tokens"
      case "tool_calls": "tool_use"
      default: stopString == nil ? "end_turn" : "stop_sequence"
      }
    return [.init("stop_reason", .string(word)), .init("stop_sequence", stopString.map { .string($0) } ?? .null)]
  }

  private func message(_ content: [JSON], _ usage: Usage, isOver: Bool) -> JSON {
    let reason = isOver ? reason : [.init("stop_reason", .null), .init("stop_sequence", .null)]
    return .object(
      [
        .init("id", .string(id)), .init("type", .string("message")), .init("role", .string("assistant")),
        .init("model", .string(model)), .init("content", .array(content)),
      ] + reason + [.init("usage", self.usage(usage))])
  }

  /// Tokens from the cache do not count as input.
  private func usage(_ usage: Usage) -> JSON {
    .object([
      .init("input_tokens", .integer(usage.prompt - usage.cached)), .init("cache_creation_input_tokens", .integer(0)),
      .init("cache_read_input_tokens", .integer(usage.cached)), .init("output_tokens", .integer(usage.completion)),
    ])
  }
}
