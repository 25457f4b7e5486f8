/// What a tokenizer puts around a plain text, by its `post_processor`: `before`, the text's tokens, `after`.
struct TextFrame: Equatable, Sendable {
  var before: [Int32] = []
  var after: [Int32] = []

  var isEmpty: Bool { before.isEmpty && after.isEmpty }
}
