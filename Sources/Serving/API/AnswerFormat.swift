import Generation
import Storage
import StructuredOutput
import Tokenization

/// A part of one choice: what one event brings, or all of it.
struct ChoicePiece: Sendable {
  var text = ""
  /// What the model wrote before its answer.
  var reasoning = ""
  /// With their log-probabilities, if those are wanted.
  var tokens: [TokenReport] = []
  /// Calls of tools, or more of the arguments of one.
  var calls: [CallPiece] = []
  /// OpenAI's word for why the choice ended.
  var finish: String?

  var isEmpty: Bool { text.isEmpty && reasoning.isEmpty && tokens.isEmpty && calls.isEmpty && finish == nil }

  mutating func append(_ piece: ChoicePiece) {
    text += piece.text
    reasoning += piece.reasoning
    tokens += piece.tokens
    for call in piece.calls {
      if call.opening == nil, !calls.isEmpty {
        calls[calls.count - 1].arguments += call.arguments
      } else {
        calls.append(call)
      }
    }
    finish = piece.finish ?? finish
  }
}

/// A call of a tool, or more of its arguments.
struct CallPiece: Sendable {
  var index: Int
  /// Where the call begins: a name of its own, and that of the function.
  var opening: (id: String, name: String)?
  var arguments = ""

  init(_ event: ToolCallParser.Event) {
    switch event {
    case .call(let index, let name):
      self.index = index
      opening = ("call_" + randomName(), name)
    case .arguments(let index, let text):
      self.index = index
      arguments = text
    case .text: preconditionFailure("a text is no call")
    }
  }

  func json(isStreamed: Bool) -> JSON {
    var function: [JSON.Member] = [.init("arguments", .string(arguments))]
    var members: [JSON.Member] = isStreamed ? [.init("index", .integer(index))] : []
    if let opening {
      members += [.init("id", .string(opening.id)), .init("type", .string("function"))]
      function.insert(.init("name", .string(opening.name)), at: 0)
    }
    return .object(members + [.init("function", .object(function))])
  }
}

/// The numbers of tokens that a request used.
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

  /// The object around choices, with the number of tokens where it is known, and the times where they are.
  func object(_ choices: [JSON], usage: Usage?, timings: Timings? = nil) -> JSON {
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

/// Random letters and digits that cannot be guessed.
func randomName() -> String {
  let letters = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
  return String((0..<24).map { _ in letters.randomElement()! })
}
