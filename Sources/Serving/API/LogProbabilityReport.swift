import Generation
import Storage
import Tokenization

/// A token of an answer, as it is reported to clients.
struct TokenReport: Sendable {
  var token: Int32
  /// Nil for the first token of a prompt, which nothing predicts.
  var logProbability: TokenLogProbability?
  /// Characters of the answer before the token.
  var textOffset: Int
}

/// Writes the log-probabilities of an answer, in the form of each endpoint.
struct LogProbabilityReport {
  let tokenizer: Tokenizer

  /// `logprobs` of `/v1/chat/completions`.
  func chat(_ tokens: [TokenReport]) -> JSON {
    func entry(_ token: Int32, _ value: Float) -> [JSON.Member] {
      let bytes = tokenizer.bytes(of: token)
      return [
        .init("token", .string(String(decoding: bytes, as: UTF8.self))), .init("logprob", number(value)),
        .init("bytes", .array(bytes.map { .integer(Int($0)) })),
      ]
    }
    let content = tokens.map { report -> JSON in
      let top = report.logProbability?.top ?? []
      return .object(
        entry(report.token, report.logProbability?.logProbability ?? 0) + [
          .init("top_logprobs", .array(top.map { .object(entry($0.token, $0.logProbability)) }))
        ])
    }
    return .object([.init("content", .array(content)), .init("refusal", .null)])
  }

  /// `logprobs` of `/v1/completions`.
  func completion(_ tokens: [TokenReport]) -> JSON {
    .object([
      .init("tokens", .array(tokens.map { .string(name($0.token)) })),
      .init("token_logprobs", .array(tokens.map { $0.logProbability.map { number($0.logProbability) } ?? .null })),
      .init("top_logprobs", .array(tokens.map { $0.logProbability.map(top) ?? .null })),
      .init("text_offset", .array(tokens.map { .integer($0.textOffset) })),
    ])
  }

  /// The most likely tokens by their text, and the token at this place, likely or not. Of tokens with the same text the
  /// most likely one counts.
  private func top(_ report: TokenLogProbability) -> JSON {
    var members: [JSON.Member] = []
    let own = (report.token, report.logProbability)
    for (token, logProbability) in report.top.map({ ($0.token, $0.logProbability) }) + [own] {
      let name = name(token)
      if !members.contains(where: { $0.key == name }) { members.append(.init(name, number(logProbability))) }
    }
    return .object(members)
  }

  /// A token's text; bytes that are no characters as OpenAI spells them: `bytes:\xe4\xbd`.
  private func name(_ token: Int32) -> String {
    let bytes = tokenizer.bytes(of: token)
    if let text = String(validating: bytes, as: UTF8.self) { return text }
    return "bytes:" + bytes.map { "\\x" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  /// JSON has no infinity; -9999 is what OpenAI writes for "never".
  private func number(_ value: Float) -> JSON { .number(value.isFinite ? Double(value) : -9999) }
}
