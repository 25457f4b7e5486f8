import Storage
import StructuredOutput

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
  /// The stop string before which it ended.
  var stopString: String?

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
    stopString = piece.stopString ?? stopString
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
  /// Those of `completion` that are reasoning, its tags included.
  var reasoning = 0

  var json: JSON {
    .object([
      .init("prompt_tokens", .integer(prompt)), .init("completion_tokens", .integer(completion)),
      .init("total_tokens", .integer(prompt + completion)),
      .init("prompt_tokens_details", .object([.init("cached_tokens", .integer(cached))])),
      .init("completion_tokens_details", .object([.init("reasoning_tokens", .integer(reasoning))])),
    ])
  }
}

/// How an answer is written in one API: whole, or in pieces of a stream.
///
/// A copy for each answer, which keeps what it needs to know of the stream so far.
protocol AnswerFormat: Sendable {
  /// Of a stream.
  var contentType: String { get }

  /// What a stream begins with.
  mutating func opening() -> [UInt8]

  /// A piece of a stream, which is not empty.
  ///
  /// - Parameters:
  ///   - index: of the choice.
  ///   - totals: with the last piece of all.
  mutating func bytes(_ piece: ChoicePiece, index: Int, _ totals: AnswerTotals?) -> [UInt8]

  /// What a stream ends with.
  mutating func ending(_ totals: AnswerTotals) -> [UInt8]

  /// An answer that is not streamed.
  func whole(_ choices: [ChoicePiece], _ totals: AnswerTotals) -> JSON

  /// The end of a stream that fails.
  mutating func failure(_ error: APIError) -> [UInt8]
}

extension AnswerFormat {
  var contentType: String { "text/event-stream; charset=utf-8" }
}

/// What is known at the end of an answer.
struct AnswerTotals: Sendable {
  let usage: Usage
  let timings: Timings
}

/// One event of a stream (HTML standard, section 9.2, "Server-sent events").
func serverSentEvent(_ data: String) -> [UInt8] { Array("data: \(data)\n\n".utf8) }

/// The same with a name.
func serverSentEvent(_ name: String, _ data: JSON) -> [UInt8] {
  Array("event: \(name)\n".utf8) + serverSentEvent(data.compactText)
}

/// Random letters and digits that cannot be guessed.
func randomName() -> String {
  let letters = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
  return String((0..<24).map { _ in letters.randomElement()! })
}
