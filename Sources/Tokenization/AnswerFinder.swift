import Storage
import Templates

/// Finds what a model is to learn of a conversation that a template in Jinja lays out.
///
/// Where the template has `{% generation %}` blocks, it is what they write. Otherwise an answer is what the template adds to
/// the prompt for it: the conversation up to the answer begins with the conversation before it and the generation prompt,
/// and the rest is learned. A template may show earlier answers otherwise than as they were given: Qwen 3's leaves out their
/// reasoning. Such an answer gets a document of its own, which ends with it, so each is learned as it will be asked for.
package struct AnswerFinder {
  /// The switches of thinking: a prompt is tried with them as the answer has thoughts or not.
  private static let switches = ["enable_thinking", "open_thinking"]
  private static let emptyThinking = Array("<think>\n\n</think>\n\n".utf8)

  private let template: ChatTemplate
  private let tokenizer: Tokenizer
  private let tools: [JSON]
  private let dropsEmptyThinking: Bool
  /// Names of switches that the template looks at and the caller has not set.
  private let openSwitches: [String]

  /// - Parameters:
  ///   - template: in Jinja.
  ///   - dropsEmptyThinking: whether `<think>`, two line breaks, `</think>` and two more are left out where the template
  ///     writes them.
  package init(template: ChatTemplate, tokenizer: Tokenizer, tools: [JSON], dropsEmptyThinking: Bool = false) {
    self.template = template
    self.tokenizer = tokenizer
    self.tools = tools
    self.dropsEmptyThinking = dropsEmptyThinking
    openSwitches = Self.switches.filter { name in
      template.jinja?.mentions(name) == true && !template.variables.contains { $0.key == name }
    }
  }

  /// What is learned of a conversation.
  package struct Documents {
    /// Documents in parts that say what is answer; each ends with one.
    package fileprivate(set) var documents: [[TemplatePart]] = []
    /// Oldest questions, with what answers them, that were left out.
    package fileprivate(set) var removedTurns = 0
    package fileprivate(set) var droppedEmptyThinking = false
  }

  /// A conversation as text and tokens.
  private struct Text {
    var pieces: [RenderedText.Piece]
    var bytes: [UInt8]
    /// Of the bytes.
    var generationRanges: [Range<Int>] = []
    var droppedEmptyThinking = false
  }

  /// - Parameters:
  ///   - messages: the last one an answer to be learned.
  ///   - isTrained: [messages] which answers are learned.
  ///   - maximumTokens: a longer conversation loses its oldest turns; a single one stays as it is.
  /// - Throws: `TemplateError` when the template refuses the conversation, `TokenizerError` when it is not clear what of it
  ///   is an answer.
  package func documents(
    _ messages: [ChatMessage], isTrained: [Bool], maximumTokens: Int = .max
  ) throws -> Documents {
    var result = Documents()
    var (messages, isTrained) = (messages, isTrained)
    if maximumTokens < .max {
      let starts = messages.indices.filter { messages[$0].role == .user }
      result.removedTurns = try turnsToRemove(messages, starts, maximumTokens)
      if result.removedTurns > 0 {
        let removed = starts[0]..<starts[result.removedTurns]
        messages.removeSubrange(removed)
        isTrained.removeSubrange(removed)
      }
    }
    var remaining = isTrained.indices.filter { isTrained[$0] }
    while let last = remaining.last {
      let whole = try text(messages[...last])
      result.droppedEmptyThinking = result.droppedEmptyThinking || whole.droppedEmptyThinking
      if !whole.generationRanges.isEmpty {
        result.documents.append(try parts(whole, try marked(whole, messages[...last], remaining)))
        break
      }
      var answers: [(message: Int, range: Range<Int>)] = []
      for index in remaining {
        guard let range = try answer(index, of: messages, in: whole, isLast: index == last) else { continue }
        answers.append((index, range))
      }
      result.documents.append(try parts(whole, answers))
      let found = Set(answers.map(\.message))
      remaining.removeAll { found.contains($0) }
    }
    result.documents.reverse()
    return result
  }

  /// How many of the oldest turns are left out: the fewest with which the rest fits, never the last turn.
  ///
  /// - Complexity: renders the conversation a number of times that is the logarithm of its turns.
  private func turnsToRemove(_ messages: [ChatMessage], _ starts: [Int], _ maximumTokens: Int) throws -> Int {
    guard let first = starts.first, starts.count > 1 else { return 0 }
    func fits(_ removed: Int) throws -> Bool {
      do {
        let text = try text(messages[..<first] + messages[starts[removed]...])
        return try template.encode(text.pieces, with: tokenizer).ids.count <= maximumTokens
      } catch let error as TemplateError where error.kind == .limit {
        return false
      }
    }
    var (low, high) = (0, starts.count - 1)
    if try fits(0) { return 0 }
    while low < high {
      let middle = (low + high) / 2
      if try fits(middle) { high = middle } else { low = middle + 1 }
    }
    return low
  }

  // MARK: - Texts

  private func text(
    _ messages: ArraySlice<ChatMessage>, asks: Bool = false, thinks: Bool? = nil
  ) throws -> Text {
    let switches = thinks.map { value in openSwitches.map { JSON.Member($0, .bool(value)) } } ?? []
    let rendered = try template.rendered(Array(messages), tools: tools, switches, addGenerationPrompt: asks)
    var text = Text(pieces: rendered.pieces, bytes: rendered.pieces.flatMap { Array($0.text.utf8) })
    if let ranges = rendered.generationRanges, !ranges.isEmpty, !asks {
      // Code points as bytes.
      var starts: [Int] = text.bytes.indices.filter { text.bytes[$0] & 0xC0 != 0x80 }
      starts.append(text.bytes.count)
      text.generationRanges = ranges.map { starts[$0.lowerBound]..<starts[$0.upperBound] }
    } else if dropsEmptyThinking {
      removeEmptyThinking(&text)
    }
    return text
  }

  /// Leaves out empty thoughts that the template itself writes.
  private func removeEmptyThinking(_ text: inout Text) {
    let wanted = String(decoding: Self.emptyThinking, as: UTF8.self)
    for index in text.pieces.indices where !text.pieces[index].isContent {
      let parts = text.pieces[index].text.components(of: wanted)
      guard parts.count > 1 else { continue }
      text.pieces[index].text = parts.joined()
      text.droppedEmptyThinking = true
    }
    if text.droppedEmptyThinking { text.bytes = text.pieces.flatMap { Array($0.text.utf8) } }
  }

  // MARK: - Answers

  /// Where an answer stands in the bytes of a conversation; nil where the conversation shows it otherwise than as it ends a
  /// conversation itself.
  private func answer(
    _ index: Int, of messages: [ChatMessage], in whole: Text, isLast: Bool
  ) throws -> Range<Int>? {
    var end = whole.bytes.count
    if !isLast {
      let own = try text(messages[...index])
      guard whole.bytes.starts(with: own.bytes) else { return nil }
      end = own.bytes.count
    }
    let hasThoughts = !(messages[index].reasoning ?? "").isEmpty || messages[index].content.contains("</think>")
    let ways: [Bool?] = openSwitches.isEmpty ? [nil] : [hasThoughts, nil, !hasThoughts]
    for thinks in ways {
      let prompt = try text(messages[..<index], asks: true, thinks: thinks)
      if prompt.bytes.count < end, whole.bytes.starts(with: prompt.bytes) { return prompt.bytes.count..<end }
    }
    if !isLast { return nil }
    throw TokenizerError(
      "message \(index + 1) is an answer that the chat template lays out otherwise than it prompts for one, so what of "
        + "it is to be learned is not clear")
  }

  /// What the template's own marks say is answer.
  private func marked(
    _ whole: Text, _ messages: ArraySlice<ChatMessage>, _ trained: [Int]
  ) throws -> [(message: Int, range: Range<Int>)] {
    let answers = messages.indices.filter { messages[$0].role == .assistant }
    let ranges = whole.generationRanges
    if answers.count == ranges.count {
      return zip(answers, ranges).filter { trained.contains($0.0) }.map { ($0.0, $0.1) }
    }
    guard answers == trained else {
      throw TokenizerError(
        "the chat template marks \(ranges.count) generated texts in a conversation with \(answers.count) answers, so which "
          + "of them are those to be learned is not clear")
    }
    return ranges.map { (messages.endIndex - 1, $0) }
  }

  /// The parts of a document up to its last answer, from its tokens as one text.
  private func parts(
    _ whole: Text, _ answers: [(message: Int, range: Range<Int>)]
  ) throws(TokenizerError) -> [TemplatePart] {
    let tokens = try template.encode(whole.pieces, with: tokenizer)
    let ids = tokens.ids
    /// The token that holds the byte: those before it are the same when the text ends there.
    func token(at byte: Int) throws(TokenizerError) -> Int {
      if byte == whole.bytes.count { return ids.count }
      var pieces: [RenderedText.Piece] = []
      var rest = byte
      for piece in whole.pieces where rest > 0 {
        let bytes = piece.text.utf8.prefix(rest)
        rest -= bytes.count
        pieces.append(.init(text: String(decoding: bytes, as: UTF8.self), isContent: piece.isContent))
      }
      return zip(ids, try template.encode(pieces, with: tokenizer).ids).prefix { $0 == $1 }.count
    }
    var parts: [TemplatePart] = []
    var place = 0
    for (message, range) in answers {
      let start = max(place, try token(at: range.lowerBound))
      let end = try token(at: range.upperBound)
      guard start < end else { continue }
      func add(_ range: Range<Int>, isAnswer: Bool) {
        parts.append(
          TemplatePart(
            ids: Array(ids[range]), messageIndex: message, isAnswer: isAnswer, pictures: tokens.pictures(in: range)))
      }
      if place < start { add(place..<start, isAnswer: false) }
      add(start..<end, isAnswer: true)
      place = end
    }
    return parts
  }
}

extension String {
  /// What stands between occurrences of `separator`.
  fileprivate func components(of separator: String) -> [Substring] {
    var parts: [Substring] = []
    var rest = self[...]
    while let range = rest.firstRange(of: separator) {
      parts.append(rest[..<range.lowerBound])
      rest = rest[range.upperBound...]
    }
    parts.append(rest)
    return parts
  }
}
