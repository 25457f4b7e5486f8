import Inference
import Storage
import Tokenization

/// A part of one choice: what one event brings, or all of it.
struct ChoicePiece: Sendable {
  var text = ""
  /// With their log-probabilities, if those are wanted.
  var tokens: [TokenReport] = []
  var finish: FinishReason?

  var isEmpty: Bool { text.isEmpty && tokens.isEmpty && finish == nil }

  mutating func append(_ piece: ChoicePiece) {
    text += piece.text
    tokens += piece.tokens
    finish = piece.finish ?? finish
  }
}

/// Tokens that a request took.
struct Usage: Sendable {
  var prompt = 0
  var cached = 0
  var completion = 0

  var json: JSON {
    .object([
      .init("prompt_tokens", .integer(prompt)), .init("completion_tokens", .integer(completion)),
      .init("total_tokens", .integer(prompt + completion)),
      .init("prompt_tokens_details", .object([.init("cached_tokens", .integer(cached))])),
    ])
  }
}

/// How an answer is written: the objects of both endpoints, whole or in pieces of a stream.
struct AnswerFormat: Sendable {
  let kind: AnswerKind
  let isStreamed: Bool
  let reportsLogProbabilities: Bool
  /// Whether a stream's objects have a member for the number of tokens.
  let includesUsage: Bool
  let tokenizer: Tokenizer
  private let id: String
  private let created: Int
  private let model: String
  private let fingerprint: String

  init(_ call: GenerationCall, tokenizer: Tokenizer, created: Int, model: String, fingerprint: String) {
    kind = call.kind
    isStreamed = call.isStreamed
    reportsLogProbabilities = call.request.topLogProbabilities != nil
    includesUsage = call.includesUsage
    self.tokenizer = tokenizer
    id = (kind == .chat ? "chatcmpl-" : "cmpl-") + randomName()
    self.created = created
    self.model = model
    self.fingerprint = fingerprint
  }

  /// The object around choices, and the number of tokens where it is known.
  func object(_ choices: [JSON], usage: Usage?) -> JSON {
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
    return .object(members)
  }

  /// One choice, or a piece of it.
  func choice(_ piece: ChoicePiece, index: Int) -> JSON {
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
      if !isStreamed || piece.finish == nil { content.append(.init("content", .string(piece.text))) }
      if !isStreamed { content.append(.init("refusal", .null)) }
      members.append(.init(isStreamed ? "delta" : "message", .object(content)))
      members.append(.init("logprobs", hasTokens ? report.chat(piece.tokens) : .null))
    }
    members.append(.init("finish_reason", piece.finish.map { .string($0.rawValue) } ?? .null))
    return .object(members)
  }

  /// What a streamed choice of a conversation begins with; nil where nothing does.
  func opening(index: Int) -> JSON? {
    guard kind == .chat else { return nil }
    return .object([
      .init("index", .integer(index)),
      .init("delta", .object([.init("role", .string("assistant")), .init("content", .string(""))])),
      .init("logprobs", .null), .init("finish_reason", .null),
    ])
  }
}

/// One event of a stream (HTML standard, section 9.2, "Server-sent events").
func serverSentEvent(_ data: String) -> [UInt8] { Array("data: \(data)\n\n".utf8) }

/// Letters and digits that nobody guesses.
func randomName() -> String {
  let letters = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
  return String((0..<24).map { _ in letters.randomElement()! })
}
