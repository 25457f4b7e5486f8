import Generation
import Storage
import Tokenization

/// The objects of `/v1/chat/completions` and `/v1/completions`.
struct OpenAIFormat: AnswerFormat {
  private let kind: AnswerKind
  private let isStreamed: Bool
  private let parts: Int
  private let reportsLogProbabilities: Bool
  /// Whether a stream's objects have a member for the number of tokens.
  private let includesUsage: Bool
  private let tokenizer: Tokenizer
  private let id: String
  private let created: Int
  private let model: String
  private let fingerprint: String

  init(_ call: GenerationCall, tokenizer: Tokenizer, created: Int, model: String, fingerprint: String) {
    kind = call.kind
    isStreamed = call.isStreamed
    parts = call.parts
    reportsLogProbabilities = call.request.topLogProbabilities != nil
    includesUsage = call.includesUsage
    self.tokenizer = tokenizer
    id = (kind == .chat ? "chatcmpl-" : "cmpl-") + randomName()
    self.created = created
    self.model = model
    self.fingerprint = fingerprint
  }

  func opening() -> [UInt8] {
    guard kind == .chat else { return [] }
    return (0..<parts).flatMap { index in
      event([
        .object([
          .init("index", .integer(index)),
          .init("delta", .object([.init("role", .string("assistant")), .init("content", .string(""))])),
          .init("logprobs", .null), .init("finish_reason", .null),
        ])
      ])
    }
  }

  func bytes(_ piece: ChoicePiece, index: Int, _ totals: AnswerTotals?) -> [UInt8] {
    event([choice(piece, index: index)], timings: includesUsage ? nil : totals?.timings)
  }

  func ending(_ totals: AnswerTotals) -> [UInt8] {
    (includesUsage ? event([], usage: totals.usage, timings: totals.timings) : []) + serverSentEvent("[DONE]")
  }

  func whole(_ choices: [ChoicePiece], _ totals: AnswerTotals) -> JSON {
    object(choices.enumerated().map { choice($1, index: $0) }, usage: totals.usage, timings: totals.timings)
  }

  func failure(_ error: APIError) -> [UInt8] { serverSentEvent(error.json.compactText) }

  private func event(_ choices: [JSON], usage: Usage? = nil, timings: Timings? = nil) -> [UInt8] {
    serverSentEvent(object(choices, usage: usage, timings: timings).compactText)
  }

  /// The object around choices, with the number of tokens where it is known, and the times where they are.
  private func object(_ choices: [JSON], usage: Usage?, timings: Timings?) -> JSON {
    var members: [JSON.Member] = [
      .init("id", .string(id)),
      .init("object", .string(kind == .chat && isStreamed ? "chat.completion.chunk" : kind.rawValue)),
      .init("created", .integer(created)), .init("model", .string(model)),
      .init("system_fingerprint", .string(fingerprint)), .init("choices", .array(choices)),
    ]
    if let usage {
      members.append(.init("usage", usage.json))
    } else if includesUsage {
      members.append(.init("usage", .null))
    }
    if let timings { members.append(.init("timings", timings.json)) }
    return .object(members)
  }

  /// One choice, or a piece of it.
  private func choice(_ piece: ChoicePiece, index: Int) -> JSON {
    let report = LogProbabilityReport(tokenizer: tokenizer)
    let hasTokens = reportsLogProbabilities && !(isStreamed && piece.tokens.isEmpty)
    var members: [JSON.Member] = [.init("index", .integer(index))]
    switch kind {
    case .completion:
      members.append(.init("text", .string(piece.text)))
      members.append(.init("logprobs", hasTokens ? report.completion(piece.tokens) : .null))
    case .chat:
      var content: [JSON.Member] = []
      if !isStreamed { content.append(.init("role", .string("assistant"))) }
      let isCall = !piece.calls.isEmpty && piece.text.isEmpty
      let isReasoning = isStreamed && !piece.reasoning.isEmpty && piece.text.isEmpty
      if !isStreamed || piece.finish == nil && !isCall && !isReasoning {
        content.append(.init("content", isCall ? .null : .string(piece.text)))
      }
      // Not OpenAI's; the name is what DeepSeek's API gave it, and what clients look for.
      if !piece.reasoning.isEmpty { content.append(.init("reasoning_content", .string(piece.reasoning))) }
      if !piece.calls.isEmpty {
        content.append(.init("tool_calls", .array(piece.calls.map { $0.json(isStreamed: isStreamed) })))
      }
      if !isStreamed { content.append(.init("refusal", .null)) }
      members.append(.init(isStreamed ? "delta" : "message", .object(content)))
      members.append(.init("logprobs", hasTokens ? report.chat(piece.tokens) : .null))
    }
    members.append(.init("finish_reason", piece.finish.map { .string($0) } ?? .null))
    return .object(members)
  }
}
