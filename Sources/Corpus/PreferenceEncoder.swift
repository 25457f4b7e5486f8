import Tokenization

/// Encodes pairs as two documents, the chosen conversation and then the rejected one, of which the answers that differ
/// are trained on.
final class PreferenceEncoder: RowEncoder {
  private let tokenizer: Tokenizer
  private let template: ChatTemplate
  /// Most tokens of either conversation; a longer pair is dropped, since a cut answer is not what people compared.
  private let maximumTokens: Int
  private let heldOut: HeldOutSelection
  let reader: RowReader

  init(tokenizer: Tokenizer, template: ChatTemplate, maximumTokens: Int, heldOut: HeldOutSelection) {
    reader = RowReader(template: template.jinja)
    self.tokenizer = tokenizer
    self.template = template
    self.maximumTokens = maximumTokens
    self.heldOut = heldOut
  }

  func encode(_ record: Record, of block: Block, into output: inout EncodedBlock) throws(RowProblem) -> DropReason? {
    let pair = try reader.preferencePair(of: record, in: block)
    guard !pair.hasToolTurns else { return .toolTurns }
    guard pair.chosen != pair.rejected else { return .equalAnswers }
    guard !(pair.chosen + pair.rejected).contains(where: \.isEmptyTurn) else { return .emptyTurn }
    var encoded: [(messages: [ChatMessage], parts: [TemplatePart])] = []
    for messages in [pair.chosen, pair.rejected] {
      let parts =
        template.jinja == nil
        ? try template.answeredParts(of: messages, with: tokenizer) : try renderedParts(messages, pair)
      encoded.append((messages, parts))
    }
    guard encoded.allSatisfy({ $0.parts.reduce(0) { $0 + $1.ids.count } <= maximumTokens }) else { return .pairTooLong }

    let promptCount = pair.promptCount
    let digest = heldOut.digest(of: pair.chosen + pair.rejected, tools: pair.tools)
    let isHeldOut = output.isHeldOut(digest, by: heldOut)
    for (messages, parts) in encoded {
      output.append(
        parts, of: template.jinja == nil ? messages : nil, limit: maximumTokens, isHeldOut: isHeldOut,
        tokenizer: tokenizer
      ) { $0 >= promptCount }
    }
    output.appendRow(digest)
    return nil
  }

  /// A conversation by a template in Jinja, of which the answers after the common prompt are trained on.
  private func renderedParts(_ messages: [ChatMessage], _ pair: PreferencePair) throws(RowProblem) -> [TemplatePart] {
    let finder = AnswerFinder(template: template, tokenizer: tokenizer, tools: pair.tools)
    let isTrained = messages.indices.map { $0 >= pair.promptCount && messages[$0].role == .assistant }
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
