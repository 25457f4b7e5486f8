import Tokenization

/// Two conversations that begin alike and differ in their answers: the one that people prefer, and the other.
struct PreferencePair {
  let chosen: [ChatMessage]
  let rejected: [ChatMessage]

  /// Messages that both begin with; the answers after these are what is compared.
  var promptCount: Int { zip(chosen, rejected).prefix { $0 == $1 }.count }
}

extension RowReader {
  /// What a good row looks like, for messages about bad ones.
  static let goodPreferenceRow =
    #"{"prompt": "Who are you?", "chosen": "I am MiniMind.", "rejected": "Guess."}"#

  /// Names of a question's field, besides `prompt`, which may also be a list of messages.
  private static let questionFields: [StaticString] = ["prompt", "instruction", "question", "q"]

  /// The pair of a row.
  ///
  /// `chosen` and `rejected` are texts, messages, or lists of messages, which may begin with the prompt. The prompt is
  /// in them, or in `prompt` (a text or a list), in `conversations` or `messages`, or in a question's field with
  /// `input` and `history`; each may have `system`, as for fine-tuning.
  func preferencePair(of record: Record, in block: Block) throws(RowProblem) -> PreferencePair {
    let row = try readFields(record, of: block, asIn: Self.goodPreferenceRow)
    let prompt = try preferencePrompt(of: row)
    let pair = PreferencePair(
      chosen: try conversation(prompt, answeredBy: "chosen", of: row),
      rejected: try conversation(prompt, answeredBy: "rejected", of: row))
    let first = pair.promptCount
    guard pair.chosen != pair.rejected else { return pair }
    // Where one has ended the other asks on.
    for messages in [pair.chosen, pair.rejected] where first >= messages.count || messages[first].role != .assistant {
      throw RowProblem(
        "\"chosen\" and \"rejected\" do not answer the same question: message \(first + 1) is where they differ, and it "
          + "is no answer in both")
    }
    return pair
  }

  private func preferencePrompt(of row: Row) throws(RowProblem) -> [ChatMessage] {
    if let list = row.value("prompt"), list.kind == .array { return try messages(list, key: "prompt", of: row) }
    if let messages = try listedMessages(of: row) { return messages }
    for field in Self.questionFields {
      if let question = try row.text(field) { return try self.prompt(of: row, question: question) }
    }
    return try row.text("system").map { [ChatMessage(role: .system, content: $0)] } ?? []
  }

  /// The whole conversation that ends with the answer in `key`.
  private func conversation(
    _ prompt: [ChatMessage], answeredBy key: StaticString, of row: Row
  ) throws(RowProblem) -> [ChatMessage] {
    let answer = try answer(key, of: row)
    var whole = prompt + answer
    if answer.first?.role == .assistant {
      guard prompt.contains(where: { $0.role == .user }) else {
        throw RowProblem(
          "there is no question in it: \"prompt\", \"conversations\" or \"instruction\" is expected beside \"\(key)\", "
            + "found \(list(row.names)), as in: \(Self.goodPreferenceRow)")
      }
    } else {
      // A list that begins with the prompt, with or without the system message.
      let asked = prompt.first?.role == .system && answer.first?.role != .system ? Array(prompt.dropFirst()) : prompt
      guard answer.isEmpty || answer.starts(with: asked) else {
        throw RowProblem("\"\(key)\" begins with another question than the prompt")
      }
      whole = prompt + answer.dropFirst(asked.count)
    }
    do throws(RowProblem) { try checkTurns(whole) } catch { throw RowProblem("\"\(key)\": \(error.reason)") }
    guard whole.last?.role == .assistant else { throw RowProblem("there is no answer at the end of \"\(key)\"") }
    return whole
  }

  /// What stands in `chosen` or `rejected`, as messages.
  private func answer(_ key: StaticString, of row: Row) throws(RowProblem) -> [ChatMessage] {
    if let value = row.value(key), value.kind == .array || value.kind == .object {
      do throws(RowProblem) {
        return value.kind == .array ? try messages(value, key: key) : [try message(value, number: 1)]
      } catch { throw RowProblem("\"\(key)\": \(error.reason)") }
    }
    guard let text = try row.text(key) else {
      throw RowProblem("there is no \"\(key)\" but \(list(row.names)), as in: \(Self.goodPreferenceRow)")
    }
    return [ChatMessage(role: .assistant, content: text)]
  }
}
