import Foundation
import Storage
import StructuredOutput

/// The objects of Ollama's `/api/chat` and `/api/generate`: a stream is a line for each piece.
struct OllamaFormat: AnswerFormat {
  let isChat: Bool
  let model: String
  /// Calls so far, which Ollama's clients get whole.
  private var calls = ChoicePiece()
  private var finish = "stop"

  var contentType: String { "application/x-ndjson" }

  init(isChat: Bool, model: String) {
    self.isChat = isChat
    self.model = model
  }

  func opening() -> [UInt8] { [] }

  mutating func bytes(_ piece: ChoicePiece, index: Int, _ totals: AnswerTotals?) -> [UInt8] {
    finish = piece.finish ?? finish
    calls.append(ChoicePiece(calls: piece.calls))
    return piece.text.isEmpty && piece.reasoning.isEmpty
      ? [] : line(object(ChoicePiece(text: piece.text, reasoning: piece.reasoning)))
  }

  func ending(_ totals: AnswerTotals) -> [UInt8] {
    (calls.calls.isEmpty ? [] : line(object(calls))) + line(object(ChoicePiece(), totals))
  }

  func whole(_ choices: [ChoicePiece], _ totals: AnswerTotals) -> JSON {
    var copy = self
    copy.finish = choices[0].finish ?? finish
    return copy.object(choices[0], totals)
  }

  func failure(_ error: APIError) -> [UInt8] { line(error.json(.ollama)) }

  private func line(_ json: JSON) -> [UInt8] { Array((json.compactText + "\n").utf8) }

  /// What a request without text is answered with: the model is there.
  var loaded: JSON { object(ChoicePiece(), reason: "load") }

  /// - Parameter reason: why nothing more comes; nil where more comes, or the totals say it.
  private func object(_ piece: ChoicePiece, _ totals: AnswerTotals? = nil, reason: String? = nil) -> JSON {
    var members: [JSON.Member] = [
      .init("model", .string(model)), .init("created_at", .string(Date().ISO8601Format())),
    ]
    let thinking = piece.reasoning.isEmpty ? [] : [JSON.Member("thinking", .string(piece.reasoning))]
    if isChat {
      var message: [JSON.Member] =
        [.init("role", .string("assistant")), .init("content", .string(piece.text))] + thinking
      if !piece.calls.isEmpty { message.append(.init("tool_calls", .array(piece.calls.map(Self.call)))) }
      members.append(.init("message", .object(message)))
    } else {
      members += [.init("response", .string(piece.text))] + thinking
    }
    let reason = reason ?? totals.map { _ in finish == "length" ? "length" : "stop" }
    members.append(.init("done", .bool(reason != nil)))
    if let reason { members.append(.init("done_reason", .string(reason))) }
    if let totals {
      members += [
        .init("total_duration", .integer(totals.timings.promptNanoseconds + totals.timings.writingNanoseconds)),
        .init("load_duration", .integer(0)), .init("prompt_eval_count", .integer(totals.usage.prompt)),
        .init("prompt_eval_duration", .integer(totals.timings.promptNanoseconds)),
        .init("eval_count", .integer(totals.usage.completion)),
        .init("eval_duration", .integer(totals.timings.writingNanoseconds)),
      ]
    }
    return .object(members)
  }

  /// Arguments are an object; those of a call that was cut are the text that there is.
  private static func call(_ call: CallPiece) -> JSON {
    let arguments = (try? JSON(parsing: call.arguments)) ?? .string(call.arguments)
    return .object([
      .init(
        "function",
        .object([.init("name", .string(call.opening?.name ?? "")), .init("arguments", arguments)]))
    ])
  }
}
