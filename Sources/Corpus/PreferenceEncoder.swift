import Tokenization

/// Encodes pairs as two documents, the chosen conversation and then the rejected one, of which the answers that differ
/// are trained on.
final class PreferenceEncoder: RowEncoder {
  private let tokenizer: Tokenizer
  private let template: ChatTemplate
  /// Most tokens of either conversation; a longer pair is dropped, since a cut answer is not what people compared.
  private let maximumTokens: Int
  private let heldOut: HeldOutSelection
  let reader = RowReader()

  init(tokenizer: Tokenizer, template: ChatTemplate, maximumTokens: Int, heldOut: HeldOutSelection) {
    self.tokenizer = tokenizer
    self.template = template
    self.maximumTokens = maximumTokens
    self.heldOut = heldOut
  }

  func encode(_ record: Record, of block: Block, into output: inout EncodedBlock) throws(RowProblem) -> DropReason? {
    let pair = try reader.preferencePair(of: record, in: block)
    guard !pair.hasToolTurns else { return .toolTurns }
    guard pair.chosen != pair.rejected else { return .equalAnswers }
    let hasEmptyTurn = (pair.chosen + pair.rejected).contains { message in
      message.role != .system && message.content.utf8.allSatisfy { $0 <= 0x20 }
    }
    guard !hasEmptyTurn else { return .emptyTurn }
    let encoded = [pair.chosen, pair.rejected].map { messages in
      (messages: messages, parts: template.answeredParts(of: messages, with: tokenizer))
    }
    guard encoded.allSatisfy({ $0.parts.reduce(0) { $0 + $1.ids.count } <= maximumTokens }) else { return .pairTooLong }

    let promptCount = pair.promptCount
    let digest = heldOut.digest(of: pair.chosen + pair.rejected)
    let isHeldOut = output.isHeldOut(digest, by: heldOut)
    for (messages, parts) in encoded {
      output.append(
        parts, of: messages, limit: maximumTokens, isHeldOut: isHeldOut, tokenizer: tokenizer
      ) { $0 >= promptCount }
    }
    output.appendRow(digest)
    return nil
  }
}
