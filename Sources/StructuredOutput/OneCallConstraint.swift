/// Allows any text, and ends it after its first call of a tool: `parallel_tool_calls: false` of OpenAI's API.
package struct OneCallConstraint: TokenConstraint {
  private let vocabulary: TokenVocabulary
  private let everything: TokenSet
  private var parser: ToolCallParser

  package init(_ tools: [Tool], vocabulary: TokenVocabulary) {
    self.vocabulary = vocabulary
    everything = .all(vocabularySize: vocabulary.size)
    parser = ToolCallParser(tools: tools)
  }

  package func allowedTokens() -> TokenSet { parser.isCallComplete ? vocabulary.endTokens : everything }

  package mutating func accept(_ token: Int32) { _ = parser.push(vocabulary.bytes(of: token)) }
}
