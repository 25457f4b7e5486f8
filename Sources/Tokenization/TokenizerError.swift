/// What can be wrong with a tokenizer's files, its training text or a chat template, in one sentence.
package struct TokenizerError: Error, Equatable, Sendable, CustomStringConvertible {
  package let description: String

  package init(_ description: String) { self.description = description }
}
