import Storage
import Tokenization

/// Encodes pairs as two documents, the chosen conversation and then the rejected one, of which the answers that differ
/// are trained on; or answers with labels as one document each, of which the last answer is.
final class PreferenceEncoder: RowEncoder {
  private let tokenizer: Tokenizer
  private let template: ChatTemplate
  /// Most tokens of a conversation; a longer one is dropped, since a cut answer is not what people judged.
  private let maximumTokens: Int
  private let rows: Rows
  private let heldOut: HeldOutSelection
  private let pictures: PictureReader?
  let reader: RowReader

  /// What rows may be in addition to pairs.
  enum Rows {
    case pairs
    /// Conversations with a label.
    case labelled
    /// Conversations with or without one.
    case conversations
  }

  /// - Parameter pictures: nil where pictures of rows are not used. Those that no placeholder has a place for stand before
  ///   the first question, as in trl (`prepare_multimodal_messages` in data_utils.py).
  init(
    tokenizer: Tokenizer, template: ChatTemplate, maximumTokens: Int, rows: Rows, heldOut: HeldOutSelection,
    pictures: PictureReader? = nil
  ) {
    reader = RowReader(template: template.jinja, keepsPictures: pictures != nil, placesPicturesFirst: true)
    self.pictures = pictures
    self.tokenizer = tokenizer
    self.template = template
    self.maximumTokens = maximumTokens
    self.rows = rows
    self.heldOut = heldOut
  }

  /// A conversation that people have judged by its answer.
  private struct Judged {
    let messages: [ChatMessage]
    /// By their marks.
    let pictures: [PictureSource]
    let isDesirable: Bool
  }

  func encode(_ record: Record, of block: Block, into output: inout EncodedBlock) throws(RowProblem) -> DropReason? {
    if rows != .pairs,
      let answer = try reader.labelledAnswer(of: record, in: block, needsLabel: rows == .labelled)
    {
      guard !answer.conversation.hasToolTurns else { return .toolTurns }
      let messages = answer.conversation.messages
      let reason = try encode(
        [Judged(messages: messages, pictures: answer.conversation.pictures, isDesirable: answer.isDesirable)],
        promptCount: messages.count - 1, tools: answer.conversation.tools, file: block.file.path, into: &output)
      if reason == nil, answer.conversation.lostOpeningAnswer { output.counts.change(.openingAnswerRemoved) }
      return reason
    }
    let pair = try reader.preferencePair(of: record, in: block)
    guard !pair.hasToolTurns else { return .toolTurns }
    guard pair.chosen != pair.rejected else { return .equalAnswers }
    return try encode(
      [
        Judged(messages: pair.chosen, pictures: pair.chosenPictures, isDesirable: true),
        Judged(messages: pair.rejected, pictures: pair.rejectedPictures, isDesirable: false),
      ],
      promptCount: pair.promptCount, tools: pair.tools, file: block.file.path, into: &output)
  }

  private func encode(
    _ answers: [Judged], promptCount: Int, tools: [JSON], file: String, into output: inout EncodedBlock
  ) throws(RowProblem) -> DropReason? {
    let all = answers.flatMap(\.messages)
    guard !all.contains(where: \.isEmptyTurn) else { return .emptyTurn }
    var encoded: [[TemplatePart]] = []
    for answer in answers {
      encoded.append(
        template.jinja == nil
          ? try template.answeredParts(of: answer.messages, with: tokenizer)
          : try renderedParts(answer.messages, promptCount: promptCount, tools: tools))
    }
    guard encoded.allSatisfy({ $0.reduce(0) { $0 + $1.ids.count } <= maximumTokens }) else { return .pairTooLong }

    var seen: [[PictureStore.Entry]] = []
    for answer in answers {
      // Those of the question are the same ones again.
      let known = zip(answers[0].pictures, answer.pictures).prefix { $0 == $1 }.count
      var entries = Array((seen.first ?? []).prefix(known))
      for source in answer.pictures.dropFirst(entries.count) {
        if let entry = try pictures?.add(source, file: file) { entries.append(entry) }
      }
      seen.append(entries)
    }
    let digest = heldOut.digest(of: all, tools: tools, pictures: seen.joined().map(\.digest))
    let isHeldOut = output.isHeldOut(digest, by: heldOut)
    for (index, (answer, parts)) in zip(answers, encoded).enumerated() {
      output.append(
        parts, of: template.jinja == nil ? answer.messages : nil, limit: maximumTokens, isHeldOut: isHeldOut,
        isDesirable: answer.isDesirable, tokenizer: tokenizer, pictures: seen[index]
      ) { $0 >= promptCount }
    }
    output.appendRow(digest)
    return nil
  }

  /// A conversation by a template in Jinja, of which the answers after the common prompt are trained on.
  private func renderedParts(
    _ messages: [ChatMessage], promptCount: Int, tools: [JSON]
  ) throws(RowProblem) -> [TemplatePart] {
    let finder = AnswerFinder(template: template, tokenizer: tokenizer, tools: tools)
    let isTrained = messages.indices.map { $0 >= promptCount && messages[$0].role == .assistant }
    let found: AnswerFinder.Documents
    do { found = try finder.documents(messages, isTrained: isTrained) } catch { throw RowProblem("\(error)") }
    guard found.documents.count == 1 else {
      throw RowProblem(
        "the chat template shows earlier answers otherwise than as they were given, so answers of several turns cannot be "
          + "compared in one conversation")
    }
    return found.documents[0]
  }
}
