import Storage

/// Allows any text, but every call of a tool in it must match the schemas of the tools: `strict` of a function in
/// OpenAI's API. A tool without `strict` may have any object for its arguments.
package struct StrictCallConstraint: TokenConstraint {
  private enum Place {
    /// In text that ends in this number of bytes of `<tool_call>`: fewer than all.
    case text(matched: Int)
    case call(JSONConstraint)
    case end
  }

  private static let opening = Array(ToolText.opening.utf8)
  private static let anyObject = JSON.object([.init("type", .string("object"))])

  private let vocabulary: TokenVocabulary
  private let everything: TokenSet
  /// The tokens in which a call may begin: those with the last byte of `<tool_call>` in them.
  private let openers: [Int32]
  /// A call, after its `<tool_call>`.
  private let call: JSONConstraint
  private let endsBehindCall: Bool
  private var place = Place.text(matched: 0)

  /// - Parameter allowsSeveralCalls: whether the text may go on after a call.
  /// - Throws: `StructuredOutputError` for a schema of a strict tool that is not supported.
  package init(
    _ tools: [Tool], vocabulary: TokenVocabulary, allowsSeveralCalls: Bool
  ) throws(StructuredOutputError) {
    var tools = tools
    for index in tools.indices where !tools[index].isStrict { tools[index].parameters = Self.anyObject }
    let wholeCall = try JSONConstraint.call(of: Array(tools.enumerated()), vocabulary: vocabulary)
    call = wholeCall.advanced(by: Self.opening)!  // Every call begins so.
    self.vocabulary = vocabulary
    everything = .all(vocabularySize: vocabulary.size)
    openers = (0..<Int32(vocabulary.size)).filter { vocabulary.bytes(of: $0).contains(Self.opening.last!) }
    endsBehindCall = !allowsSeveralCalls
  }

  package func allowedTokens() -> TokenSet {
    switch place {
    case .text(let matched):
      var allowed = everything
      for token in openers where Self.read(vocabulary.bytes(of: token), matched: matched, call: call) == nil {
        allowed.remove(token)
      }
      return allowed
    case .call(let call): return call.allowedTokens()
    case .end: return vocabulary.endTokens
    }
  }

  package func ending() -> TextEnding? {
    if case .call(let call) = place { call.ending() } else { nil }
  }

  package mutating func accept(_ token: Int32) {
    switch place {
    case .text(let matched):
      guard let next = Self.read(vocabulary.bytes(of: token), matched: matched, call: call) else { return }
      place = next
    case .call(var call):
      call.accept(token)
      place = !call.isComplete ? .call(call) : endsBehindCall ? .end : .text(matched: 0)
    case .end: break
    }
  }

  /// The state after a token of text; nil when it begins a call that violates the schemas.
  private static func read(_ bytes: [UInt8], matched: Int, call: JSONConstraint) -> Place? {
    var matched = matched
    for (index, byte) in bytes.enumerated() {
      // "<" is only the first byte of the tag, so after a mismatch a tag can begin at this byte only.
      matched = byte == opening[matched] ? matched + 1 : byte == opening[0] ? 1 : 0
      guard matched == opening.count else { continue }
      guard let call = call.advanced(by: bytes[(index + 1)...]) else { return nil }
      return .call(call)
    }
    return .text(matched: matched)
  }
}
